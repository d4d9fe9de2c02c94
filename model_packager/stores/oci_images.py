"""Blobs, images and tags of one repository of a registry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from model_packager.errors import ArtifactNotFound, BundleInvalid, InvalidReference
from model_packager.manifest import digest_of
from model_packager.stores.oci_layout import DIGEST_ANNOTATION, LAYOUT, LAYOUT_ANNOTATION, MANIFEST_TYPE
from model_packager.stores.registry import READ_SECONDS, Registry, Unreachable, unreachable
from model_packager.uri import check_digest

T = TypeVar("T")

ATTEMPTS: Final = 3
MAX_IMAGE_BYTES: Final = 4 * 1024 * 1024  # registries accept no larger manifests
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_OK, _CREATED, _ACCEPTED, _PARTIAL, _NOT_FOUND, _BAD_RANGE, _SERVER = 200, 201, 202, 206, 404, 416, 500


@dataclass(frozen=True, slots=True)
class Image:
    """An image that claims to be a bundle. ``layers`` are digests with sizes; nothing in it is verified."""

    data: bytes
    bundle: str
    layers: tuple[tuple[str, int], ...]

    @property
    def digest(self) -> str:
        """Digest of the image manifest, by which a registry and a container runtime know the image."""
        return digest_of(self.data)


def parse_image(data: bytes, where: str) -> Image:
    """Raises BundleInvalid for what is not an image of a bundle in the layout of this release."""
    try:
        fields = json.loads(data)
        notes: dict[str, Any] = fields["annotations"]
        bundle = check_digest(str(notes[DIGEST_ANNOTATION]))
        layers = tuple((check_digest(str(layer["digest"])), int(layer["size"])) for layer in fields["layers"])
        known = notes.get(LAYOUT_ANNOTATION) == LAYOUT
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, InvalidReference) as error:
        raise BundleInvalid(f"{where} is not a bundle; only images that this tool published can be used.") from error
    if not known or not layers:
        raise BundleInvalid(f"{where} is a bundle in a layout that this release does not know; use a newer release.")
    return Image(data, bundle, layers)


class Repository:
    """One repository, such as ``team/models/digits``. Methods raise FetchFailed for all that is not said otherwise."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry = registry
        self._name = name

    def has_blob(self, digest: str) -> bool:
        """Whether the registry has the blob in this repository."""
        with _released(self._registry.call("HEAD", self._path(f"blobs/{digest}"))) as found:
            if found.status not in (_OK, _NOT_FOUND):
                raise self._registry.failed(found, f"a look at {digest}")
            return found.status == _OK

    def read_range(self, digest: str, start: int, end: int) -> bytes:
        """Bytes of a blob; also from a registry that ignores ranges. Raises ArtifactNotFound and BundleInvalid."""
        return _with_attempts(partial(self._read_range, digest, start, end))

    def upload(self, digest: str, size: int, body: Callable[[], Iterable[bytes]]) -> None:
        """Send a blob; ``body`` gives its bytes, again for each attempt. Raises BundleInvalid if they are others."""

        def send() -> None:
            if not self.has_blob(digest):
                self._upload(digest, size, body)

        _with_attempts(send)

    def image(self, reference: str) -> Image | None:
        """The image with a tag. Raises BundleInvalid if it is something else."""
        data = self.manifest(reference)
        return None if data is None else parse_image(data, f"The tag {reference} of {self._name}")

    def manifest(self, reference: str) -> bytes | None:
        """The manifest with a tag, whatever it is of; at most MAX_IMAGE_BYTES of it."""
        path = self._path(f"manifests/{reference}")
        found = self._registry.call("GET", path, headers={"Accept": MANIFEST_TYPE})
        with _released(found):
            if found.status == _NOT_FOUND:
                return None
            if found.status != _OK:
                raise self._registry.failed(found, f"a request for the tag {reference} of {self._name}")
            return self._read(found, MAX_IMAGE_BYTES)

    def tag(self, reference: str, data: bytes, *, seconds: float = READ_SECONDS, retries: int = ATTEMPTS) -> bool:
        """Let a tag mean an image manifest; False if the registry refuses, as one with immutable tags does."""
        found = self._registry.call(
            "PUT", self._path(f"manifests/{reference}"), headers={"Content-Type": MANIFEST_TYPE}, body=data,
            seconds=seconds, retries=retries,
        )  # fmt: skip
        with _released(found):
            if found.status not in (_OK, _CREATED) and (found.status >= _SERVER or self.manifest(reference) is None):
                raise self._registry.failed(found, f"the tag {reference} of {self._name}")
            return found.status in (_OK, _CREATED)

    def tags(self) -> list[str]:
        """All tags, in the order of the registry."""
        pages = pages_of(self._registry, self._path("tags/list?n=1000"), f"a request for the tags of {self._name}")
        return [str(tag) for page in pages for tag in page.get("tags") or ()]

    def _upload(self, digest: str, size: int, body: Callable[[], Iterable[bytes]]) -> None:
        with _released(
            self._registry.call("POST", self._path("blobs/uploads/"), headers={"Content-Length": "0"})
        ) as found:
            location = found.headers.get("Location")
            if found.status != _ACCEPTED or not location:
                raise self._registry.failed(found, f"the start of an upload to {self._name}")
        url = f"{location}{'&' if '?' in location else '?'}digest={quote(digest, safe='')}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        found = self._registry.call("PUT", url, headers=headers, body=body)
        with _released(found):
            if found.status in (_OK, _CREATED, 204):
                return
            failure = self._registry.failed(found, f"the upload of {digest}")
            if found.status >= _SERVER:
                raise Unreachable(str(failure))
            if "DIGEST_INVALID" in str(failure):
                raise BundleInvalid("A file changed while it was uploaded; run the command again.")
            raise failure

    def _read_range(self, digest: str, start: int, end: int) -> bytes:
        path = self._path(f"blobs/{digest}")
        found = self._registry.call("GET", path, headers={"Range": f"bytes={start}-{end - 1}"})
        with _released(found):
            if found.status == _NOT_FOUND:
                raise ArtifactNotFound(f"{self._registry.root} does not have the blob {digest}.")
            if found.status not in (_OK, _PARTIAL, _BAD_RANGE):
                raise self._registry.failed(found, f"a request for {digest}")
            data = b""
            if found.status != _BAD_RANGE:
                skipped = start if found.status == _OK else 0
                while skipped > 0 and (piece := self._read(found, min(skipped, 1024 * 1024))):
                    skipped -= len(piece)
                data = self._read(found, end - start)
            if len(data) != end - start:
                raise BundleInvalid(
                    f"The blob {digest} in {self._registry.root} ends before byte {end}, where it should not."
                )
            return data

    def _read(self, found: BaseHTTPResponse, size: int) -> bytes:
        try:
            return found.read(size, decode_content=False)
        except (HTTPError, OSError) as error:
            raise unreachable(self._registry.root, error) from error

    def _path(self, rest: str) -> str:
        return f"/v2/{self._name}/{rest}"


