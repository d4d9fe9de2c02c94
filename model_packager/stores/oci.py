"""Bundles in an OCI registry, as images that a container runtime can pull or mount.

A model ``name`` under the root is the repository ``<path>/<name>``. A version is the tag of that name. Three kinds of
tags beside the versions start with ``_``, which no version does: ``_bundle.<hex>`` finds an image by the digest of its
bundle, ``_alias.<alias>`` is an alias, and ``_sig.<hex>.<key id>`` is a signature of a bundle. What is read is never
believed: the tag gives the digest of the bundle, the first layer its manifest, which must have this digest, and the
manifest the hashes of all files.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from model_packager.errors import (
    AliasConflict,
    ArtifactNotFound,
    BundleInvalid,
    FetchFailed,
    InvalidReference,
    SignatureInvalid,
)
from model_packager.folder import open_checked, verify_file
from model_packager.manifest import MANIFEST_NAME, Manifest, digest_of, parse_manifest
from model_packager.stores import Progress
from model_packager.stores import oci_layout as layout
from model_packager.stores.oci_images import Image, Repository, pages_of, parse_image
from model_packager.stores.oci_signatures import EMPTY, parse_signature_manifest, signature_manifest, signature_tag
from model_packager.stores.parallel import in_parallel
from model_packager.stores.registry import Registry
from model_packager.uri import StoreRoot

WRITE_SECONDS: Final = 3.0
SETTLE_SECONDS: Final = 5.0
_BUNDLE: Final = "_bundle."
_ALIAS: Final = "_alias."
_SEGMENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


def open_oci(root: StoreRoot) -> OciStore:
    """The store at ``oci://host[:port][/path]``. Raises InvalidReference for a path that no repository can have."""
    for segment in root.path.split("/") if root.path else ():
        if not _SEGMENT.fullmatch(segment):
            raise InvalidReference(
                f"The path segment {segment!a} of {root} cannot be part of a repository: use lower-case letters and "
                "digits with single '.', '_' or '-' between them."
            )
    return OciStore(root)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the content of a file is in the registry."""

    repository: Repository
    layer: str
    offset: int
    size: int


class OciStore:
    """Implements :class:`model_packager.stores.Store`."""

    def __init__(self, root: StoreRoot) -> None:
        self._root = root
        self._registry = Registry(root)
        self._images: dict[tuple[str, str], Image] = {}
        self._places: dict[str, _Place] = {}

    def image(self, name: str, digest: str) -> Image | None:
        """The image of a bundle."""
        if (name, digest) not in self._images:
            found = self._repository(name).image(f"{_BUNDLE}{digest.removeprefix('sha256:')}")
            return self._remember(name, found)
        return self._images[name, digest]

    def read_manifest(self, name: str, digest: str, limit: int) -> bytes:
        image = self.image(name, digest)
        if image is None:
            raise ArtifactNotFound(f"{self._root} does not have the manifest {digest} of {name}.")
        repository = self._repository(name)
        layer, size = image.layers[0]
        if size > limit + 8 * layout.BLOCK:
            raise BundleInvalid(f"The manifest layer of {digest} has {size} bytes; at most {limit} are allowed.")
        data = layout.manifest_in(repository.read_range(layer, 0, size))
        self._index(repository, parse_manifest(data, expected_digest=digest), image)
        return data

    def read_blob(self, digest: str, start: int, end: int) -> bytes:
        place = self._places.get(digest)
        if place is None:
            raise ArtifactNotFound(f"{self._root} does not have the blob {digest}.")
        if end > place.size:
            raise BundleInvalid(f"The blob {digest} has {place.size} bytes; at least {end} were expected.")
        return place.repository.read_range(place.layer, place.offset + start, place.offset + end)

    def put_bundle(self, manifest: Manifest, folder: Path, progress: Progress) -> None:
        repository = self._repository(manifest.name)
        if self.image(manifest.name, manifest.digest()):
            # A registry takes no image whose blobs it does not have, so this one is complete.
            for file in manifest.files:
                verify_file(folder, file)
                progress(file.path, 0)
            return
        found = layout.layers(manifest)
        digests: dict[int, str] = {}
        hashes = {file.path: file.sha256 for file in manifest.files}

        def opened(path: str) -> BinaryIO:
            return BytesIO(manifest.canonical_bytes()) if path == MANIFEST_NAME else open_checked(folder / path)

        def send(number: int) -> None:
            layer = found[number]
            digests[number] = layer.digest(opened, hashes)
            sent = not repository.has_blob(digests[number])
            if sent:
                repository.upload(digests[number], layer.size, partial(layer.chunks, opened))
            for member in layer.members:
                progress(member.path, member.size if sent else 0)

        in_parallel(partial(send, number) for number in range(len(found)))
        config, data = layout.image(manifest, [(layer, digests[number]) for number, layer in enumerate(found)])
        repository.upload(digest_of(config), len(config), lambda: [config])
        image = parse_image(data, "The new image")
        repository.tag(f"{_BUNDLE}{manifest.digest().removeprefix('sha256:')}", data)
        self._remember(manifest.name, image)

    def read_pointer(self, name: str, version: str) -> str | None:
        return self._tagged(name, version)

    def create_pointer(self, name: str, version: str, digest: str) -> str:
        """Registries have no conditional write, so this is mutual exclusion by time.

        Who finds the tag absent writes it within WRITE_SECONDS, waits longer than that, and reads it back: by then
        everyone who also had found it absent has written, and all read the same. A request that a network holds back
        for longer than SETTLE_SECONDS can still break this; a registry with immutable tags excludes even that.
        """
        repository = self._repository(name)
        image = self.image(name, digest)
        if image is None:
            raise FetchFailed(f"The image of {digest} is not in {self._root} any more; run the command again.")
        started = time.monotonic()
        found = repository.image(version)
        if found is None:
            repository.tag(version, image.data, seconds=WRITE_SECONDS, retries=0)
            if time.monotonic() - started > WRITE_SECONDS:
                raise FetchFailed(
                    f"{self._root} took longer than {WRITE_SECONDS:g} s to set a tag, so it is not certain who "
                    f"published version {version} of {name}; run the command again."
                )
        elif found.bundle != digest:
            return found.bundle
        time.sleep(SETTLE_SECONDS)
        return self._tagged(name, version) or digest

    def read_alias(self, name: str, alias: str) -> str | None:
        return self._tagged(name, f"{_ALIAS}{alias}")

    def move_alias(self, name: str, alias: str, digest: str) -> str | None:
        previous = self.read_alias(name, alias)
        image = self.image(name, digest)
        if image is None:
            raise ArtifactNotFound(f"{self._root} does not have {digest} of {name}.")
        if previous != digest and not self._repository(name).tag(f"{_ALIAS}{alias}", image.data):
            raise FetchFailed(f"{self._root} refuses to move the tag {_ALIAS}{alias} of {name}; it must be mutable.")
        if (now := self.read_alias(name, alias)) != digest:
            raise AliasConflict(f"The alias {alias} of {name} in {self._root} was moved to {now} at the same time.")
        return previous

    def put_signature(self, name: str, digest: str, key_id: str, data: bytes) -> None:
        image = self.image(name, digest)
        if image is None:
            raise ArtifactNotFound(f"{self._root} does not have {digest} of {name}.")
        repository = self._repository(name)
        for blob in (EMPTY, data):
            repository.upload(digest_of(blob), len(blob), partial(_whole, blob))
        tag, manifest = signature_tag(digest, key_id), signature_manifest(data, key_id, image.data)
        if not repository.tag(tag, manifest) and repository.manifest(tag) != manifest:
            raise FetchFailed(
                f"{self._root} refuses to replace the tag {tag} of {name}, another signature by this key; it must be "
                "mutable."
            )

    def read_signature(self, name: str, digest: str, key_id: str, limit: int) -> bytes | None:
        repository = self._repository(name)
        manifest = repository.manifest(signature_tag(digest, key_id))
        if manifest is None:
            return None
        what = f"The signature of {digest} by the key {key_id} in {self._root}"
        layer, size = parse_signature_manifest(manifest, what)
        if size > limit:
            raise SignatureInvalid(f"{what} has {size} bytes, more than {limit}; sign the bundle again.")
        try:
            return repository.read_range(layer, 0, size)
        except (ArtifactNotFound, BundleInvalid) as error:
            raise SignatureInvalid(f"{what} is not complete; sign the bundle again.") from error

    def list_names(self) -> list[str]:
        prefix = f"{self._root.path}/" if self._root.path else ""
        pages = pages_of(self._registry, "/v2/_catalog?n=1000", "a request for its repositories; name the model")
        found = [str(entry) for page in pages for entry in page.get("repositories") or ()]
        names = [entry.removeprefix(prefix) for entry in found if entry.startswith(prefix)]
        return sorted(name for name in names if "/" not in name)

    def list_versions(self, name: str) -> list[str]:
        return sorted(tag for tag in self._repository(name).tags() if not tag.startswith("_"))

    def list_aliases(self, name: str) -> list[str]:
        tags = self._repository(name).tags()
        return sorted(tag.removeprefix(_ALIAS) for tag in tags if tag.startswith(_ALIAS))

    def image_reference(self, name: str, digest: str) -> str | None:
        image = self.image(name, digest)
        return f"{str(self._root).removeprefix('oci://')}/{name}@{image.digest}" if image else None

    def _index(self, repository: Repository, manifest: Manifest, image: Image) -> None:
        expected = layout.layers(manifest)
        if [layer.size for layer in expected] != [size for _, size in image.layers]:
            raise BundleInvalid(f"The layers of {image.bundle} in {self._root} are not the ones of its manifest.")
        hashes = {file.path: f"sha256:{file.sha256}" for file in manifest.files}
        for layer, (digest, _) in zip(expected, image.layers, strict=True):
            for member in layer.members:
                if member.path in hashes:
                    place = _Place(repository, digest, member.offset, member.size)
                    self._places[hashes[member.path]] = place

    def _tagged(self, name: str, tag: str) -> str | None:
        found = self._remember(name, self._repository(name).image(tag))
        return found.bundle if found else None

    def _remember(self, name: str, image: Image | None) -> Image | None:
        if image is not None:
            self._images[name, image.bundle] = image
        return image

    def _repository(self, name: str) -> Repository:
        return Repository(self._registry, f"{self._root.path}/{name}" if self._root.path else name)


def _whole(data: bytes) -> list[bytes]:
    return [data]
