"""One reconcile, in one direction: read, observe, compute, apply, write status, tell.

A crash after any write is safe: the next reconcile sees what was written and comes to the same end.
"""

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tidegate.adapters.drift import holds
from tidegate.domain.compute import compute
from tidegate.domain.labels import REVISION
from tidegate.domain.observed import Observed, Owner, Raw
from tidegate.domain.plan import Plan
from tidegate.domain.rollout.gate import watched
from tidegate.domain.rollout.people import requests
from tidegate.ports import Clock, Cluster, Found, Telemetry
from tidegate.resources.build import own_objects, router_objects
from tidegate.resources.settings import Settings
from tidegate.runtime.meter import Measured, Meter

log = logging.getLogger(__name__)
IDLE = timedelta(minutes=10)
"""How soon to look at an object again when nothing asked for it: a net below the watches."""
PRUNED = frozenset({"ControllerRevision", "Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "Service"})
"""Kinds of which the operator removes what the plan does not name. Pods belong to their Deployments and Jobs."""
WRITTEN_ONCE = frozenset({"ControllerRevision", "Job"})
"""Kinds whose content the API server lets nobody change: an upgrade that would write it otherwise leaves it."""


class Reconciler:
    """Brings one ModelDeployment at a time to what its spec asks for."""

    def __init__(self, cluster: Cluster, telemetry: Telemetry, clock: Clock, settings: Settings) -> None:
        self._cluster = cluster
        self._telemetry = telemetry
        self._clock = clock
        self._settings = settings
        self._meter = Meter()

    def __call__(self, namespace: str, name: str) -> timedelta | None:
        """Reconcile once; returns when to come back without an event, None when the object is gone.

        Raises an ApiError when the API server cannot be asked or refuses a write; what was done so far stays good.
        """
        found = self._cluster.find(namespace, name)
        if found is None:
            self._meter.forget(namespace, name)
            return None
        observed = self._cluster.observe(found.subject)
        if Owner(name, found.subject.uid) not in observed.owners:
            # Deleted since it was found: the router, written without its last owner, would stay forever.
            return None
        observed, measured = self._measured(found, observed)
        now = self._clock.now()
        plan, status = compute(found.spec, found.status, observed, now)
        self._apply(observed, plan)
        if status != found.status:
            self._cluster.write_status(found, status)
        if plan.looked and measured:
            self._meter.use(namespace, name, measured)
        for event in plan.events:
            log.info("%s/%s: %s: %s", namespace, name, event.reason, event.message)
            self._cluster.record(found, event, now)
        return plan.again or IDLE

    def _measured(self, found: Found, observed: Observed) -> tuple[Observed, Measured | None]:
        """The snapshot with what the routers say, and what they counted since the last look at the checks."""
        pair = watched(found.status)
        reports = self._telemetry.reports(observed.routers(), observed.table(), pair or ())
        observed = replace(observed, reports=reports, requests=requests(found.raw["metadata"].get("annotations", {})))
        subject = found.subject
        if pair is None:
            self._meter.forget(subject.namespace, subject.name)
            return observed, None
        measured = Measured(pair, self._clock.now(), {r.pod: r for r in reports})
        window = self._meter.window(subject.namespace, subject.name, measured)
        return replace(observed, window=window), measured

    def _apply(self, observed: Observed, plan: Plan) -> None:
        wanted = own_objects(observed, plan, self._settings)
        existing = {key(o): o for o in observed.objects}
        if observed.service is not None and not observed.name_taken():
            existing[key(observed.service)] = observed.service
        for manifest in wanted:
            self._ensure(manifest, existing.get(key(manifest)))
        shared = {key(o): o for o in observed.router}
        for manifest in router_objects(observed, plan, self._settings):
            self._ensure(manifest, shared.get(key(manifest)))
        for poke in plan.pokes:
            self._cluster.poke(observed.subject.namespace, poke)
        if plan.table is not None:
            self._prune(existing, {key(o) for o in wanted}, plan.unread)

    def _ensure(self, manifest: dict[str, Any], existing: Raw | None) -> None:
        """Only what is known to be ours is overwritten: an unseen object of the same name is somebody else's."""
        content = {name: value for name, value in manifest.items() if name != "metadata"}
        if existing is not None and manifest["kind"] in WRITTEN_ONCE and not holds(content, existing):
            return
        if existing is None or not holds(manifest, existing):
            self._cluster.apply(manifest, force=existing is not None)

    def _prune(
        self, existing: dict[tuple[str, str], Raw], wanted: set[tuple[str, str]], unread: frozenset[str]
    ) -> None:
        for identity, item in existing.items():
            meta = item["metadata"]
            kept = "deletionTimestamp" in meta or meta.get("labels", {}).get(REVISION) in unread
            if identity not in wanted and identity[0] in PRUNED and not kept:
                self._cluster.delete(item)


def key(item: Raw) -> tuple[str, str]:
    """Kind and name: what makes an object one within its namespace."""
    return str(item["kind"]), str(item["metadata"]["name"])
