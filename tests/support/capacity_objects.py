"""Raw nodes, pods and quotas as the API server gives them, for tests of what finds a place."""

from collections.abc import Iterable, Sequence
from typing import Any

from tidegate.domain.capacity import CapacityFacts, pod_use
from tidegate.domain.placement import node_of
from tidegate.domain.quotas import quota_of

Raw = dict[str, Any]
GPU = "nvidia.com/gpu"


def node(name: str, *, gpus: int = 1, taints: Sequence[Raw] = (), cordoned: bool = False, **more: Any) -> Raw:
    """A node with room for everything but accelerators; ``labels`` and ``allocatable`` add to what it has."""
    allocatable = {"cpu": "16", "memory": "64Gi", "pods": "110", GPU: str(gpus)} | more.get("allocatable", {})
    labels = {"kubernetes.io/hostname": name} | more.get("labels", {})
    spec: Raw = {"taints": list(taints)} | ({"unschedulable": True} if cordoned else {})
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"allocatable": allocatable}}


def server(requests: Raw | None = None, limits: Raw | None = None, **more: Any) -> Raw:
    """A pod spec with one server; it asks for one accelerator unless it says otherwise. ``more`` adds to the spec."""
    limits = {GPU: "1"} if limits is None else limits
    return {"containers": [{"name": "triton", "resources": {"requests": requests or {}, "limits": limits}}]} | more


def placed(name: str, where: str = "", *, spec: Raw | None = None, namespace: str = "vision", phase: str = "") -> Raw:
    """A pod on a node, or on none."""
    full = (spec or server()) | ({"nodeName": where} if where else {})
    meta = {"name": name, "namespace": namespace}
    return {"metadata": meta, "spec": full, "status": {"phase": phase or ("Running" if where else "Pending")}}


def quota(name: str, hard: Raw, used: Raw | None = None, **spec: Any) -> Raw:
    """A ResourceQuota that was counted."""
    return {"metadata": {"name": name}, "spec": {"hard": hard} | spec, "status": {"hard": hard, "used": used or {}}}


def facts(
    nodes: Iterable[Raw] | None = (), pods: Iterable[Raw] = (), quotas: Iterable[Raw] | None = ()
) -> CapacityFacts:
    """What was read for namespace ``vision``; None for what could not be."""
    names = {"nodes": nodes, "quotas": quotas}
    return CapacityFacts(
        namespace="vision",
        nodes=None if nodes is None else tuple(map(node_of, nodes)),
        pods=tuple(use for pod in pods if (use := pod_use(pod))),
        quotas=None if quotas is None else tuple(map(quota_of, quotas)),
        unread=tuple(f"the operator may not list {name}" for name, found in names.items() if found is None),
    )
