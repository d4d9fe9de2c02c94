"""One store for everything that obstore speaks to: a folder and S3 now, other object stores by another opener."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError

from model_packager.errors import ArtifactNotFound, BundleInvalid, DigestMismatch, InvalidReference
from model_packager.stores import CHUNK_BYTES
from model_packager.stores.backends import STORE_ERRORS, Backend, failed, interruptible
from model_packager.uri import StoreRoot, check_digest

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

    def put_blob(self, digest: str, source: Path | bytes) -> bool:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if self.blob_size(digest) == size:
            return False
        try:
            if size <= CHUNK_BYTES:
                data = source if isinstance(source, bytes) else source.read_bytes()
                _check_content(hashlib.sha256(data).hexdigest(), digest, source)
                interruptible(partial(obstore.put, self._backend, _blob(digest), data, use_multipart=False))
            else:
                assert isinstance(source, Path)
                part = max(CHUNK_BYTES, -(-size // MAX_PARTS))
                chunks = _checked_chunks(source, digest, part)
                upload = partial(obstore.put, chunk_size=part, max_concurrency=UPLOADS_IN_FLIGHT)
                interruptible(partial(upload, self._backend, _blob(digest), chunks))
        except STORE_ERRORS as error:
            raise failed(error, self._root) from error
        return True

    def read_pointer(self, name: str, version: str) -> str | None:
        def read() -> bytes:
            found = obstore.get(self._backend, _pointer(name, version))
            if found.meta["size"] > MAX_POINTER_BYTES:
                raise BundleInvalid(f"The pointer {_pointer(name, version)} in {self._root} is too large.")
            return bytes(found.bytes())

        data = self._absent_as_none(read)
        if data is None:
            return None
        try:
            fields = json.loads(data)
            if not isinstance(fields, dict) or list(fields) != ["digest"]:
                raise ValueError
            return check_digest(str(fields["digest"]))
        except (ValueError, RecursionError, InvalidReference) as error:
            raise BundleInvalid(
                f"The pointer {_pointer(name, version)} in {self._root} is not a JSON object with one digest."
            ) from error

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

    def list_versions(self, name: str) -> list[str]:
        prefix = f"models/{name}/"
        try:
            pages = interruptible(lambda: list(obstore.list(self._backend, prefix=prefix)))
            return sorted(item["path"].removeprefix(prefix) for page in pages for item in page)
        except STORE_ERRORS as error:
            raise failed(error, self._root) from error

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


def _checked_chunks(path: Path, digest: str, size: int) -> Iterator[bytes]:
    """The file in chunks; raises before the last one is handed out if the file is no longer what was hashed."""
    seen = hashlib.sha256()
    with path.open("rb") as file:
        chunk = file.read(size)
        while chunk:
            seen.update(chunk)
            following = file.read(size)
            if not following:
                _check_content(seen.hexdigest(), digest, path)
            yield chunk
            chunk = following


def _check_content(found: str, digest: str, source: Path | bytes) -> None:
    if f"sha256:{found}" != digest:
        what = source if isinstance(source, Path) else "the manifest"
        raise DigestMismatch(f"The content of {what} changed while it was uploaded; run the command again.")
