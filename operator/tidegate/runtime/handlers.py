"""Kopf: watches wake the queue. No decision is made here, and Kopf keeps nothing on any object.

Only ``on.event`` handlers are used: they need no finalizer, so that deleting a ModelDeployment never waits for the
operator, and they store no progress in annotations.
"""

from collections.abc import Iterable
from typing import Any

import kopf

from tidegate.api.v1alpha1 import GROUP, PLURAL, VERSION
from tidegate.domain.labels import COMPONENT, MANAGED, MANAGER, MODEL, SHARD
from tidegate.resources.envoy import rds_file
from tidegate.runtime.queue import WorkQueue

CHILDREN = (
    ("apps", "v1", "deployments"),
    ("batch", "v1", "jobs"),
    ("", "v1", "services"),
    ("", "v1", "pods"),
)


class Neighbours:
    """Which models share a router, as far as the watches have told: only they need to know what happens to it."""

    def __init__(self) -> None:
        self._models: dict[str, set[str]] = {}
        self._routed: dict[str, dict[str, frozenset[str]]] = {}

    def add(self, namespace: str, name: str) -> None:
        """A model exists."""
        self._models.setdefault(namespace, set()).add(name)

    def drop(self, namespace: str, name: str) -> list[str]:
        """A model is gone; those that share its router take its route out."""
        self._models.setdefault(namespace, set()).discard(name)
        shared = [shard for shard, names in self._routed.get(namespace, {}).items() if name in names]
        return self.of(namespace, shared[0]) if shared else self._all(namespace)

    def table(self, namespace: str, shard: str, files: Iterable[str]) -> list[str]:
        """A router's table was written: the models in it, and those that were in it before."""
        routed = self._routed.setdefault(namespace, {})
        before = routed.get(shard)
        routed[shard] = frozenset(f[4:-5] for f in files if f == rds_file(f[4:-5]))
        return self._all(namespace) if before is None else self._those(namespace, before | routed[shard])

    def of(self, namespace: str, shard: str) -> list[str]:
        """Models of one router; all of the namespace while its table was not seen."""
        names = self._routed.get(namespace, {}).get(shard)
        return self._all(namespace) if names is None else self._those(namespace, names)

    def _those(self, namespace: str, names: frozenset[str]) -> list[str]:
        return sorted(names & self._models.get(namespace, set()))

    def _all(self, namespace: str) -> list[str]:
        return sorted(self._models.get(namespace, ()))


def registry(queue: WorkQueue) -> kopf.OperatorRegistry:
    """Handlers that wake ``queue``."""
    handlers = kopf.OperatorRegistry()
    neighbours = Neighbours()

    @kopf.on.startup(registry=handlers)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure_kopf(settings)

    @kopf.on.login(registry=handlers)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        found = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        return found if isinstance(found, kopf.ConnectionInfo) else None

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def model_changed(namespace: str | None, name: str | None, type: str | None, **_: Any) -> None:
        if type == "DELETED":
            queue.forget(namespace or "", name or "")
            for other in neighbours.drop(namespace or "", name or ""):
                queue.wake(namespace or "", other)
            return
        neighbours.add(namespace or "", name or "")
        queue.wake(namespace or "", name or "")

    async def child_changed(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
        if labels.get(COMPONENT) == "router":
            for name in neighbours.of(namespace or "", labels.get(SHARD, "0")):
                queue.wake(namespace or "", name)
        elif MODEL in labels:
            queue.wake(namespace or "", labels[MODEL])

    async def table_changed(namespace: str | None, labels: kopf.Labels, body: kopf.Body, **_: Any) -> None:
        if labels.get(COMPONENT) == "router":
            for name in neighbours.table(namespace or "", labels.get(SHARD, "0"), body.get("data") or ()):
                queue.wake(namespace or "", name)

    for group, version, plural in CHILDREN:
        kopf.on.event(group, version, plural, labels={COMPONENT: kopf.PRESENT}, registry=handlers)(child_changed)
    kopf.on.event("", "v1", "configmaps", labels={MANAGED: MANAGER}, registry=handlers)(table_changed)
    return handlers


def configure_kopf(settings: kopf.OperatorSettings) -> None:
    """Bounded requests, no own events, no scanning for kinds that the operator has no right to read."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = [0.5, 1, 2, 4, 8, 15, 30, 30, 30]
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.process.ultimate_exiting_timeout = 20
