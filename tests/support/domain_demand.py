"""A world whose model is sized by demand: so many requests a second, and pods that are slow when there are too few."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from domain_objects import make_spec
from domain_world import BEGIN, World

from tidegate.domain.checks.windows import Bucket, Histogram
from tidegate.domain.observed import Observed
from tidegate.domain.plan import Plan
from tidegate.domain.scaling.load import Live
from tidegate.domain.scaling.policy import State
from tidegate.domain.scaling.window import Sample

SERVES = 50.0
"""Requests a second that one pod answers in time."""
OBJECTIVE = {"milliseconds": 100}


class Demanding(World):
    """``demand`` gives requests a second by the seconds since the beginning; None: nobody can measure them."""

    def __init__(self, demand: Callable[[float], float | None], **fields: Any) -> None:
        asked = {"maxReplicas": 8, "objective": OBJECTIVE} | fields.pop("autoscaling", {})
        super().__init__(make_spec(1, autoscaling=asked, **fields))
        self.demand = demand
        self.state: State | None = None
        self._counted: float | None = None

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return (self.cluster.now - BEGIN).total_seconds()

    @property
    def held(self) -> bool:
        """Whether every router holds the model's requests."""
        routers = [r.loaded.routes.get("digits") for r in self.cluster.routers]
        return bool(routers) and all(route is not None and route.hold for route in routers)

    def restart(self) -> None:
        """Another operator takes over: it knows what status says."""
        super().restart()
        self.state, self._counted = None, None

    def observe(self) -> Observed:
        """What the next look sees, with what happened since the last one."""
        return replace(super().observe(), scaling=Live(self._sample(), self.state))

    def look(self) -> Plan:
        """One reconcile; what it measured is used up."""
        plan = super().look()
        self.state = plan.scaling
        self._counted = self.seconds
        return plan

    def _sample(self) -> Sample | None:
        rate = self.demand(self.seconds)
        if rate is None or self._counted is None or self.seconds - self._counted < 1.5:
            return None
        span = self.seconds - self._counted
        ready = sum(p.ready for p in self.cluster.pods)
        served = min(rate, SERVES * ready)
        late = rate > SERVES * ready
        times = Bucket(400.0, 410.0, round(served * span)) if late else Bucket(20.0, 21.0, round(served * span))
        return Sample(
            time=self.cluster.now.timestamp(),
            seconds=span,
            arrivals=rate * span,
            concurrency=served * (0.4 if late else 0.02),
            ready=ready,
            starting=sum(w.replicas for w in self.cluster.workloads.values()) - ready,
            latency=Histogram((times,)),
            waiting=rate if self.held and not ready else 0.0,
            queue_seconds=served * span * (0.38 if late else 0.0),
            compute_seconds=served * span / SERVES,
            executions=served * span,
        )
