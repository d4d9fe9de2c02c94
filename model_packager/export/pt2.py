"""What a ``.pt2`` archive may hold before PyTorch sees it.

Loading such a file is not only reading: weights may be pickles, sizes and guards are Python expressions that are
evaluated, and the functions of the graph are looked up by name. So the archive is checked against what
``torch.export.save`` writes, and pickles are held to weights.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from model_packager.errors import InvalidUsage
from model_packager.paths import path_problem

_MAX_ENTRIES = 200_000
_MAX_PROGRAM_BYTES = 256 * 1024 * 1024
_TARGET: Final = re.compile(
    r"torch\.ops(\.[A-Za-z]\w*){2,3}|torch\.ops\.aten\._[a-z]\w*\.\w+|torch\.sym_[a-z_]+|torch\._C\._set_grad_enabled"
    r"|math\.[a-z]\w*"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|getitem|and_|or_|xor|not_"
    r"|lshift|rshift|inv|invert|index)",
    re.ASCII,
)
_TOUCHES_FILES: Final = re.compile(r"torch\.ops\.(aten\.from_file|profiler|inductor|rpc|loaded_libraries)\b")
_EXPRESSION: Final = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.BoolOp,
    ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Tuple, ast.List,
)  # fmt: skip
_METHODS: Final = ("size", "stride", "storage_offset", "dim", "ndim", "shape", "dtype", "device")
_STRING: Final = re.compile(r"[A-Za-z0-9_ ./-]*", re.ASCII)
_MAX_EXPRESSION = 20_000


def check_archive(path: Path) -> None:
    """Raises InvalidUsage, with the first entry that a saved program would not have."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive)
            for entry in archive.infolist():
                if re.search(r"(^|/)models/[^/]+\.json$", entry.filename):
                    _check_program(path, json.loads(archive.read(entry)))
    except (OSError, ValueError, RecursionError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise _refusal(path, f"it cannot be read ({str(error)[:200]})") from error


@contextlib.contextmanager
def weights_only() -> Iterator[None]:
    """Whatever PyTorch unpickles inside: tensors, and never code. Its own fallback would run it."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    names = {entry.filename for entry in entries}
    if len(entries) > _MAX_ENTRIES or len(names) != len(entries):
        raise _refusal(path, f"it has {len(entries)} entries, with {len(names)} different names")
    for entry in entries:
        if problem := path_problem(entry.filename):
            raise _refusal(path, f"the entry {entry.filename[:200]!a} {problem}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise _refusal(path, f"the entry {entry.filename[:200]!a} is compressed or encrypted")
        if "/models/" in f"/{entry.filename}" and entry.file_size > _MAX_PROGRAM_BYTES:
            raise _refusal(path, f"the entry {entry.filename[:200]!a} has {entry.file_size} bytes")
        if entry.filename.rpartition("/")[2].startswith("custom_obj_"):
            raise _refusal(path, f"the entry {entry.filename[:200]!a} is an object of a custom class")


def _check_program(path: Path, program: Any) -> None:
    """Walk the whole document: graphs nest in the arguments of operators."""
    waiting = [program]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        if not isinstance(part, dict):
            continue
        waiting.extend(part.values())
        if "expr_str" in part and not _harmless(part["expr_str"]):
            raise _refusal(path, f"the size {_show(part['expr_str'])} is more than arithmetic")
        for guard in part.get("guards_code") or ():
            if not _harmless(guard, guard=True):
                raise _refusal(path, f"the guard {_show(guard)} is more than a comparison of shapes")
        if "target" in part and "inputs" in part:
            target = part["target"]
            if not isinstance(target, str) or not _TARGET.fullmatch(target) or _TOUCHES_FILES.match(target):
                raise _refusal(path, f"the program calls {_show(target)}, which is no operator")


def _harmless(text: Any, *, guard: bool = False) -> bool:
    """Whether evaluating the expression can only compute: known syntax, constructors, and no way to a module."""
    if not isinstance(text, str) or len(text) > _MAX_EXPRESSION:
        return False
    try:
        parsed = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_harmless_node(node, guard) for node in ast.walk(parsed))


def _harmless_node(node: ast.AST, guard: bool) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name[:1].isupper() and name != "S"  # a class; S and functions evaluate text
        case ast.Call(func=ast.Attribute()):
            return guard
        case ast.Call():
            return False
        case ast.Attribute(attr=name):
            return guard and name in _METHODS
        case ast.Subscript():
            return guard
        case ast.Name(id=name):
            return not name.startswith("_")
        case ast.Constant(value=str(text)):
            return _STRING.fullmatch(text) is not None and "__" not in text
        case ast.Constant(value=value):
            return value is None or isinstance(value, bool | int | float)
        case _:
            return isinstance(node, _EXPRESSION)


def _refusal(path: Path, what: str) -> InvalidUsage:
    return InvalidUsage(
        f"{path} is not a program as torch.export.save writes it, and loading it could run code: {what}. "
        "Save the model again, or give package.module:function."
    )


def _show(value: Any) -> str:
    return ascii(str(value)[:120])
