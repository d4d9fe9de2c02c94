"""Raw Kubernetes objects as the API server gives them, and specs, for tests of the pure decisions."""

from datetime import datetime
from typing import Any

from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.labels import ATTEMPT, COMPONENT, CONFIG, KEY, MODEL, PARITY, REVISION, ROLE, SHARD

Raw = dict[str, Any]
QUICK = {"bake": {"duration": "0s"}, "analysis": {"minRequests": 20}}
STEPS = [{"weight": 5, "hold": "10s"}, {"weight": 25, "hold": "10s"}, {"weight": 50, "hold": "10s"}]


def uri(version: int) -> str:
    """Address of one of the versions that the simulated store has."""
    return f"s3://models/digits:{version}"


def digest(version: int) -> str:
    """Digest of one version's bundle."""
    return "sha256:" + f"{version:x}" * 64


def make_spec(version: int = 1, **fields: Any) -> ModelDeploymentSpec:
    """A spec with three short steps and no bake after them; ``fields`` are in wire form and replace or add."""
    wire = {"model": {"uri": uri(version)}, "rollout": {"steps": STEPS}} | fields
    return ModelDeploymentSpec.model_validate(_quick(wire))


def _quick(wire: Raw) -> Raw:
    """Tests that are not about them need not wait for a bake or for many requests."""
    return wire | {"rollout": QUICK | wire.get("rollout", {})}


def edited(spec: ModelDeploymentSpec, **fields: Any) -> ModelDeploymentSpec:
    """``spec`` as a user would have edited it, with top-level fields replaced."""
    return ModelDeploymentSpec.model_validate(_quick(spec.to_wire() | fields))


def wire_time(when: datetime) -> str:
    """A time as Kubernetes writes it: whole seconds, UTC."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(name: str, revision: str = "", *, labels: Raw | None = None, **fields: Any) -> Raw:
    """A pod: ``ready``, ``turned``, ``ip``, ``leaving``, ``phase``, ``containers``, ``init`` and ``scheduled``.

    ``turned`` is when it became ready, or ceased to be.
    """
    own = {MODEL: "digits", REVISION: revision, COMPONENT: "server"} if revision else {MODEL: "digits"}
    turned = {"lastTransitionTime": wire_time(fields["turned"])} if fields.get("turned") else {}
    conditions = [{"type": "Ready", "status": "True" if fields.get("ready") else "False", **turned}]
    scheduled = fields.get("scheduled")
    conditions.append({"type": "PodScheduled", **(scheduled or {"status": "True"})})
    meta: Raw = {"name": name, "labels": own | (labels or {}), "annotations": fields.get("annotations", {})}
    if fields.get("leaving"):
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = {
        "phase": fields.get("phase", "Running"),
        "podIP": fields.get("ip", ""),
        "conditions": conditions,
        "initContainerStatuses": fields.get("init", []),
        "containerStatuses": fields.get("containers", []),
    }
    placed = {} if scheduled else {"nodeName": "node-1"}
    device = [{"name": "triton", "resources": {"limits": {"nvidia.com/gpu": "1"}}}] if revision else []
    return {"kind": "Pod", "metadata": meta, "spec": placed | {"containers": device}, "status": status}


def container(name: str = "triton", *, ready: bool = False, last: Raw | None = None, **state: Any) -> Raw:
    """A container's status; ``state`` is ``waiting``, ``running`` or ``terminated``."""
    return {"name": name, "ready": ready, "state": state, "lastState": {"terminated": last} if last else {}}


def router_pod(name: str, *, ready: bool, told: str, shard: int = 0) -> Raw:
    """A router's pod; ``told`` is the mark it was annotated with."""
    marks = {CONFIG: told} if told else {}
    return pod(name, ready=ready, labels={COMPONENT: "router", SHARD: str(shard)}, annotations=marks, ip="10.9.0.1")


def deployment(name: str, replicas: int, role: str) -> Raw:
    """A Deployment of one revision."""
    labels = {MODEL: "digits", REVISION: name, ROLE: role, COMPONENT: "server"}
    return {"kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": {"replicas": replicas}}


def job(name: str, key: str, attempt: int, conditions: list[Raw]) -> Raw:
    """A resolve Job."""
    labels = {MODEL: "digits", COMPONENT: "resolve", KEY: key, ATTEMPT: str(attempt)}
    return {"kind": "Job", "metadata": {"name": name, "labels": labels}, "status": {"conditions": conditions}}


def parity_job(name: str, revision: str, attempt: int, conditions: list[Raw]) -> Raw:
    """A Job that replays golden cases."""
    labels = {MODEL: "digits", COMPONENT: PARITY, REVISION: revision, ATTEMPT: str(attempt)}
    return {"kind": "Job", "metadata": {"name": name, "labels": labels}, "status": {"conditions": conditions}}


def service(name: str, owner_uid: str | None, shard: int = 0) -> Raw:
    """A Service, with or without an owner."""
    owners = [{"uid": owner_uid}] if owner_uid else []
    meta = {"name": name, "labels": {SHARD: str(shard)}, "ownerReferences": owners}
    return {"kind": "Service", "metadata": meta}
