"""Artifact stores: content-addressed blobs, immutable versions, and aliases that move.

Object stores and folders hold ``<root>/blobs/sha256/<hex>``, every file and every canonical manifest once, and
``<root>/models/<name>/<version>``, the digest that a version means; ``<root>/models/<name>/aliases/<alias>`` may be
moved. Signatures are at ``<root>/signatures/<hex of the bundle>/<key id>.sig``. A registry holds the same as images and
tags. The version is created last and on condition that there is none, so a publish is atomic, a retry is free, and of
two publishers of one version exactly one wins.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from model_packager.errors import InvalidReference, MissingExtra
from model_packager.manifest import Manifest
from model_packager.uri import StoreRoot

CHUNK_BYTES = 8 * 1024 * 1024

Progress = Callable[[str, int], None]
"""Called with a path and the bytes of it that were just transferred (0 when it needed no transfer)."""


class Store(Protocol):
    """What a kind of store has to do. All methods raise FetchFailed when the store cannot be used in time."""

    def read_manifest(self, name: str, digest: str, limit: int) -> bytes:
        """The stored manifest of a bundle, not verified. Raises ArtifactNotFound, and BundleInvalid over ``limit``."""

    def read_blob(self, digest: str, start: int, end: int) -> bytes:
        """Bytes ``start`` to ``end`` (exclusive) of a file. Ranges bound memory and can be retried one by one.

        Files are asked for after their manifest. Raises ArtifactNotFound, and BundleInvalid if the blob is too short.
        """

    def put_bundle(self, manifest: Manifest, folder: Path, progress: Progress) -> None:
        """Store all files and the manifest, sending only what is missing; no version is visible yet.

        Every file is hashed, once, also one that the store has. Raises BundleInvalid if one is not what the manifest
        says; what was sent before is then of no use to anyone, and of no harm.
        """

    def read_pointer(self, name: str, version: str) -> str | None:
        """The digest that a version means, or None. Raises BundleInvalid if the pointer is malformed."""

    def create_pointer(self, name: str, version: str, digest: str) -> str:
        """Create the pointer if there is none; return the digest that the version means now, ours or another."""

    def read_alias(self, name: str, alias: str) -> str | None:
        """The digest that an alias means now, or None."""

    def move_alias(self, name: str, alias: str, digest: str) -> str | None:
        """Let the alias mean ``digest``; return what it meant before. Raises AliasConflict if another was faster."""

    def put_signature(self, name: str, digest: str, key_id: str, data: bytes) -> None:
        """Store the signature of a bundle by the key with this id, in place of an earlier one by this key.

        The bundle is there already. Raises ArtifactNotFound if a registry does not have it.
        """

    def read_signature(self, name: str, digest: str, key_id: str, limit: int) -> bytes | None:
        """The signature of a bundle by a key, not verified, or None. Raises SignatureInvalid over ``limit`` bytes."""

    def list_names(self) -> list[str]:
        """Names of all models, sorted."""

    def list_versions(self, name: str) -> list[str]:
        """All published versions of a model, sorted as text."""

    def list_aliases(self, name: str) -> list[str]:
        """All aliases of a model, sorted."""

    def image_reference(self, name: str, digest: str) -> str | None:
        """What a container runtime calls the bundle, ``host/repository@sha256:<image>``; None if it cannot pull it."""


def open_store(root: StoreRoot, *, create: bool = False) -> Store:
    """The store at ``root``; with ``create``, a missing folder of a file store is made.

    Raises InvalidReference for a scheme without a store, ArtifactNotFound for a folder that does not exist, and
    MissingExtra if the client of this kind of store is not installed.
    """
    try:
        if root.scheme == "oci":
            from model_packager.stores.oci import open_oci

            return open_oci(root)
        if root.scheme in ("file", "s3", "gs", "az"):
            from model_packager.stores.backends import open_backend
            from model_packager.stores.objects import ObjectStore

            return ObjectStore(open_backend(root, create=create), root)
    except ModuleNotFoundError as error:
        extra = "oci" if root.scheme == "oci" else "store"
        raise MissingExtra(
            f"{root} needs the Python package {error.name}; install it with pip install 'tidegate[{extra}]'."
        ) from error
    raise InvalidReference(f"This release has no store for {root.scheme}://; use s3, gs, az, oci or file.")
