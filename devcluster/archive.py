"""Image archives in docker-archive form: read what is inside, write the pause image, export from local storages."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from devcluster.errors import DevclusterError
from devcluster.process import run

_EXPORT_SECONDS = 900


@dataclass(frozen=True)
class ArchivedImage:
    """A tagged image of an archive. ``config_digest`` (sha256:...) is what container tools call the image id."""

    name: str
    config_digest: str


def full_name(name: str) -> str:
    """Return ``name`` with the registry and tag that container tools add: ``a/b`` -> ``docker.io/a/b:latest``."""
    first, _, rest = name.partition("/")
    has_registry = bool(rest) and ("." in first or ":" in first or first == "localhost")
    if not has_registry:
        name = f"docker.io/{name}" if rest else f"docker.io/library/{name}"
    last = name.rsplit("/", 1)[-1]
    return name if ":" in last or "@" in last else f"{name}:latest"


def read_archive(path: Path) -> list[ArchivedImage]:
    """List the tagged images of a docker-archive file.

    Raises DevclusterError where the file is none or holds no tagged image.
    """
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile("manifest.json")
            entries = json.load(member) if member else []
        found = [
            ArchivedImage(full_name(tag), f"sha256:{Path(entry['Config']).name.removesuffix('.json')}")
            for entry in entries
            for tag in entry.get("RepoTags") or []
        ]
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise DevclusterError(
            f"{path} is no docker-archive ({error}): write it by 'docker save' or 'buildah push IMAGE docker-archive:'"
        ) from error
    if not found:
        raise DevclusterError(
            f"{path} holds no tagged image: give it a name when saving, as in docker-archive:FILE:NAME"
        )
    return found


@contextmanager
def archive_of(image: str) -> Iterator[Path]:
    """Yield an archive of ``image``: the file itself, or an export from Docker's or buildah's local storage."""
    if Path(image).is_file():
        yield Path(image)
        return
    if "/" in image and image.endswith(".tar"):
        raise DevclusterError(f"there is no file {image}")
    with TemporaryDirectory(prefix="tidegate-image-") as folder:
        file = Path(folder) / "image.tar"
        _export(image, file)
        yield file


def _export(image: str, file: Path) -> None:
    attempts = {
        "docker": ["docker", "save", "--output", str(file), image],
        "buildah": ["buildah", "push", image, f"docker-archive:{file}:{image}"],
    }
    failures = []
    for program, command in attempts.items():
        if shutil.which(program) is None:
            continue
        try:
            run(command, timeout=_EXPORT_SECONDS)
            return
        except DevclusterError as error:
            failures.append(str(error))
    reason = "\n".join(failures) or "neither docker nor buildah is installed"
    raise DevclusterError(f"'{image}' is neither an archive file nor an image that can be exported:\n{reason}")


def write_pause_image(path: Path, name: str, program: Path) -> None:
    """Write the image that holds a pod's namespaces: one static init ``program``, run as ``/pause -P``."""
    layer = _tar({"pause": program.read_bytes()}, mode=0o755)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause", "-P"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    config_bytes = json.dumps(config, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    path.write_bytes(_tar({config_name: config_bytes, "layer.tar": layer, "manifest.json": manifest}, mode=0o644))


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)  # time 0 and owner root, so that equal input gives equal bytes
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
