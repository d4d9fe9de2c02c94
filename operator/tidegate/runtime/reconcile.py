"""One reconcile, in one direction: read, observe, compute, apply, write status, tell.

A crash after any write is safe: the next reconcile sees what was written and comes to the same end.
"""

import logging
from dataclasses import replace
from datetime import timedelta

from tidegate.domain.compute import compute
from tidegate.domain.observed import Observed, Owner
from tidegate.domain.rollout.gate import watched
from tidegate.domain.rollout.people import requests
from tidegate.domain.rollout.planning import needs_capacity
from tidegate.ports import Clock, Cluster, Found, Telemetry
from tidegate.resources.settings import Settings
from tidegate.runtime.meter import Measured, Meter
from tidegate.runtime.writes import carry_out

log = logging.getLogger(__name__)
IDLE = timedelta(minutes=10)
"""How soon to look at an object again when nothing asked for it: a net below the watches."""


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
        plan, status = compute(found.spec, self._meter.recall(found), observed, now)
        carry_out(self._cluster, observed, plan, self._settings)
        if status != found.status and not self._meter.keeps(found, status, now):
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
        if needs_capacity(found.status):
            observed = replace(observed, capacity=self._cluster.capacity(subject.namespace))
        if pair is None:
            self._meter.forget(subject.namespace, subject.name)
            return observed, None
        measured = Measured(pair, self._clock.now(), {r.pod: r for r in reports})
        window = self._meter.window(subject.namespace, subject.name, measured)
        return replace(observed, window=window), measured
