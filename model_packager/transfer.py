"""Publishing to and fetching from a store. Nothing is trusted: what is read is verified, what is there is compared."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from model_packager import signing
from model_packager.errors import (
    ArtifactNotFound,
    BundleInvalid,
    DigestMismatch,
    PackagerError,
    SignatureInvalid,
    SignatureMissing,
    VersionConflict,
)
from model_packager.folder import check_listing
from model_packager.keys import PublicKey
from model_packager.manifest import MAX_MANIFEST_BYTES, File, Manifest, parse_manifest
from model_packager.stores import CHUNK_BYTES, Progress, Store
from model_packager.stores.parallel import PARALLEL, result_of
from model_packager.uri import ModelReference, StoreRoot

READ_AHEAD = 8  # chunks in memory at most, while one is being hashed and written


def silent(path: str, size: int) -> None:
    """A Progress that shows nothing."""


def push(
    folder: Path,
    root: StoreRoot,
    store: Store,
    progress: Progress = silent,
    *,
    signature: signing.Signature | None = None,
) -> ModelReference:
    """Publish a folder, verified on the way; return its versioned reference. An equal version is success, even again.

    Raises VersionConflict if the version is published with another digest, and SignatureInvalid if ``signature`` says
    that it is of another bundle, before anything is uploaded if possible. A version is visible with its signature.
    """
    manifest = check_listing(folder)
    digest = manifest.digest()
    if signature is not None:
        signing.check_names(signature, digest, "The signature")
    _check_owner(manifest, store.read_pointer(manifest.name, manifest.version), digest, root)
    store.put_bundle(manifest, folder, progress)
    if signature is not None:
        store.put_signature(manifest.name, digest, signature.key_id, signature.data)
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


def read_signature(root: StoreRoot, manifest: Manifest, store: Store, keys: Sequence[PublicKey]) -> signing.Signature:
    """The first signature in the store that one of the keys made of this manifest.

    Raises SignatureMissing if there is none by any of them, and SignatureInvalid if what there is does not verify.
    """
    digest = manifest.digest()
    refused: SignatureInvalid | None = None
    for key in keys:
        try:
            data = store.read_signature(manifest.name, digest, key.key_id, signing.MAX_SIGNATURE_BYTES)
            if data is None:
                continue
            found = signing.parse_signature(data, f"The signature of {digest} by the key {key.key_id} in {root}")
            signing.verify_signature(manifest, found, keys)
            return found
        except SignatureInvalid as error:
            refused = refused or error
    if refused is not None:
        raise refused
    reference = ModelReference(root, manifest.name, digest=digest)
    raise SignatureMissing(
        f"There is no signature of {digest} by the key {signing.key_ids(keys)} in {root}; sign the bundle with "
        f"model-packager sign {reference} --key PRIVATE."
    )


def verify_files(manifest: Manifest, store: Store, progress: Progress = silent) -> None:
    """Read every file in the store and compare its hash; nothing is kept. Raises BundleInvalid for an altered one."""
    for file, parts in groupby(read_files(manifest.files, store), key=itemgetter(0)):
        seen = hashlib.sha256()
        for _, chunk in parts:
            seen.update(chunk)
            progress(file.path, len(chunk))
        if seen.hexdigest() != file.sha256:
            raise BundleInvalid(f"The blob of {file.path!a} was altered in the store: its sha256 differs.")


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
    return file, b"" if chunk is None else result_of(chunk)


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
