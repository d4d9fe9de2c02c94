"""What the routers and the servers count of a model's load, and the sample that two looks make.

Routers and servers count since they started. One that is missing in either reading adds nothing, and one that counts
from 0 again is taken to have counted everything since. Requests that are held are counted apart: no server has them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tidegate.domain.checks.windows import Traffic, add, between_counts
from tidegate.domain.scaling.policy import State
from tidegate.domain.scaling.window import Sample


@dataclass(frozen=True)
class Load:
    """What one router has of one revision: requests that were answered since it started, and those under way.

    Unlike the checks' counts these hold every request, also one that named its revision. ``waiting`` are held now.
    """

    answered: Traffic = field(default_factory=Traffic)
    active: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class Served:
    """What one server has counted since it started: sums over its requests, in seconds, and batches."""

    queue_seconds: float
    compute_seconds: float
    executions: float


@dataclass(frozen=True)
class Live:
    """What a look at the size rests on: what happened since the last one, and what was learned until then.

    ``sample`` is None where nothing new was measured, ``state`` where this operator has not looked before.
    """

    sample: Sample | None = None
    state: State | None = None


@dataclass(frozen=True)
class Reading:
    """One look: ``at`` in seconds since 1970, loads by router and revision, servers by pod."""

    at: float
    loads: Mapping[tuple[str, str], Load] = field(default_factory=dict)
    servers: Mapping[str, Served] = field(default_factory=dict)


def sample(before: Reading, after: Reading, *, ready: int, starting: int) -> Sample | None:
    """What happened between two looks; None when no router is in both, or no time passed."""
    seconds = after.at - before.at
    both = sorted(before.loads.keys() & after.loads.keys())
    if not both or seconds <= 0:
        return None
    answered = add(between_counts(before.loads[k].answered, after.loads[k].answered) for k in both)
    was, now = (sum(r.loads[k].active for k in both) for r in (before, after))
    held, holds = (sum(r.loads[k].waiting for k in both) for r in (before, after))
    spent = sum((b.lower + b.upper) / 2000 * b.count for b in answered.latency.buckets)
    return Sample(
        time=after.at,
        seconds=seconds,
        arrivals=float(max(answered.requests + now + holds - was - held, 0)),
        # The time that requests took says how many there were on average, but for those that have not ended.
        concurrency=max(spent / seconds, float(min(was, now))),
        ready=ready,
        starting=starting,
        latency=answered.latency,
        failed=float(answered.errors),
        waiting=float(sum(load.waiting for load in after.loads.values())),
        **_of_servers(before.servers, after.servers),
    )


def _of_servers(before: Mapping[str, Served], after: Mapping[str, Served]) -> dict[str, float]:
    """Sums over the servers in both readings; nothing where there is none."""
    both = sorted(before.keys() & after.keys())
    if not both:
        return {}
    names = ("queue_seconds", "compute_seconds", "executions")
    return {name: sum(_since(getattr(before[p], name), getattr(after[p], name)) for p in both) for name in names}


def _since(before: float, after: float) -> float:
    return after - before if after >= before else after


def total(reports: Iterable[tuple[str, Mapping[str, Load]]]) -> dict[tuple[str, str], Load]:
    """Loads by router and revision."""
    return {(router, revision): load for router, loads in reports for revision, load in loads.items()}
