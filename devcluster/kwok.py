"""Simulated nodes: Node objects, and the KWOK controller that keeps them and their pods Ready."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from devcluster.driver import SimulatedNodes
from devcluster.gotools import MODULES
from devcluster.process import run, write_atomic

LABEL = "tidegate.dev/simulated"
_ANNOTATION = "kwok.x-k8s.io/node"
_STAGES = ("node/fast/node-initialize", "pod/fast/pod-ready", "pod/fast/pod-complete", "pod/fast/pod-delete")
_DOWNLOAD_SECONDS = 600


def node_objects(nodes: SimulatedNodes) -> str:
    """Manifests of ``nodes`` as a YAML stream for kubectl."""
    return yaml.safe_dump_all(_node(f"{nodes.prefix}-{number}", nodes) for number in range(nodes.count))


def _node(name: str, nodes: SimulatedNodes) -> dict[str, Any]:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        LABEL: nodes.prefix,
        **nodes.labels,
    }
    taints = [{"key": _ANNOTATION, "value": "fake", "effect": "NoSchedule"}] if nodes.tainted else []
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {_ANNOTATION: "fake"}},
        "spec": {"taints": taints},
        "status": {"allocatable": dict(nodes.allocatable), "capacity": dict(nodes.allocatable)},
    }


def write_stages(path: Path) -> None:
    """Write KWOK's own quick life cycle of nodes and pods, from the module that the program is built from."""
    answer = run(
        ["go", "mod", "download", "-json", "sigs.k8s.io/kwok"], timeout=_DOWNLOAD_SECONDS, cwd=MODULES / "kwok"
    )
    folder = Path(json.loads(answer)["Dir"], "kustomize", "stage")
    write_atomic(path, "---\n".join((folder / f"{stage}.yaml").read_text() for stage in _STAGES))


def controller_command(tools: Mapping[str, Path], *, kubeconfig: Path, stages: Path, pod_cidr: str) -> list[str]:
    return [
        str(tools["kwok"]),
        f"--kubeconfig={kubeconfig}",
        f"--config={stages}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={_ANNOTATION}=fake",
        f"--cidr={pod_cidr}",
        "--node-lease-duration-seconds=40",
        "--enable-crds=",
    ]
