"""Metadata and security settings that every object shares."""

from typing import Any

from tidegate.api.v1alpha1 import API_VERSION, KIND
from tidegate.domain import names
from tidegate.domain.labels import COMPONENT, MANAGED, MANAGER, MODEL, REVISION, SHARD
from tidegate.domain.observed import Owner, Subject

Manifest = dict[str, Any]
NAME_LABEL = "app.kubernetes.io/name"


def owner_reference(name: str, uid: str, *, controller: bool) -> Manifest:
    """A reference that lets Kubernetes remove the object once its owners are gone."""
    reference: Manifest = {"apiVersion": API_VERSION, "kind": KIND, "name": name, "uid": uid}
    return reference | {"controller": True, "blockOwnerDeletion": True} if controller else reference


def labels(subject: Subject, component: str, revision: str | None = None) -> dict[str, str]:
    """Labels of an object that belongs to one ModelDeployment."""
    found = {MODEL: subject.name, COMPONENT: component, MANAGED: MANAGER, NAME_LABEL: "tidegate-model"}
    return found | ({REVISION: revision} if revision else {})


def metadata(subject: Subject, name: str, component: str, revision: str | None = None) -> Manifest:
    """Metadata of an object that belongs to one ModelDeployment."""
    return {
        "name": name,
        "namespace": subject.namespace,
        "labels": labels(subject, component, revision),
        "ownerReferences": [owner_reference(subject.name, subject.uid, controller=True)],
    }


def router_selector(shard: int) -> dict[str, str]:
    """Labels of the pods of one router of a namespace, and of no other."""
    return {COMPONENT: "router", SHARD: str(shard)}


def shared_metadata(namespace: str, shard: int, owners: tuple[Owner, ...]) -> Manifest:
    """Metadata of a router's objects: they belong to every ModelDeployment that it serves, and go with the last."""
    return {
        "name": names.router(shard),
        "namespace": namespace,
        "labels": router_selector(shard) | {MANAGED: MANAGER, NAME_LABEL: "tidegate-router"},
        "ownerReferences": [owner_reference(o.name, o.uid, controller=False) for o in owners],
    }


def container_security() -> Manifest:
    """No privilege, nothing writable but the volumes."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def pod_security(uid: int) -> Manifest:
    """Never root, and the runtime's seccomp profile."""
    return {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": uid,
        "fsGroup": uid,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
