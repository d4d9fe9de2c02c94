"""One store for everything that obstore speaks to: folders, S3, Google Cloud Storage and Azure."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError
from obstore.store import LocalStore

from model_packager.errors import (
    AliasConflict,
    ArtifactNotFound,
    BundleInvalid,
    InvalidReference,
    SignatureInvalid,
)
from model_packager.folder import changed, open_checked, verify_file
from model_packager.manifest import File, Manifest
from model_packager.stores import CHUNK_BYTES, Progress
from model_packager.stores.backends import STORE_ERRORS, Backend, failed, interruptible
from model_packager.stores.parallel import in_parallel
from model_packager.uri import ALIASES, StoreRoot, check_digest

if TYPE_CHECKING:
    from obstore import PutMode, UpdateVersion

T = TypeVar("T")

UPLOADS_IN_FLIGHT = 4
MAX_PARTS = 9_000  # S3 allows 10,000 parts; larger files get larger parts
MAX_POINTER_BYTES = 1024


class ObjectStore:
    """Implements :class:`model_packager.stores.Store`."""

    def __init__(self, backend: Backend, root: StoreRoot) -> None:
        self._backend = backend
        self._root = root

    def blob_size(self, digest: str) -> int | None:
        return self._absent_as_none(lambda: int(obstore.head(self._backend, _blob(digest))["size"]))

    def read_blob(self, digest: str, start: int, end: int) -> bytes:
        try:
            data = bytes(interruptible(partial(obstore.get_range, self._backend, _blob(digest), start=start, end=end)))
        except (NotFoundError, FileNotFoundError) as error:
            raise ArtifactNotFound(f"{self._root} does not have the blob {digest}.") from error
        except STORE_ERRORS as error:
            # A range past the end is an error of its own in every backend; only the size tells it from an outage.
            size = self.blob_size(digest)
            if size is not None and size < end:
                raise self._too_short(digest, size, end) from error
            raise failed(error, self._root) from error
        if len(data) != end - start:
            raise self._too_short(digest, start + len(data), end)
        return data

    def read_manifest(self, name: str, digest: str, limit: int) -> bytes:
        size = self.blob_size(digest)
        if size is None:
            raise ArtifactNotFound(f"{self._root} does not have the manifest {digest} of {name}.")
        if size > limit:
            raise BundleInvalid(f"The manifest {digest} has {size} bytes; at most {limit} are allowed.")
        return self.read_blob(digest, 0, size) if size else b""

    def put_bundle(self, manifest: Manifest, folder: Path, progress: Progress) -> None:
        by_digest: dict[str, list[File]] = {}
        for file in manifest.files:
            by_digest.setdefault(f"sha256:{file.sha256}", []).append(file)

        def upload(blob: str, equal: list[File]) -> None:
            first, *others = equal
            path = folder / first.path
            fits = os.path.lexists(path) and path.lstat().st_size == first.size
            sent = fits and self.put_blob(blob, path, partial(progress, first.path))
            for file in others if sent else equal:
                verify_file(folder, file)
                progress(file.path, 0)

        in_parallel(partial(upload, blob, equal) for blob, equal in by_digest.items())
        self.put_blob(manifest.digest(), manifest.canonical_bytes())

    def put_blob(self, digest: str, source: Path | bytes, sent: Callable[[int], None] = lambda size: None) -> bool:
        """Store ``source`` under its digest; False if it was there. Raises BundleInvalid if it is something else.

        ``sent`` is told of bytes on their way.
        """
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if self.blob_size(digest) == size:
            return False
        try:
            if size <= CHUNK_BYTES:
                data = source if isinstance(source, bytes) else _read(source, size)
                _check_content(hashlib.sha256(data).hexdigest(), digest, source)
                interruptible(partial(obstore.put, self._backend, _blob(digest), data, use_multipart=False))
                sent(size)
            else:
                assert isinstance(source, Path)
                part = max(CHUNK_BYTES, -(-size // MAX_PARTS))
                chunks = _checked_chunks(source, digest, part, sent)
                upload = partial(obstore.put, chunk_size=part, max_concurrency=UPLOADS_IN_FLIGHT)
                interruptible(partial(upload, self._backend, _blob(digest), chunks))
        except STORE_ERRORS as error:
            # Some stores let one of two uploads of the same parts fail; content is what it is, whoever sent it.
            if self.blob_size(digest) == size:
                return False
            raise failed(error, self._root) from error
        return True

    def read_pointer(self, name: str, version: str) -> str | None:
        return self._read(_pointer(name, version))[0]

    def create_pointer(self, name: str, version: str, digest: str) -> str:
        data = json.dumps({"digest": digest}).encode()
        try:
            create = partial(obstore.put, mode="create", use_multipart=False)
            interruptible(partial(create, self._backend, _pointer(name, version), data))
        except (AlreadyExistsError, FileExistsError):
            # Also after a retry of a request whose answer was lost: then the pointer that exists is ours.
            return self.read_pointer(name, version) or digest
        except STORE_ERRORS as error:
            raise failed(error, self._root) from error
        return digest

    def read_alias(self, name: str, alias: str) -> str | None:
        return self._read(_alias(name, alias))[0]

    def move_alias(self, name: str, alias: str, digest: str) -> str | None:
        path = _alias(name, alias)
        previous, version = self._read(path)
        mode: PutMode = "create" if previous is None else version
        if isinstance(self._backend, LocalStore) and previous is not None:
            mode = "overwrite"  # a folder has no conditional replacement; the rename is atomic all the same
        try:
            write = partial(obstore.put, mode=mode, use_multipart=False)
            interruptible(partial(write, self._backend, path, json.dumps({"digest": digest}).encode()))
        except (AlreadyExistsError, FileExistsError, PreconditionError) as error:
            now = self._read(path)[0]
            if now == digest:
                return previous  # the same move by another, or by a retry of ours whose answer was lost
            raise AliasConflict(
                f"The alias {alias} of {name} in {self._root} was moved to {now} at the same time; look before moving "
                "it again."
            ) from error
        except STORE_ERRORS as error:
            raise failed(error, self._root) from error
        return previous

    def put_signature(self, name: str, digest: str, key_id: str, data: bytes) -> None:
        try:
            interruptible(partial(obstore.put, self._backend, _signature(digest, key_id), data, use_multipart=False))
        except STORE_ERRORS as error:
            raise failed(error, self._root) from error

    def read_signature(self, name: str, digest: str, key_id: str, limit: int) -> bytes | None:
        def read() -> bytes:
            found = obstore.get(self._backend, _signature(digest, key_id))
            if (size := found.meta["size"]) > limit:
                raise SignatureInvalid(
                    f"The signature of {digest} by the key {key_id} in {self._root} has {size} bytes, more than "
                    f"{limit}; sign the bundle again."
                )
            return bytes(found.bytes())

        return self._absent_as_none(read)

    def list_names(self) -> list[str]:
        return sorted(_last(path) for path in self._list("models/", "common_prefixes"))

    def list_versions(self, name: str) -> list[str]:
        return sorted(_last(path) for path in self._list(f"models/{name}/", "objects"))

    def list_aliases(self, name: str) -> list[str]:
        return sorted(_last(path) for path in self._list(f"models/{name}/{ALIASES}/", "objects"))

    def image_reference(self, name: str, digest: str) -> str | None:
        return None

    def _list(self, prefix: str, kind: Literal["objects", "common_prefixes"]) -> list[str]:
        try:
            found = interruptible(partial(obstore.list_with_delimiter, self._backend, prefix))
        except (NotFoundError, FileNotFoundError):
            return []
        except STORE_ERRORS as error:
            raise failed(error, self._root) from error
        return [item["path"] for item in found["objects"]] if kind == "objects" else list(found["common_prefixes"])

    def _read(self, path: str) -> tuple[str | None, UpdateVersion]:
        """The digest in a pointer, and which state of the object this is; None if there is no such object."""

        def read() -> tuple[bytes, UpdateVersion]:
            found = obstore.get(self._backend, path)
            if found.meta["size"] > MAX_POINTER_BYTES:
                raise BundleInvalid(f"The pointer {path} in {self._root} is too large.")
            state: UpdateVersion = {}
            if (tag := found.meta["e_tag"]) is not None:
                state["e_tag"] = tag
            if (version := found.meta["version"]) is not None:
                state["version"] = version
            return bytes(found.bytes()), state

        found = self._absent_as_none(read)
        if found is None:
            return None, {}
        try:
            fields = json.loads(found[0])
            if not isinstance(fields, dict) or list(fields) != ["digest"]:
                raise ValueError
            return check_digest(str(fields["digest"])), found[1]
        except (ValueError, RecursionError, InvalidReference) as error:
            raise BundleInvalid(f"The pointer {path} in {self._root} is not a JSON object with one digest.") from error

    def _absent_as_none(self, call: Callable[[], T]) -> T | None:
        try:
            return interruptible(call)
        except (NotFoundError, FileNotFoundError):
            return None
        except STORE_ERRORS as error:
            raise failed(error, self._root) from error

    def _too_short(self, digest: str, size: int, end: int) -> BundleInvalid:
        return BundleInvalid(f"The blob {digest} in {self._root} has {size} bytes; at least {end} were expected.")


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _pointer(name: str, version: str) -> str:
    return f"models/{name}/{version}"


def _alias(name: str, alias: str) -> str:
    return f"models/{name}/{ALIASES}/{alias}"


def _signature(digest: str, key_id: str) -> str:
    return f"signatures/{digest.removeprefix('sha256:')}/{key_id}.sig"


def _last(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def _read(path: Path, size: int) -> bytes:
    with open_checked(path) as file:
        return file.read(size)


def _checked_chunks(path: Path, digest: str, size: int, sent: Callable[[int], None]) -> Iterator[bytes]:
    """The file in chunks; raises before the last one is handed out if the file is no longer what was hashed."""
    seen = hashlib.sha256()
    with open_checked(path) as file:
        chunk = file.read(size)
        while chunk:
            seen.update(chunk)
            following = file.read(size)
            if not following:
                _check_content(seen.hexdigest(), digest, path)
            yield chunk
            sent(len(chunk))
            chunk = following


def _check_content(found: str, digest: str, source: Path | bytes) -> None:
    if f"sha256:{found}" != digest:
        raise changed(source if isinstance(source, Path) else "manifest.json")
