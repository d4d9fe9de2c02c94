"""Publishing to and fetching from a store. Nothing is trusted: what is read is verified, what is there is compared."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from model_packager.errors import ArtifactNotFound, BundleInvalid, DigestMismatch, PackagerError, VersionConflict
from model_packager.folder import verify_folder
from model_packager.manifest import MAX_MANIFEST_BYTES, File, Manifest, parse_manifest
from model_packager.stores import CHUNK_BYTES, Progress, Store
from model_packager.stores.parallel import PARALLEL
from model_packager.uri import ModelReference, StoreRoot

READ_AHEAD = 8  # chunks in memory at most, while one is being hashed and written


def silent(path: str, size: int) -> None:
    """A Progress that shows nothing."""


def push(folder: Path, root: StoreRoot, store: Store, progress: Progress = silent) -> ModelReference:
    """Publish a verified folder; return its versioned reference. An equal version is success, even if retried.

    Raises VersionConflict if the version is published with another digest, before anything is uploaded if possible.
    """
    manifest = verify_folder(folder)
    digest = manifest.digest()
    _check_owner(manifest, store.read_pointer(manifest.name, manifest.version), digest, root)
    store.put_bundle(manifest, folder, progress)
    _check_owner(manifest, store.create_pointer(manifest.name, manifest.version, digest), digest, root)
    return ModelReference(root, manifest.name, version=manifest.version)


def resolve(reference: ModelReference, store: Store, *, digest: str | None = None) -> str:
    """The digest that ``reference`` means. Raises ArtifactNotFound, or DigestMismatch if it is not ``digest``."""
    found = reference.digest
    if reference.version is not None:
        found = store.read_pointer(reference.name, reference.version)
    elif reference.alias is not None:
        found = store.read_alias(reference.name, reference.alias)
    if found is None:
        what = f"alias {reference.alias}" if reference.alias else f"version {reference.version}"
        raise ArtifactNotFound(f"{reference.root} has no {what} of {reference.name}{_published(reference, store)}.")
    if digest is not None and found != digest:
        raise DigestMismatch(f"{reference} is {found}; {digest} was expected.")
    return found


def read_manifest(reference: ModelReference, store: Store, digest: str) -> Manifest:
    """Fetch and verify the manifest ``digest`` and check that it is the model that ``reference`` names."""
    data = store.read_manifest(reference.name, digest, MAX_MANIFEST_BYTES)
    manifest = parse_manifest(data, expected_digest=digest)
    if manifest.name != reference.name:
        raise BundleInvalid(f"The manifest {digest} is of the model {manifest.name}, not of {reference.name}.")
    if reference.version is not None and manifest.version != reference.version:
        raise BundleInvalid(f"The manifest {digest} is of version {manifest.version}, not of {reference.version}.")
    return manifest


def read_files(files: tuple[File, ...], store: Store) -> Generator[tuple[File, bytes], None, None]:
    """All files in order, in chunks, read ahead in parallel; an empty file gives one empty chunk.

    Order and a bounded window let one consumer hash while the network is busy, at a constant amount of memory.
    """
    window: deque[tuple[File, Future[bytes] | None]] = deque()
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        for file, start in _chunks(files):
            end = min(start + CHUNK_BYTES, file.size)
            blob = f"sha256:{file.sha256}"
            window.append((file, pool.submit(store.read_blob, blob, start, end) if file.size else None))
            if len(window) >= READ_AHEAD:
                yield _result(*window.popleft())
        while window:
            yield _result(*window.popleft())
    finally:
        # Not waiting: what was asked for and is no longer wanted must not delay an error or a signal.
        pool.shutdown(wait=False, cancel_futures=True)


def _chunks(files: tuple[File, ...]) -> Iterator[tuple[File, int]]:
    for file in files:
        for start in range(0, max(file.size, 1), CHUNK_BYTES):
            yield file, start


def _result(file: File, chunk: Future[bytes] | None) -> tuple[File, bytes]:
    return file, b"" if chunk is None else chunk.result()


def _check_owner(manifest: Manifest, found: str | None, digest: str, root: StoreRoot) -> None:
    if found is not None and found != digest:
        raise VersionConflict(
            f"{root} already has version {manifest.version} of {manifest.name} as {found}, and this bundle is "
            f"{digest}; versions are immutable, so publish it under a new version."
        )


def _published(reference: ModelReference, store: Store) -> str:
    """A hint for the message. Listing needs a permission that reading does not, so it may fail."""
    try:
        if reference.alias is not None:
            aliases = store.list_aliases(reference.name)
            return f"; it has {', '.join(aliases[-10:])}" if aliases else ", nor any other alias"
        versions = store.list_versions(reference.name)
    except PackagerError:
        return ""
    return f"; it has {', '.join(versions[-10:])}" if versions else f", nor any other version of {reference.name}"
