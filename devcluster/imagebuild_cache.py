"""The finished images: one docker-archive file a name and content, written whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.paths import cache_home

_KEPT = 3
_WORK_PREFIX = ".work-"


def image_home() -> Path:
    """Folder of the archives; ``logs`` below it holds the log of each image's last build."""
    return cache_home() / "images"


def archive_path(folder: Path, name: str, digest: str) -> Path:
    """File of the image ``name`` with the content hash ``digest``."""
    return folder / f"{name}-{digest}.tar"


def find(folder: Path, name: str, digest: str) -> Path | None:
    """Return the archive of this content where there is one, and note that it was used."""
    path = archive_path(folder, name, digest)
    try:
        os.utime(path)
    except FileNotFoundError:
        return None
    return path


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, and give it the name ``path`` when the body ends well.

    Raises DevclusterError where the body wrote nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{_WORK_PREFIX}{path.name}")
    draft.unlink(missing_ok=True)
    try:
        yield draft
        if not draft.is_file() or draft.stat().st_size == 0:
            raise DevclusterError(f"the build of {path.name} ended without an archive")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def work_folder(folder: Path, name: str) -> Path:
    """Folder for the intermediate files of one build; remove it with :func:`remove_leftovers`."""
    return folder / f"{_WORK_PREFIX}{name}"


def remove_leftovers(folder: Path) -> None:
    """Remove what builds that ended or were killed left behind; call it only while holding the build lock."""
    for entry in folder.glob(f"{_WORK_PREFIX}*"):
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def prune(folder: Path, name: str, kept: int = _KEPT) -> list[Path]:
    """Remove all archives of ``name`` but the ``kept`` last used ones, and return what was removed."""
    pattern = re.compile(rf"{re.escape(name)}-[0-9a-f]+\.tar")
    archives = [entry for entry in folder.iterdir() if pattern.fullmatch(entry.name)]
    archives.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    for entry in archives[kept:]:
        entry.unlink()
    return archives[kept:]
