"""What people do with stores: publish, race to publish, fetch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model_packager import placing, transfer
from model_packager.errors import VersionConflict
from model_packager.folder import read_manifest
from model_packager.manifest import Manifest, parse_reference, parse_root
from model_packager.stores import open_store


def publish(folder: Path, root: str, progress: Callable[[str, int], None] = transfer.silent) -> str:
    """Push a folder and return its address."""
    return str(transfer.push(folder, parse_root(root), open_store(parse_root(root)), progress))


def fetch(uri: str, to: Path) -> Manifest:
    """Pull what an address means now."""
    reference = parse_reference(uri)
    store = open_store(reference.root)
    manifest = transfer.read_manifest(reference, store, transfer.resolve(reference, store))
    placing.pull(manifest, store, to)
    return manifest


def race(folders: list[Path], root: str) -> list[str]:
    """Publish all at the same moment; the digests of those who were told that they published."""
    gate = threading.Barrier(len(folders))

    def run(folder: Path) -> str | None:
        gate.wait()
        try:
            publish(folder, root)
        except VersionConflict:
            return None
        return read_manifest(folder).digest()

    with ThreadPoolExecutor(len(folders)) as pool:
        return [digest for digest in pool.map(run, folders) if digest]
