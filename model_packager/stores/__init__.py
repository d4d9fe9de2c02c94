"""Artifact stores: content-addressed blobs and immutable version pointers.

``<root>/blobs/sha256/<hex>`` holds every file and every canonical manifest once; ``<root>/models/<name>/<version>``
holds the digest that a version means. A pointer is created last and on condition that there is none, so a publish is
atomic, a retry is free, and of two publishers of one version exactly one wins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from model_packager.errors import InvalidReference
from model_packager.uri import StoreRoot

CHUNK_BYTES = 8 * 1024 * 1024


class Store(Protocol):
    """What a kind of store has to do. All methods raise FetchFailed when the store cannot be used in time."""

    def blob_size(self, digest: str) -> int | None:
        """Size in bytes of the blob, or None if the store does not have it."""

    def read_blob(self, digest: str, start: int, end: int) -> bytes:
        """Bytes ``start`` to ``end`` (exclusive) of a blob. Ranges bound memory and can be retried one by one.

        Raises ArtifactNotFound, and BundleInvalid if the blob is too short.
        """

    def put_blob(self, digest: str, source: Path | bytes) -> bool:
        """Store ``source`` under its digest; False if it was there. Raises DigestMismatch if it changed meanwhile."""

    def read_pointer(self, name: str, version: str) -> str | None:
        """The digest that a version means, or None. Raises BundleInvalid if the pointer is malformed."""

    def create_pointer(self, name: str, version: str, digest: str) -> str:
        """Create the pointer if there is none; return the digest that the version means now, ours or another."""

    def list_versions(self, name: str) -> list[str]:
        """All published versions of a model, sorted as text."""


def open_store(root: StoreRoot, *, create: bool = False) -> Store:
    """The store at ``root``; with ``create``, a missing folder of a file store is made.

    Raises InvalidReference for a scheme without a store, ArtifactNotFound for a folder that does not exist.
    """
    if root.scheme in ("file", "s3"):
        from model_packager.stores.backends import open_file, open_s3
        from model_packager.stores.objects import ObjectStore

        return ObjectStore(open_file(root, create=create) if root.scheme == "file" else open_s3(root), root)
    raise InvalidReference(f"This release has no store for {root.scheme}://; use s3:// or file://.")
