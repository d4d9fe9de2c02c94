"""What the routers counted between two looks, for both revisions over the same time.

Routers count since they started. ``between`` turns two readings into one window: a router that is missing in one of
them, or that was first seen now, adds nothing, for either revision, and a counter that went back counts from 0.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate


@dataclass(frozen=True)
class Bucket:
    """Requests that took longer than ``lower`` and at most ``upper`` milliseconds."""

    lower: float
    upper: float
    count: int


@dataclass(frozen=True)
class Histogram:
    """Latencies in milliseconds, as counts in buckets that rise and do not overlap; empty buckets may be left out.

    The routers' buckets are log-linear with two significant digits and can be added. Two histograms that are compared
    must come from one grid of buckets.
    """

    buckets: tuple[Bucket, ...] = ()

    @property
    def total(self) -> int:
        return sum(bucket.count for bucket in self.buckets)

    def above(self, milliseconds: float) -> int:
        """Requests that certainly took longer: those of the buckets that begin at or after ``milliseconds``."""
        return sum(bucket.count for bucket in self.buckets if bucket.lower >= milliseconds)


@dataclass(frozen=True)
class Ladder:
    """A histogram, prepared for many questions about its tail."""

    uppers: tuple[float, ...]
    lowers: tuple[float, ...]
    cumulated: tuple[int, ...]

    @classmethod
    def of(cls, histogram: Histogram) -> "Ladder":
        """Cumulate once."""
        buckets = histogram.buckets
        return cls(
            uppers=tuple(b.upper for b in buckets),
            lowers=tuple(b.lower for b in buckets),
            cumulated=(0, *accumulate(b.count for b in buckets)),
        )

    def above(self, milliseconds: float) -> int:
        """Requests above, to the nearest one; inside a bucket they are taken as evenly spread."""
        index = bisect_right(self.uppers, milliseconds)
        below = float(self.cumulated[index])
        if index < len(self.uppers) and milliseconds > self.lowers[index]:
            low, high = self.lowers[index], self.uppers[index]
            below += (self.cumulated[index + 1] - below) * (milliseconds - low) / (high - low)
        return self.cumulated[-1] - round(below)


@dataclass(frozen=True)
class Traffic:
    """One revision's requests: how many ended, how many of them failed, and how long they took.

    A request fails when the answer is a 5xx, or gRPC's equivalent, or when there is none.
    """

    requests: int = 0
    errors: int = 0
    latency: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True)
class NoiseFloor:
    """Predictions of stable that were compared with its own for the same input, and how many of them agree."""

    compared: int = 0
    agreed: int = 0


@dataclass(frozen=True)
class Agreement:
    """Predictions of the canary that were compared with stable's for the same input, and how many of them agree.

    ``noise`` is None where nobody compares stable with itself: its predictions then are taken as repeatable.
    """

    compared: int = 0
    agreed: int = 0
    noise: NoiseFloor | None = None


@dataclass(frozen=True)
class Window:
    """Everything that was measured between two looks.

    ``stable`` and ``canary`` are over the same time; None when the routers gave no reading for it. ``agreement`` is
    None while nobody compares predictions. ``values`` has the results of PromQL queries by the name of the check; a
    query without a result, or with NaN, is absent or NaN, and ``reasons`` says why. ``seconds`` is the length of the
    window.
    """

    seconds: float
    stable: Traffic | None = None
    canary: Traffic | None = None
    agreement: Agreement | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What one router has counted for both revisions since it started."""

    stable: Traffic
    canary: Traffic


def between(before: Mapping[str, Reading], after: Mapping[str, Reading]) -> tuple[Traffic, Traffic] | None:
    """Stable's and the canary's traffic between two readings, by router; None when no router is in both."""
    both = [(before[name], after[name]) for name in sorted(before.keys() & after.keys())]
    if not both:
        return None
    pairs = [_since_reading(old, new) for old, new in both]
    return add(stable for stable, _ in pairs), add(canary for _, canary in pairs)


def _since_reading(old: Reading, new: Reading) -> tuple[Traffic, Traffic]:
    """A router restarts as a whole: one counter that went back resets both revisions', or their times would differ."""
    if _went_back(old.stable, new.stable) or _went_back(old.canary, new.canary):
        return new.stable, new.canary
    return _minus(new.stable, old.stable), _minus(new.canary, old.canary)


def between_counts(old: Traffic, new: Traffic) -> Traffic:
    """What was counted between two readings of one counter."""
    return new if _went_back(old, new) else _minus(new, old)


def _counts(histogram: Histogram) -> dict[tuple[float, float], int]:
    return {(b.lower, b.upper): b.count for b in histogram.buckets}


def _went_back(old: Traffic, new: Traffic) -> bool:
    later = _counts(new.latency)
    fewer = any(later.get(edges, 0) < count for edges, count in _counts(old.latency).items())
    return fewer or new.requests < old.requests or new.errors < old.errors


def _minus(new: Traffic, old: Traffic) -> Traffic:
    earlier = _counts(old.latency)
    left = {edges: count - earlier.get(edges, 0) for edges, count in _counts(new.latency).items()}
    return Traffic(new.requests - old.requests, new.errors - old.errors, _histogram(left))


def _histogram(counts: Mapping[tuple[float, float], int]) -> Histogram:
    return Histogram(tuple(Bucket(*edges, count) for edges, count in sorted(counts.items()) if count))


def add(parts: Iterable[Traffic]) -> Traffic:
    """The sum over routers, or over windows that follow each other."""
    requests = errors = 0
    counts: dict[tuple[float, float], int] = {}
    for part in parts:
        requests += part.requests
        errors += part.errors
        for edges, count in _counts(part.latency).items():
            counts[edges] = counts.get(edges, 0) + count
    return Traffic(requests, errors, _histogram(counts))


def enough_to_compare(stable: Traffic, canary: Traffic, minimum: int = 40) -> bool:
    """Whether a window is worth a look: some requests of each revision, ``minimum`` of both together.

    A quiet service waits with its look until this holds, by reading against the older counters. The answer depends on
    the number of requests alone, not on how they went, so that the tests stay exact.
    """
    return min(stable.requests, canary.requests) >= 1 and stable.requests + canary.requests >= minimum
