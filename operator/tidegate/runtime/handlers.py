"""Kopf: watches wake the queue. No decision is made here, and Kopf keeps nothing on any object.

Only ``on.event`` handlers are used: they need no finalizer, so that deleting a ModelDeployment never waits for the
operator, and they store no progress in annotations.
"""

from typing import Any

import kopf

from tidegate.api.v1alpha1 import GROUP, PLURAL, VERSION
from tidegate.domain.labels import COMPONENT, MANAGED, MANAGER, MODEL
from tidegate.runtime.queue import WorkQueue

CHILDREN = (
    ("apps", "v1", "deployments"),
    ("batch", "v1", "jobs"),
    ("", "v1", "services"),
    ("", "v1", "pods"),
)


def registry(queue: WorkQueue) -> kopf.OperatorRegistry:
    """Handlers that wake ``queue``."""
    handlers = kopf.OperatorRegistry()
    models: dict[str, set[str]] = {}

    @kopf.on.startup(registry=handlers)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure_kopf(settings)

    @kopf.on.login(registry=handlers)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        found = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        return found if isinstance(found, kopf.ConnectionInfo) else None

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def model_changed(namespace: str | None, name: str | None, type: str | None, **_: Any) -> None:
        known = models.setdefault(namespace or "", set())
        if type == "DELETED":
            known.discard(name or "")
            queue.forget(namespace or "", name or "")
            # The router still has the routes of what is gone: the other models of the namespace take them out.
            for other in sorted(known):
                queue.wake(namespace or "", other)
            return
        known.add(name or "")
        queue.wake(namespace or "", name or "")

    async def child_changed(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
        if labels.get(COMPONENT) == "router":
            for name in sorted(models.get(namespace or "", ())):
                queue.wake(namespace or "", name)
        elif MODEL in labels:
            queue.wake(namespace or "", labels[MODEL])

    for group, version, plural in CHILDREN:
        kopf.on.event(group, version, plural, labels={COMPONENT: kopf.PRESENT}, registry=handlers)(child_changed)
    kopf.on.event("", "v1", "configmaps", labels={MANAGED: MANAGER}, registry=handlers)(child_changed)
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