def pages_of(registry: Registry, path: str, what: str) -> Iterator[dict[str, Any]]:
    """The objects of a list that comes in pages; none if there is no such list."""
    following: str | None = path
    seen: set[str] = set()
    while following and following not in seen:
        seen.add(following)
        with _released(registry.call("GET", following)) as found:
            if found.status == _NOT_FOUND:
                return
            if found.status != _OK:
                raise registry.failed(found, what)
            try:
                fields = json.loads(found.read(MAX_LIST_BYTES))
            except (HTTPError, OSError, ValueError) as error:
                raise unreachable(registry.root, error) from error
            link = _NEXT.search(found.headers.get("Link", ""))
        if isinstance(fields, dict):
            yield fields
        following = link.group(1) if link else None


class _released:
    """Gives the connection back to the pool, or closes it if not everything was read."""

    def __init__(self, found: BaseHTTPResponse) -> None:
        self._found = found

    def __enter__(self) -> BaseHTTPResponse:
        return self._found

    def __exit__(self, *_: object) -> None:
        length = self._found.length_remaining
        if length is not None and length <= 64 * 1024 and not self._found.closed:
            try:
                self._found.drain_conn()
            finally:
                self._found.release_conn()
        else:
            self._found.close()
            self._found.release_conn()


def _with_attempts(call: Callable[[], T]) -> T:
    for _ in range(ATTEMPTS - 1):
        try:
            return call()
        except Unreachable:
            continue  # the transport has waited between its own attempts
    return call()
