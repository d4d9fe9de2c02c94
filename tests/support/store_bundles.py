"""Bundles that differ from another one in a small way or in size."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from model_packager.folder import describe, list_files, read_manifest
from model_packager.manifest import MANIFEST_NAME


def rewrite_manifest(folder: Path, version: str | None = None) -> Path:
    """List what is in the folder now."""
    manifest = read_manifest(folder)
    files = tuple(describe(folder, path) for path in list_files(folder) if path != MANIFEST_NAME)
    changed = manifest.model_copy(update={"files": files, "version": version or manifest.version})
    (folder / MANIFEST_NAME).write_bytes(changed.canonical_bytes())
    return folder


def variant(bundle: Path, to: Path, card: str, version: str | None = None) -> Path:
    """A copy with another model card, and so another digest."""
    shutil.copytree(bundle, to)
    (to / "README.md").write_text(card)
    return rewrite_manifest(to, version)


def with_large_file(bundle: Path, to: Path, size: int) -> Path:
    """A copy with a file of ``size`` bytes beside the model; no two mebibytes of it are equal."""
    shutil.copytree(bundle, to)
    block = os.urandom(1024 * 1024)
    with (to / "models/wide/1/extra.bin").open("wb") as file:
        for number in range(size // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    return rewrite_manifest(to)
