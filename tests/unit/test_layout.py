"""Promises about the repository: what a reader and a supply chain may rely on in every file."""

import ast
import operator as stdlib_operator
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("operator", "model_packager", "devcluster")
FILES = sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))
OPERATOR = [path for path in FILES if path.is_relative_to(ROOT / "operator")]
LOCKS = sorted([*(ROOT / "requirements").glob("*.txt"), *(ROOT / "images").rglob("*requirements*.txt")])
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split("\n")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 50
    assert len(OPERATOR) > 30
    assert len(LOCKS) >= 4


def test_the_folder_operator_is_no_package_so_that_pythons_own_operator_stays_what_it_is() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert stdlib_operator.itemgetter(0)("ab") == "a"
    code = "import operator, sys; print(operator.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()) == Path(sysconfig.get_paths()["stdlib"]) / "operator.py"


@pytest.mark.parametrize("folder", SOURCES)
def test_no_file_is_longer_than_500_lines(folder: str) -> None:
    lengths = {relative(p): len(p.read_text().splitlines()) for p in FILES if relative(p).startswith(folder)}
    assert {path: lines for path, lines in lengths.items() if lines > 500} == {}


@pytest.mark.parametrize("folder", SOURCES)
def test_no_function_is_longer_than_60_lines(folder: str) -> None:
    long = {
        f"{relative(path)}:{node.lineno} {node.name}": length
        for path in FILES
        if relative(path).startswith(folder)
        for node in functions(path)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > 60
    }
    assert long == {}


def _owed(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    """What must have a docstring: public functions, classes and methods, but for properties and Protocol members."""
    for node in body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        is_property = any(ast.unparse(decorator) == "property" for decorator in node.decorator_list)
        if not is_property and ast.unparse(node.body[-1]) != "...":
            yield node
        if isinstance(node, ast.ClassDef):
            yield from _owed(node.body)


def test_everything_public_in_the_operator_says_what_it_means() -> None:
    silent = []
    for path in OPERATOR:
        tree = ast.parse(path.read_text())
        silent += [relative(path)] if ast.get_docstring(tree) is None else []
        silent += [
            f"{relative(path)}:{node.lineno} {node.name}" for node in _owed(tree.body) if not ast.get_docstring(node)
        ]
    assert silent == []


@pytest.mark.parametrize("lock", LOCKS, ids=relative)
def test_every_locked_package_has_a_version_and_hashes_and_no_word_of_where_it_came_from(lock: Path) -> None:
    text = lock.read_text()
    options = [line for line in text.splitlines() if re.match(r"\s*(-|--)(i|f|e|index|extra|find|trusted)", line)]
    assert options == []
    assert "://" not in text
    assert "file:" not in text
    entries = re.split(r"\n(?=[a-zA-Z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text).strip())
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9,_-]+\])?==\S+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize(
    "name", ["uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "package-lock.json", "pip.conf"]
)
def test_there_is_no_lock_that_records_download_addresses(name: str) -> None:
    assert [path for path in TRACKED if path.rpartition("/")[2] == name] == []


def test_the_operator_may_import_three_modules_of_the_packager_and_no_other() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (rule,) = [c for c in linter["contracts"] if c["name"].startswith("The operator knows of the packager")]
    found = {path.stem for path in (ROOT / "model_packager").iterdir() if path.suffix == ".py" or path.is_dir()}
    allowed = {f"model_packager.{name}" for name in found - {"__init__", "__pycache__"}} - set(
        rule["forbidden_modules"]
    )
    assert allowed == {"model_packager.manifest", "model_packager.schema", "model_packager.compatibility"}


def test_tests_are_no_packages_and_have_names_of_their_own() -> None:
    paths = [path for path in TRACKED if path.startswith("tests/") and path.endswith(".py")]
    assert [path for path in paths if path.endswith("__init__.py")] == []
    names = [path.rpartition("/")[2] for path in paths if not path.endswith("/conftest.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
