"""Bundles as folders: listing, hashing and verification, and nothing that trusts what it reads."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from model_packager.errors import ArtifactNotFound, BundleInvalid
from model_packager.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, File, Manifest, parse_manifest
from model_packager.paths import MAX_DEPTH, path_problem
from model_packager.schema import MAX_FILES

_READ_BYTES = 1024 * 1024


def read_manifest(folder: Path, *, expected_digest: str | None = None) -> Manifest:
    """Parse ``folder/manifest.json``. Raises ArtifactNotFound, BundleInvalid or DigestMismatch."""
    path = folder / MANIFEST_NAME
    if not folder.is_dir() or not os.path.lexists(path):
        raise ArtifactNotFound(f"{folder} is not a bundle: it has no {MANIFEST_NAME}.")
    _check_regular(path, MANIFEST_NAME)
    with open_checked(path) as file:
        return parse_manifest(file.read(MAX_MANIFEST_BYTES + 1), expected_digest=expected_digest)


def verify_folder(folder: Path, *, expected_digest: str | None = None) -> Manifest:
    """Recompute everything: each listed file is there, regular, unshared and unaltered, and nothing else is there.

    Raises DigestMismatch if the bundle is not ``expected_digest``, else BundleInvalid with the first file at fault.
    """
    manifest = check_listing(folder, expected_digest=expected_digest)
    for file in manifest.files:
        verify_file(folder, file)
    return manifest


def check_listing(folder: Path, *, expected_digest: str | None = None) -> Manifest:
    """All that :func:`verify_folder` does, except for reading the files: for who reads and hashes them anyway."""
    manifest = read_manifest(folder, expected_digest=expected_digest)
    listed = {file.path: file for file in manifest.files}
    present = set(list_files(folder)) - {MANIFEST_NAME}
    if unlisted := present - listed.keys():
        raise BundleInvalid(f"The file {min(unlisted)!a} in {folder} is not listed in the manifest.")
    if missing := listed.keys() - present:
        raise BundleInvalid(f"The file {min(missing)!a} is listed in the manifest but missing in {folder}.")
    return manifest


def verify_file(folder: Path, file: File) -> None:
    """Read one file and compare. Raises BundleInvalid."""
    found = describe(folder, file.path, at_most=file.size)
    if found.size != file.size:
        raise BundleInvalid(f"The file {file.path!a} has {found.size} bytes; the manifest says {file.size}.")
    if found.sha256 != file.sha256:
        raise changed(file.path)


def changed(path: str | Path) -> BundleInvalid:
    """The failure for a file that is not the one that was listed."""
    return BundleInvalid(
        f"The file {str(path)!a} was altered, or changed while it was read: its sha256 is not the one in the manifest."
    )


def list_files(folder: Path) -> list[str]:
    """Relative paths of all files, sorted. Raises BundleInvalid for links, devices, shared files, unsafe names."""
    paths: list[str] = []

    def refuse(error: OSError) -> None:
        raise BundleInvalid(f"The folder {error.filename!a} cannot be read: {error.strerror}.") from error

    for parent, folders, files in os.walk(folder, followlinks=False, onerror=refuse):
        for name in folders:
            relative = os.path.relpath(os.path.join(parent, name), folder)
            if relative.count(os.sep) >= MAX_DEPTH:
                raise BundleInvalid(f"The folder {relative!a} is more than {MAX_DEPTH} folders deep.")
            if os.path.islink(os.path.join(parent, name)):
                raise BundleInvalid(f"{relative!a} is a link; a bundle has only regular files and folders.")
        for name in files:
            relative = os.path.relpath(os.path.join(parent, name), folder)
            _check_regular(Path(parent) / name, relative)
            if relative != MANIFEST_NAME and (problem := path_problem(relative)):
                raise BundleInvalid(f"The path {relative!a} {problem}.")
            paths.append(relative)
            if len(paths) > MAX_FILES + 1:
                raise BundleInvalid(f"{folder} has more than {MAX_FILES} files.")
    return sorted(paths)


def describe(folder: Path, path: str, *, at_most: int | None = None) -> File:
    """Size and sha256 of one file, read with bounded memory; nothing is read of a file of more than ``at_most``."""
    seen = hashlib.sha256()
    with open_checked(folder / path) as file:
        if at_most is not None and (size := os.fstat(file.fileno()).st_size) > at_most:
            return File(path=path, size=size, sha256=seen.hexdigest())
        size = 0
        while chunk := file.read(_READ_BYTES):
            seen.update(chunk)
            size += len(chunk)
    return File(path=path, size=size, sha256=seen.hexdigest())


def _check_regular(path: Path, relative: str) -> None:
    _check_status(path.lstat(), relative)


def _check_status(status: os.stat_result, relative: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise BundleInvalid(f"{relative!a} is a link; a bundle has only regular files and folders.")
    if not stat.S_ISREG(status.st_mode):
        raise BundleInvalid(f"{relative!a} is not a regular file.")
    if status.st_nlink > 1:
        # Whoever holds the other name can alter the content after it was verified.
        raise BundleInvalid(f"{relative!a} has {status.st_nlink} hard links; a bundle file must have exactly one.")


def open_checked(path: Path) -> BinaryIO:
    """Open what was checked, and check what was opened: it may have been exchanged since, also for a pipe."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BundleInvalid(f"The file {path.name!a} in {path.parent} cannot be read: {error.strerror}.") from error
    try:
        _check_status(os.fstat(handle), path.name)
    except BundleInvalid:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")
