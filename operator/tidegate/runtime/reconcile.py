"""One reconcile, in one direction: read, observe, compute, apply, write status, tell.

A crash after any write is safe: the next reconcile sees what was written and comes to the same end.
"""

import logging
from datetime import timedelta

from tidegate.domain.compute import compute
from tidegate.domain.observed import Owner
from tidegate.ports import Clock, Cluster, Observers, Queries, Servers, Telemetry
from tidegate.resources.settings import Settings
from tidegate.runtime.measuring import Measuring
from tidegate.runtime.meter import Meter
from tidegate.runtime.metrics import sized
from tidegate.runtime.writes import carry_out

log = logging.getLogger(__name__)
IDLE = timedelta(minutes=10)
"""How soon to look at an object again when nothing asked for it: a net below the watches."""


class Reconciler:
    """Brings one ModelDeployment at a time to what its spec asks for."""

    def __init__(
        self,
        cluster: Cluster,
        telemetry: Telemetry,
        clock: Clock,
        settings: Settings,
        *,
        queries: Queries | None = None,
        observers: Observers | None = None,
        servers: Servers | None = None,
    ) -> None:
        """``queries`` answers the PromQL of checks; None where the installation knows no Prometheus.

        ``observers`` tells what they compared; without it nothing is ever compared. ``servers`` tells what Triton
        counted; without it the size rests on the routers alone.
        """
        self._cluster = cluster
        self._clock = clock
        self._settings = settings
        self._meter = Meter()
        self._measuring = Measuring(
            cluster, telemetry, clock, self._meter, queries=queries, observers=observers, servers=servers
        )

    def __call__(self, namespace: str, name: str) -> timedelta | None:
        """Reconcile once; returns when to come back without an event, None when the object is gone.

        Raises an ApiError when the API server cannot be asked or refuses a write; what was done so far stays good.
        """
        found = self._cluster.find(namespace, name)
        if found is None:
            self._meter.forget(namespace, name)
            sized(namespace, name, None)
            return None
        observed = self._cluster.observe(found.subject)
        if Owner(name, found.subject.uid) not in observed.owners:
            # Deleted since it was found: the router, written without its last owner, would stay forever.
            return None
        observed, taken = self._measuring.measure(found, observed)
        now = self._clock.now()
        plan, status = compute(found.spec, self._meter.recall(found), observed, now)
        carry_out(self._cluster, observed, plan, self._settings)
        if status != found.status and not self._meter.keeps(found, status, now):
            self._cluster.write_status(found, status)
        if plan.looked and taken.measured:
            self._meter.use(namespace, name, taken.measured)
        if taken.reading:
            self._meter.size_by(namespace, name, taken.reading, plan.scaling)
        sized(namespace, name, status.scaling)
        for event in plan.events:
            log.info("%s/%s: %s: %s", namespace, name, event.reason, event.message)
            self._cluster.record(found, event, now)
        return plan.again or IDLE
