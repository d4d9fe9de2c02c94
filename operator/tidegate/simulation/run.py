"""One policy against one trace: the loop that looks, decides and lets time pass, and what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

import numpy as np

from tidegate.domain.checks.windows import Bucket, Histogram
from tidegate.domain.scaling.window import Sample
from tidegate.simulation.fleet import Counters, Fleet
from tidegate.simulation.model import Model

LATE_PRICE = 20
"""What one late request costs, in service times: 1 / (1 - 0.95), so that at the edge of "95 % inside" all the late
requests together cost as much as the replicas that work."""


@dataclass(frozen=True)
class Look:
    """What a policy sees. ``busy`` is the share of the time that the instances of a ready replica computed."""

    sample: Sample
    wanted: int
    busy: float

    @property
    def now(self) -> float:
        return self.sample.time


class Scaler(Protocol):
    """A policy in the simulator. ``interval`` is the time between two looks, in seconds."""

    name: str
    interval: float

    def desired(self, look: Look) -> int:
        """How many replicas there shall be."""
        ...


@dataclass(frozen=True)
class Moment:
    """One look of a run, for drawing and for comparisons. ``slow`` is the look's 95th percentile, in seconds."""

    time: float
    rate: float
    wanted: int
    ready: int
    slow: float


@dataclass(frozen=True)
class Outcome:
    """What one policy did to one trace. ``cost`` is in replica seconds; a refused request is late."""

    policy: str
    requests: int
    late: int
    refused: int
    cost: float
    changes: int
    timeline: tuple[Moment, ...] = field(default=(), repr=False)

    @property
    def inside(self) -> float:
        """Share of the requests inside the objective, in percent."""
        return 100 * (1 - self.late / self.requests) if self.requests else 100.0

    def price(self, model: Model, optimum: float) -> float:
        """Cost over the optimum, late requests added at 20 service times each."""
        return (self.cost + LATE_PRICE * self.late / model.rate) / optimum


Quota = Callable[[float], float]


def unlimited(_: float) -> float:
    """No quota."""
    return inf


def simulate(
    scaler: Scaler,
    arrivals: Sequence[float],
    model: Model,
    *,
    replicas: int,
    most: int,
    seed: int = 0,
    quota: Quota = unlimited,
) -> Outcome:
    """Replay ``arrivals`` (seconds, rising) with ``replicas`` ready at the start and never more than ``most``.

    ``quota`` says how many replicas the cluster grants at a time; the policy is not told. The run ends one limit after
    the last arrival, and a request without an answer by then is late.
    """
    fleet = Fleet(model, list(arrivals), replicas, seed)
    end = (arrivals[-1] if len(arrivals) else 0.0) + model.limit
    wanted, changes, answered, late, refused = replicas, 0, 0, 0, 0
    timeline: list[Moment] = []
    while fleet.now < end:
        counters = fleet.counters = Counters()
        before = fleet.arrived, fleet.now
        fleet.run(min(fleet.now + scaler.interval, end))
        late += sum(1 for latency in counters.latencies if latency > model.limit)
        answered += len(counters.latencies)
        refused += counters.refused
        look = _look(fleet, *before, wanted)
        now_wanted = min(max(scaler.desired(look), 0), most)
        changes += now_wanted != wanted
        wanted = now_wanted
        fleet.scale(int(min(wanted, quota(fleet.now))))
        timeline.append(_moment(look, counters.latencies))
    missing = len(arrivals) - answered
    return Outcome(scaler.name, len(arrivals), late + missing, refused, fleet.cost, changes, tuple(timeline))


def _look(fleet: Fleet, arrived: int, since: float, wanted: int) -> Look:
    counters, seconds, ready = fleet.counters, fleet.now - since, len(fleet.ready)
    sample = Sample(
        time=fleet.now,
        seconds=seconds,
        arrivals=fleet.arrived - arrived,
        concurrency=counters.request_seconds / seconds,
        ready=ready,
        starting=len(fleet.starting),
        latency=histogram(counters.latencies),
        failed=counters.refused,
        waiting=len(fleet.held),
        queue_seconds=counters.queue_seconds,
        compute_seconds=counters.compute_seconds,
        executions=counters.executions,
    )
    capacity = max(ready, 1) * fleet.model.instances * seconds
    return Look(sample, wanted, min(counters.busy_seconds / capacity, 1.0))


def histogram(latencies: Sequence[float]) -> Histogram:
    """Seconds to a histogram in milliseconds as a router counts it: two significant digits."""
    if not latencies:
        return Histogram()
    milliseconds = np.maximum(np.asarray(latencies) * 1000, 1.0)
    power = np.floor(np.log10(milliseconds))
    step = 10.0 ** (power - 1)
    lowers, index, counts = np.unique(
        np.round(np.floor(milliseconds / step) * step, 3), return_index=True, return_counts=True
    )
    widths = step[index]
    return Histogram(
        tuple(
            Bucket(lower, lower + width, count)
            for lower, width, count in zip(lowers.tolist(), widths.tolist(), counts.tolist(), strict=True)
        )
    )


def _moment(look: Look, latencies: list[float]) -> Moment:
    slow = sorted(latencies)[int(0.95 * (len(latencies) - 1))] if latencies else 0.0
    return Moment(look.now, look.sample.rate, look.wanted, look.sample.ready, slow)
