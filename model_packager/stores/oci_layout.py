"""How a bundle is laid out as an OCI image. A pure function of the manifest: equal bundles give equal images.

The first layer is ``manifest.json``, the second all small files, and each large file has a layer of its own, so that
the weights of two versions are uploaded and stored once when they are equal. Layers are uncompressed tar: weights
hardly compress, nodes mount them without work, and a reader can ask for any range of any file, because the place of
every byte follows from the manifest. A reader refuses another value of ``LAYOUT``.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final

from model_packager.folder import changed
from model_packager.manifest import MANIFEST_NAME, Manifest, digest_of

LAYOUT: Final = "1"
LARGE_BYTES: Final = 4 * 1024 * 1024  # part of the layout, as is the next one: changing them makes another layout
MAX_LARGE: Final = 96  # snapshotters of container runtimes stop at about 128 layers
BLOCK: Final = 512
READ_BYTES: Final = 1024 * 1024

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
DIGEST_ANNOTATION: Final = "dev.tidegate.bundle.digest"
LAYOUT_ANNOTATION: Final = "dev.tidegate.bundle.layout"
PATH_ANNOTATION: Final = "org.cncf.model.filepath"

Opener = Callable[[str], BinaryIO]
"""Opens a file of the bundle by its path."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside a layer: the tar headers before it, and where its content starts in the layer."""

    path: str
    size: int
    headers: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One uncompressed tar of ``size`` bytes."""

    members: tuple[Member, ...]
    size: int

    def chunks(self, opened: Opener, hashes: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """The bytes of the layer in order, exactly ``size``.

        Raises BundleInvalid for a file of another size, or of another sha256 than ``hashes`` has for its path.
        """
        for member in self.members:
            yield member.headers
            left = member.size
            seen = hashlib.sha256()
            with opened(member.path) as file:
                while data := file.read(min(READ_BYTES, left)):
                    left -= len(data)
                    if hashes:
                        seen.update(data)
                    yield data
                if left or file.read(1):
                    raise changed(member.path)
            if hashes and hashes.get(member.path, seen.hexdigest()) != seen.hexdigest():
                raise changed(member.path)
            yield bytes(-member.size % BLOCK)
        yield bytes(2 * BLOCK)

    def digest(self, opened: Opener, hashes: Mapping[str, str]) -> str:
        """``sha256:`` and the hash of the bytes, which are compared with ``hashes`` on the way."""
        seen = hashlib.sha256()
        for data in self.chunks(opened, hashes):
            seen.update(data)
        return f"sha256:{seen.hexdigest()}"


def manifest_layer(size: int) -> Layer:
    """The first layer of every image, which can be read before anything else about the bundle is known."""
    return _layer([(MANIFEST_NAME, size)])


def manifest_in(data: bytes) -> bytes:
    """The manifest inside the first layer; rubbish gives some other bytes, which the digest then refuses."""
    try:
        size = tarfile.TarInfo.frombuf(data[:BLOCK], "utf-8", "strict").size
    except (tarfile.TarError, ValueError):
        return b""
    return data[BLOCK : BLOCK + max(size, 0)]


def layers(manifest: Manifest) -> list[Layer]:
    """All layers of the image, the manifest's first."""
    large = sorted((file for file in manifest.files if file.size >= LARGE_BYTES), key=lambda f: (-f.size, f.path))
    alone = {file.path for file in large[:MAX_LARGE]}
    small = [(file.path, file.size) for file in manifest.files if file.path not in alone]
    found = [manifest_layer(len(manifest.canonical_bytes())), _layer(small)]
    return found + [_layer([(file.path, file.size)]) for file in manifest.files if file.path in alone]


def image(manifest: Manifest, found: list[tuple[Layer, str]]) -> tuple[bytes, bytes]:
    """The image configuration and the image manifest, for layers with their digests. No times, no hosts."""
    rootfs = {"type": "layers", "diff_ids": [digest for _, digest in found]}
    config = _encode({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs})
    source = manifest.provenance.source
    annotations = {
        DIGEST_ANNOTATION: manifest.digest(),
        LAYOUT_ANNOTATION: LAYOUT,
        "org.opencontainers.image.title": manifest.name,
        "org.opencontainers.image.version": manifest.version,
        "org.opencontainers.image.description": f"Model {manifest.name} {manifest.version} as a Tidegate bundle",
        **({"org.opencontainers.image.revision": source.git_commit} if source.git_commit else {}),
    }
    descriptors = [_descriptor(LAYER_TYPE, digest, layer.size, _layer_notes(layer)) for layer, digest in found]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, digest_of(config), len(config), {}),
        "layers": descriptors,
        "annotations": annotations,
    }
    return config, _encode(document)


def _layer_notes(layer: Layer) -> dict[str, str]:
    """The annotations of the ModelPack specification, for layers of one file: the path and what the file is."""
    if len(layer.members) != 1:
        return {}
    member = layer.members[0]
    fields = {"name": member.path, "mode": 0o644, "uid": 0, "gid": 0, "size": member.size, "typeflag": 0}
    return {
        PATH_ANNOTATION: member.path,
        "org.cncf.model.file.metadata+json": _encode({**fields, "mtime": "1970-01-01T00:00:00Z"}).decode(),
        "org.cncf.model.file.mediatype.untested": "true",
    }


def _layer(files: list[tuple[str, int]]) -> Layer:
    members: list[Member] = []
    position = 0
    folders: set[str] = set()
    for path, size in sorted(files):
        headers = io.BytesIO()
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            if str(parent) not in folders:
                folders.add(str(parent))
                headers.write(_header(f"{parent}/", 0, tarfile.DIRTYPE, 0o755))
        headers.write(_header(path, size, tarfile.REGTYPE, 0o644))
        offset = position + headers.tell()
        members.append(Member(path, size, headers.getvalue(), offset))
        position = offset + size + -size % BLOCK
    return Layer(tuple(members), position + 2 * BLOCK)


def _header(path: str, size: int, kind: bytes, mode: int) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.size, entry.type, entry.mode, entry.mtime = size, kind, mode, 0
    return entry.tobuf(tarfile.PAX_FORMAT)


def _descriptor(media_type: str, digest: str, size: int, annotations: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": size}
    return {**fields, "annotations": annotations} if annotations else fields


def _encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
