"""The two ways to build an image from its Dockerfile: a Docker engine, or buildah without any daemon."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from devcluster.debian import ensure_debian_packages
from devcluster.errors import DevclusterError
from devcluster.gotools import GO_MODULES, build_flags, content_hash, ensure_tools
from devcluster.imagebuild_base import base_hash, ensure_base
from devcluster.imagebuild_network import read_only_mounts
from devcluster.imagebuild_process import run_logged
from devcluster.imagebuild_spec import ImageSpec
from devcluster.paths import cache_home
from devcluster.process import run
from devcluster.progress import Progress

_BUILD_SECONDS = 1800
_EXPORT_SECONDS = 600
_QUERY_SECONDS = 120
_STORAGE_LIMIT_BYTES = 6 * 1024**3


@dataclass(frozen=True)
class Job:
    """One image to build: its staged context, the name it gets and the files to write."""

    spec: ImageSpec
    context: Path
    reference: str
    archive: Path
    log: Path


class Engine(Protocol):
    """Builds images; ``identity`` names what it adds to an image beyond the Dockerfile and its files."""

    def identity(self, spec: ImageSpec) -> list[str]: ...

    def prepare(self) -> None:
        """Install and clean what the engine needs; the build lock must be held."""
        ...

    def build(self, job: Job) -> None:
        """Build the image and write it to ``job.archive``."""
        ...


class DockerEngine:
    """Uses the public base images that the Dockerfiles name."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def identity(self, spec: ImageSpec) -> list[str]:
        return ["docker"]

    def prepare(self) -> None:
        """A Docker engine needs nothing more."""

    def build(self, job: Job) -> None:
        what = f"image {job.spec.name}"
        dockerfile = job.context / job.spec.dockerfile
        command: list[str | Path] = [
            "docker",
            "build",
            "--progress=plain",
            "-f",
            dockerfile,
            "-t",
            job.reference,
            job.context,
        ]
        run_logged(command, what=what, log=job.log, timeout=_BUILD_SECONDS, progress=self._progress)
        save: list[str | Path] = ["docker", "save", "--output", job.archive, job.reference]
        run_logged(save, what=f"{what}: export", log=job.log, timeout=_EXPORT_SECONDS, progress=self._progress)


class BuildahEngine:
    """Puts a local base image under the same Dockerfiles; needs root and a Debian-based host."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._root = cache_home() / "buildah"
        suffix = hashlib.sha256(str(self._root).encode()).hexdigest()[:12]
        self._run_root = Path("/run") / f"tidegate-buildah-{suffix}"

    def identity(self, spec: ImageSpec) -> list[str]:
        return ["buildah", base_hash(), *(_tool_hash(name) for name in spec.tools)]

    def prepare(self) -> None:
        if os.geteuid() != 0:
            raise DevclusterError(
                "building images needs a Docker engine, or root for buildah: start Docker or use root"
            )
        ensure_debian_packages(["buildah", "mmdebstrap"])
        self._root.mkdir(parents=True, exist_ok=True)
        # A killed build leaves its working containers behind, and they keep their layers alive.
        self._query("rm", "--all")
        if _bytes_below(self._root) > _STORAGE_LIMIT_BYTES:
            self._query("rmi", "--all", "--force")

    def build(self, job: Job) -> None:
        base = self._base_image(job.log)
        for name, path in ensure_tools(job.spec.tools, self._progress).items():
            shutil.copyfile(path, job.context / name)
            (job.context / name).chmod(0o755)
        what = f"image {job.spec.name}"
        stored = f"docker.io/{job.reference}"
        arguments = {**dict.fromkeys(job.spec.base_arguments, base), **job.spec.tool_arguments}
        mounts = read_only_mounts(job.context.parent)
        self._logged(
            ["bud", "--pull-never", "--network", "host", "--layers", "--format", "docker", "-f", job.spec.dockerfile,
             *(f"--build-arg={key}={value}" for key, value in arguments.items()),
             *(f"--volume={file}:{place}:ro" for file, place in mounts),
             "-t", stored, job.context],
            what, job.log, _BUILD_SECONDS,
        )  # fmt: skip
        target = f"docker-archive:{job.archive}:{job.reference}"
        self._logged(["push", "--quiet", stored, target], f"{what}: export", job.log, _EXPORT_SECONDS)
        self._forget_other_tags(stored)

    def _base_image(self, log: Path) -> str:
        name = f"localhost/tidegate-base:{base_hash()}"
        if name in self._names():
            return name
        archive = ensure_base(self._progress)
        container = self._query("from", "scratch").strip()
        self._logged(["add", "--quiet", container, archive, "/"], "image base: unpack", log, _EXPORT_SECONDS)
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._query("config", "--env", path, "--cmd", "/bin/sh", container)
        commit = ["commit", "--quiet", "--disable-compression", "--rm", container, name]
        self._logged(commit, "image base: store", log, _EXPORT_SECONDS)
        return name

    def _forget_other_tags(self, stored: str) -> None:
        repository = stored.rpartition(":")[0]
        old = [name for name in self._names() if name.rpartition(":")[0] == repository and name != stored]
        if old:
            self._query("rmi", *old)

    def _names(self) -> list[str]:
        return self._query("images", "--noheading", "--format", "{{.Name}}:{{.Tag}}").split()

    @cached_property
    def _driver(self) -> str:
        # Overlay mounts do not stack on an overlay file system, such as the root of a container.
        below = run(["findmnt", "-n", "-o", "FSTYPE", "--target", self._root], timeout=_QUERY_SECONDS).strip()
        return "vfs" if below == "overlay" else "overlay"

    def _command(self, *words: str | Path) -> list[str | Path]:
        storage: list[str | Path] = [
            "--root",
            self._root,
            "--runroot",
            self._run_root,
            "--storage-driver",
            self._driver,
        ]
        return ["buildah", *storage, *words]

    def _query(self, *words: str | Path) -> str:
        return run(self._command(*words), timeout=_QUERY_SECONDS)

    def _logged(self, words: Sequence[str | Path], what: str, log: Path, timeout: float) -> None:
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        command = self._command(*words)
        run_logged(command, what=what, log=log, timeout=timeout, progress=self._progress, env=environment)


def _tool_hash(name: str) -> str:
    module = next(module for module in GO_MODULES if name in module.packages)
    return content_hash(module.path(), build_flags(module), "")


def _bytes_below(folder: Path) -> int:
    return int(run(["du", "-s", "--block-size=1", "--one-file-system", folder], timeout=_QUERY_SECONDS).split()[0])
