"""What the project's images are made of: their Dockerfiles, and the files that these copy."""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devcluster.errors import DevclusterError

REPOSITORY = Path(__file__).resolve().parents[1]
_IGNORED_FOLDERS = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
_HASH_DIGITS = 12


@dataclass(frozen=True)
class ImageSpec:
    """One image. ``base_arguments`` are the build arguments of its Dockerfile that name a base image.

    ``tools`` are Go programs that a build without Docker puts into the context; ``tool_arguments`` tell the Dockerfile
    to take them instead of compiling them in a stage of its own.
    """

    name: str
    dockerfile: str
    base_arguments: tuple[str, ...]
    tools: tuple[str, ...] = ()
    tool_arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> str:
        """Name without a tag, as pods write it."""
        return f"tidegate/{self.name}"


IMAGES = {
    spec.name: spec
    for spec in (
        ImageSpec("operator", "operator/Dockerfile", ("PYTHON_IMAGE",)),
        ImageSpec("packager", "images/packager/Dockerfile", ("PYTHON_IMAGE",)),
        ImageSpec("observer", "images/observer/Dockerfile", ("PYTHON_IMAGE",)),
        ImageSpec("triton-cpu", "images/triton-cpu/Dockerfile", ("PYTHON_IMAGE",)),
        ImageSpec("envoy", "images/envoy/Dockerfile", ("PYTHON_IMAGE", "DEBIAN_IMAGE")),
        ImageSpec("store", "images/store/Dockerfile", ("DEBIAN_IMAGE",), ("versitygw",), {"VERSITYGW": "prebuilt"}),
    )
}


def select(names: Iterable[str]) -> list[ImageSpec]:
    """Return the named images, all of them where none is named; raises DevclusterError for an unknown name."""
    wanted = list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in IMAGES]
    if unknown:
        raise DevclusterError(f"there is no image {', '.join(unknown)}; known are {', '.join(IMAGES)}")
    return [IMAGES[name] for name in wanted] if wanted else list(IMAGES.values())


def copied_paths(dockerfile: str) -> list[str]:
    """Return the paths of the build context that a Dockerfile copies, in order and once each.

    Raises DevclusterError for forms that hide what is copied: variables, wildcards, here-documents, ADD.
    """
    paths: list[str] = []
    for instruction in dockerfile.replace("\\\n", " ").splitlines():
        words = shlex.split(instruction, comments=True)
        if words and words[0].upper() == "ADD":
            raise DevclusterError("a Dockerfile of this project uses ADD: use COPY, so that its inputs are known")
        if not words or words[0].upper() != "COPY" or any(word.startswith("--from=") for word in words):
            continue
        sources = [word for word in words[1:] if not word.startswith("--")][:-1]
        hidden = [source for source in sources if set(source) & set("$*?[<")]
        if hidden:
            raise DevclusterError(f"a Dockerfile of this project copies '{hidden[0]}': write the path out")
        paths.extend(source.rstrip("/") for source in sources)
    return list(dict.fromkeys(paths))


def context_files(root: Path, spec: ImageSpec) -> dict[str, Path]:
    """Return every file that the image's Dockerfile copies from the repository: path in the context -> file.

    Caches of Python and of linters are left out. Raises DevclusterError where the Dockerfile or a copied path is
    absent.
    """
    dockerfile = root / spec.dockerfile
    if not dockerfile.is_file():
        raise DevclusterError(f"the image {spec.name} needs {dockerfile}: run this in a checkout of the repository")
    files: dict[str, Path] = {}
    for path in copied_paths(dockerfile.read_text(encoding="utf-8")):
        if path in spec.tools:
            continue
        if not (root / path).exists():
            raise DevclusterError(f"{spec.dockerfile} copies {path}, which is not in {root}")
        files |= {file.relative_to(root).as_posix(): file for file in _files_below(root / path)}
    return files


def content_hash(dockerfile: Path, files: Mapping[str, Path], *, outside: Iterable[str] = ()) -> str:
    """Return 12 hex digits over all that decides what an image holds.

    That is the Dockerfile, each copied file's path, content and executable bit, and ``outside``: what comes from
    elsewhere, such as the identity of the base image.
    """
    digest = hashlib.sha256()
    for word in outside:
        _add(digest, word.encode())
    _add(digest, dockerfile.read_bytes())
    for path in sorted(files):
        _add(digest, path.encode())
        _add(digest, b"x" if _is_executable(files[path]) else b"-")
        _add(digest, files[path].read_bytes())
    return digest.hexdigest()[:_HASH_DIGITS]


def stage_context(files: Mapping[str, Path], folder: Path) -> None:
    """Copy ``files`` into ``folder`` with plain permissions, so that neither umask nor stray files reach the image."""
    folder.mkdir(parents=True)
    for path, file in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o755 if _is_executable(file) else 0o644)
    for directory in (folder, *(entry for entry in folder.rglob("*") if entry.is_dir())):
        directory.chmod(0o755)


def _files_below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for entry in sorted(path.iterdir()):
        if entry.name not in _IGNORED_FOLDERS and entry.suffix != ".pyc":
            yield from _files_below(entry)


def _is_executable(file: Path) -> bool:
    return bool(file.stat().st_mode & 0o100)


def _add(digest: hashlib._Hash, part: bytes) -> None:
    digest.update(len(part).to_bytes(8, "big") + part)
