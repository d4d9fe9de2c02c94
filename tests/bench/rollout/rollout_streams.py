"""Seeded traffic of a rollout: what the routers would count, look by look.

100 requests/s arrive as a Poisson stream and are split by weight. Latencies are log-normal around 100 ms with a
standard deviation of 0.5 in the logarithm (p95 228 ms, p99 320 ms: 3.2 times the median), counted in the routers'
log-linear buckets; 0.1 % of the requests fail by themselves.
"""

from dataclasses import dataclass
from functools import cache
from math import erf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.checks.windows import Bucket, Histogram, Traffic, Window

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]

RATE = 100.0
LOOK_SECONDS = 2
STEPS = ((5, 60), (25, 60), (50, 150))
"""Weight in percent and number of looks of each step: 2 min, 2 min and 5 min."""
BASE_ERRORS = 0.001
MEDIAN_MS = 100.0
CHUNK = 30
PODS = 20
EDGES = np.array([*range(0, 100), *range(100, 1000, 10), *range(1000, 10001, 100)], dtype=float)


@dataclass(frozen=True)
class Scenario:
    """How the canary differs from stable, from step ``begins`` on, and what befalls both of them.

    ``extra_errors`` is a share of the canary's requests; ``slower`` a factor on the latencies of the ``slow_share`` of
    its requests. In the second step ``both_errors`` adds errors to both revisions and ``both_slower`` slows both down,
    as a struggling dependency would. ``spread`` is the standard deviation of the logarithm of the latencies. Each pod
    of either revision stands still for a second ``pauses`` times a minute: its requests then take up to 1 s longer.
    """

    name: str
    extra_errors: float = 0.0
    slower: float = 1.0
    slow_share: float = 1.0
    spread: float = 0.5
    begins: int = 0
    both_errors: float = 0.0
    both_slower: float = 1.0
    pauses: float = 0.0

    @property
    def equal(self) -> bool:
        return self.extra_errors == 0 and self.slower == 1

    def errors(self, step: int) -> tuple[float, float]:
        """Share of failed requests that stable has in a step, and the canary's share on top of it."""
        base = BASE_ERRORS + (self.both_errors if step == 1 else 0.0)
        return base, self.extra_errors if step >= self.begins else 0.0

    def shares(self, step: int) -> tuple[Shares, Shares, Shares]:
        """Shares by bucket in a step: stable's, the canary's that are as ever, and the canary's that are slower."""
        base = self.both_slower if step == 1 else 1.0
        usual = bucket_shares(base, self.spread)
        slow = self.slow_share if self.slower != 1 and step >= self.begins else 0.0
        return usual, usual * (1 - slow), bucket_shares(base * self.slower, self.spread) * slow


EQUAL = Scenario("equal")
PAUSING = Scenario("equal, each pod stands still for 1 s every 2 min", pauses=0.5)
DISTURBED = Scenario("equal, both 3 times slower and 0.5 % errors for 2 min", both_errors=0.004, both_slower=3.0)
BAD = (
    Scenario("100 % extra errors", extra_errors=1.0),
    Scenario("20 % extra errors", extra_errors=0.2),
    Scenario("5 % extra errors", extra_errors=0.05),
    Scenario("2 % extra errors", extra_errors=0.02),
    Scenario("p95 3 times", slower=3.0),
    Scenario("p95 1.5 times", slower=1.5),
    Scenario("p95 1.2 times", slower=1.2),
)
MORE = (
    Scenario("8 % of the requests 3 times slower (p95 1.3 times)", slower=3.0, slow_share=0.08),
    Scenario("p95 1.2 times, spread 0.3 (p99 is twice the median)", slower=1.2, spread=0.3),
    Scenario("p95 1.2 times, spread 0.8 (p99 is 6.4 times the median)", slower=1.2, spread=0.8),
    Scenario("5 % extra errors from the 50 % step on", extra_errors=0.05, begins=2),
    Scenario("p95 1.5 times from the 50 % step on", slower=1.5, begins=2),
)
WITHIN = (
    Scenario("p95 1.03 times", slower=1.03),
    Scenario("p95 1.05 times, the margin", slower=1.05),
    Scenario("p95 1.1 times", slower=1.1),
    Scenario("0.1 % extra errors, what is tolerated", extra_errors=0.001),
)


