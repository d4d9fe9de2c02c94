"""Placing a bundle on a disk so that a folder with a manifest is always a whole, verified bundle.

Two ways, chosen by the target. A target that does not exist is made by renaming a finished folder. A target that
exists may be a mount point, which nothing can be renamed over: there the files are staged inside it and moved up, the
manifest last. A pull that was killed in between left the staging folder, so the next one knows what it may replace.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from model_packager.errors import BundleInvalid, FetchFailed, InvalidUsage, PackagerError
from model_packager.folder import verify_folder
from model_packager.manifest import MANIFEST_NAME, File, Manifest
from model_packager.stores import Progress, Store
from model_packager.transfer import read_files, silent

STAGING_NAME = ".model-packager-partial"
_FILE_MODE = 0o644  # the server runs as another user than the one that fetches
_FOLDER_MODE = 0o755


def pull(manifest: Manifest, store: Store, target: Path, progress: Progress = silent) -> bool:
    """Fetch all files of ``manifest`` into ``target``; False if it already was exactly this bundle.

    Raises InvalidUsage if the target holds something else, FetchFailed for the store and the disk, and BundleInvalid
    for content that is not what the manifest says; the target is then as it was, or marked as unfinished.
    """
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise InvalidUsage(f"{target} is not a folder; choose a new or empty folder.")
        if not target.exists():
            return _pull_beside(manifest, store, target, progress)
        if _is_complete(manifest, target):
            return False
        _pull_inside(manifest, store, target, progress)
    except OSError as error:
        where = error.filename or target
        raise FetchFailed(f"The bundle could not be written to {where}: {error.strerror or error}.") from error
    return True


def fetch_part(manifest: Manifest, store: Store, folder: Path, prefix: str, progress: Progress = silent) -> None:
    """Write the files of a bundle whose path starts with ``prefix`` into an empty folder, each one verified.

    The result is no bundle: there is no manifest in it. Raises what :func:`pull` raises.
    """
    try:
        _write_files(tuple(file for file in manifest.files if file.path.startswith(prefix)), store, folder, progress)
    except OSError as error:
        raise FetchFailed(f"{prefix} could not be written to {folder}: {error.strerror or error}.") from error


def _pull_beside(manifest: Manifest, store: Store, target: Path, progress: Progress) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        _download(manifest, store, staging, progress)
        staging.chmod(_FOLDER_MODE)
        try:
            staging.rename(target)
        except OSError:
            # Another pull may have finished first; an equal bundle is as good as ours.
            if not (target.is_dir() and _is_complete(manifest, target)):
                raise
            return False
        return True
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _pull_inside(manifest: Manifest, store: Store, target: Path, progress: Progress) -> None:
    staging = target / STAGING_NAME
    tops = sorted({file.path.split("/")[0] for file in manifest.files})
    if staging.is_dir() and not staging.is_symlink():
        for name in [*tops, MANIFEST_NAME, STAGING_NAME]:
            _remove(target / name)
    if leftover := next(target.iterdir(), None):
        raise InvalidUsage(f"{target} already holds {leftover.name!a} and is not this bundle; choose an empty folder.")
    staging.mkdir(mode=_FOLDER_MODE)
    try:
        _download(manifest, store, staging, progress)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    for name in [*tops, MANIFEST_NAME]:
        (staging / name).rename(target / name)
    staging.rmdir()


def _is_complete(manifest: Manifest, target: Path) -> bool:
    """Whether the folder is this bundle, verified in full: it may have waited on a disk for long."""
    with suppress(FileNotFoundError, OSError):
        (target / STAGING_NAME).rmdir()  # left by a pull that was killed after its last move; fails unless empty
    try:
        verify_folder(target, expected_digest=manifest.digest())
    except PackagerError:
        return False
    return True


def _download(manifest: Manifest, store: Store, folder: Path, progress: Progress) -> None:
    _write_files(manifest.files, store, folder, progress)
    handle = _create(folder, MANIFEST_NAME)
    try:
        _write(handle, manifest.canonical_bytes())
    finally:
        os.close(handle)


def _write_files(files: tuple[File, ...], store: Store, folder: Path, progress: Progress) -> None:
    needed, free = sum(file.size for file in files), shutil.disk_usage(folder).free
    if free < needed:
        raise FetchFailed(f"The bundle needs {needed} bytes on the disk of {folder.parent}; {free} are free.")
    for file, parts in groupby(read_files(files, store), key=itemgetter(0)):
        _write_verified(folder, file, (chunk for _, chunk in parts), progress)


def _write_verified(folder: Path, file: File, chunks: Iterable[bytes], progress: Progress) -> None:
    seen = hashlib.sha256()
    handle = _create(folder, file.path)
    try:
        for chunk in chunks:
            _write(handle, chunk)
            seen.update(chunk)
            progress(file.path, len(chunk))
    finally:
        os.close(handle)
    if seen.hexdigest() != file.sha256:
        raise BundleInvalid(f"The blob of {file.path!a} was altered in the store: its sha256 differs.")


def _create(folder: Path, path: str) -> int:
    """Create a file that was not there, in folders that are ours; modes do not depend on the umask."""
    parent = folder
    for part in path.split("/")[:-1]:
        parent = parent / part
        if not parent.is_dir():
            parent.mkdir()
            parent.chmod(_FOLDER_MODE)
    handle = os.open(folder / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    os.fchmod(handle, _FILE_MODE)
    return handle


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
