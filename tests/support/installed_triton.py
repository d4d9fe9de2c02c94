"""The Triton of the image ``triton-cpu`` as an installed program: no cluster and no container engine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from devcluster.images import build
from devcluster.paths import cache_home
from devcluster.process import file_lock
from devcluster.progress import Progress

_KEPT = 2
_WHITEOUT = ".wh."
# The mounts are seen by this process only and go with it; /dev/shm is one's own, as in a pod.
_START = """
root=$1 visible=$2; shift 2
mkdir -p "$root/dev" "$root/proc" "$root/tmp"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount --rbind /proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root$visible"
mount --rbind "$visible" "$root$visible"
exec chroot "$root" /usr/bin/env PATH=/opt/tritonserver/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 tritonserver "$@"
"""


@dataclass(frozen=True)
class Served:
    """A server with many models; ``bundles`` are their folders by the name of the model."""

    http: str
    grpc: str
    bundles: dict[str, Path]


def install_triton(folder: Path, visible: Path) -> Path:
    """Write a program ``tritonserver`` into ``folder`` and return it; the server sees ``visible`` under its path."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "tritonserver"
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _START, "tritonserver", _root(), visible]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    program.chmod(0o755)
    return program


def _root() -> Path:
    """The root file system of the image, unpacked once a content, however many test runs ask for it."""
    archive = build(["triton-cpu"], Progress())["triton-cpu"].archive_path
    home = cache_home() / "roots"
    root = home / archive.stem
    with file_lock(home / "unpack.lock"):
        if not root.is_dir():
            draft = home / f".partial-{archive.stem}"
            shutil.rmtree(draft, ignore_errors=True)
            _unpack(archive, draft)
            draft.rename(root)
        os.utime(root)
        unpacked = sorted(home.glob("triton-cpu-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in unpacked[_KEPT:]:
            shutil.rmtree(old)
    return root


def _unpack(archive: Path, root: Path) -> None:
    root.mkdir(parents=True)
    with tarfile.open(archive) as image:
        manifest = image.extractfile("manifest.json")
        assert manifest is not None
        for name in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=image.extractfile(name)) as layer:
                for member in layer:
                    parent, _, base = member.name.rpartition("/")
                    if base.startswith(_WHITEOUT):
                        (root / parent / base.removeprefix(_WHITEOUT)).unlink()
                    else:
                        layer.extract(member, root, filter="fully_trusted")