@cache
def bucket_shares(factor: float, spread: float) -> Shares:
    """Share of the requests in each bucket when latencies are ``factor`` times the usual ones."""
    normal = [0.5 * (1 + erf(log(edge / (factor * MEDIAN_MS)) / spread / sqrt(2))) for edge in EDGES[1:]]
    below = np.array([0.0, *normal])
    below[-1] = 1.0
    return np.diff(below)


@dataclass(frozen=True)
class Chunk:
    """Counts of consecutive looks, one row a look.

    ``harmed`` are the canary's requests that went worse than stable's would have: those with an extra error, and those
    that a slower canary slowed down (all of them, unless it slows down only some).
    """

    canary: Counts
    stable: Counts
    canary_errors: Counts
    stable_errors: Counts
    harmed: Counts

    @property
    def requests(self) -> Counts:
        return self.canary.sum(axis=1)


class Stream:
    """One seeded rollout: every rule sees the same stream, also where it holds a step for longer."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self._seed = seed
        self._chunks: dict[tuple[int, int], Chunk] = {}

    def chunk(self, step: int, index: int) -> Chunk:
        """The counts of looks ``index * CHUNK`` and following of a step."""
        key = (step, index)
        if key not in self._chunks:
            self._chunks[key] = self._draw(step, np.random.default_rng([self._seed, step, index]))
        return self._chunks[key]

    def _draw(self, step: int, rng: np.random.Generator) -> Chunk:
        weight = STEPS[step][0] / 100
        requests = RATE * LOOK_SECONDS
        base, extra = self.scenario.errors(step)
        usual, as_ever, slower = self.scenario.shares(step)
        size = (CHUNK, len(usual))
        stable = rng.poisson(requests * (1 - weight) * usual, size=size)
        slowed = rng.poisson(requests * weight * slower, size=size)
        canary = slowed + rng.poisson(requests * weight * as_ever, size=size)
        if self.scenario.pauses:
            self._pause(stable, 1 - weight, rng)
            self._pause(canary, weight, rng)
        answered = canary.sum(axis=1)
        added = rng.binomial(answered, extra)
        errors = added + rng.binomial(answered - added, base)
        return Chunk(canary, stable, errors, rng.binomial(stable.sum(axis=1), base), added + slowed.sum(axis=1))

    def _pause(self, latencies: Counts, weight: float, rng: np.random.Generator) -> None:
        """Delay the requests, 5 a second, of pods that stand still; the pods are split as the requests are."""
        pauses = rng.poisson(PODS * weight * LOOK_SECONDS * self.scenario.pauses / 60, size=CHUNK)
        for row in np.flatnonzero(pauses):
            waiting = min(int(rng.poisson(RATE / PODS * pauses[row])), int(latencies[row].sum()))
            latencies[row] -= rng.multivariate_hypergeometric(latencies[row], waiting)
            late = MEDIAN_MS + rng.uniform(0, 1000, size=waiting)
            np.add.at(latencies[row], np.searchsorted(EDGES, late) - 1, 1)

    def window(self, step: int, look: int) -> tuple[Window, int]:
        """What the operator would see at one look, and the requests harmed since the look before."""
        chunk, row = self.chunk(step, look // CHUNK), look % CHUNK
        stable = _traffic(chunk.stable[row], int(chunk.stable_errors[row]))
        canary = _traffic(chunk.canary[row], int(chunk.canary_errors[row]))
        return Window(seconds=LOOK_SECONDS, stable=stable, canary=canary), int(chunk.harmed[row])

    def step_counts(self, step: int, looks: int) -> Chunk:
        """The counts of the first ``looks`` looks of a step in one piece."""
        parts = [self.chunk(step, index) for index in range(-(-looks // CHUNK))]
        names = ("canary", "stable", "canary_errors", "stable_errors", "harmed")
        return Chunk(*(np.concatenate([getattr(part, name) for part in parts])[:looks] for name in names))


def _traffic(row: Counts, errors: int) -> Traffic:
    filled = np.flatnonzero(row)
    buckets = zip(EDGES[filled].tolist(), EDGES[filled + 1].tolist(), row[filled].tolist(), strict=True)
    return Traffic(int(row.sum()), errors, Histogram(tuple(Bucket(*bucket) for bucket in buckets)))
