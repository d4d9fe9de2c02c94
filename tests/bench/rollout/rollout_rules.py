"""The rules that are compared: each plays one stream and says what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.bench.rollout.rollout_streams import (
    BASE_ERRORS,
    EDGES,
    LOOK_SECONDS,
    RATE,
    STEPS,
    Chunk,
    Counts,
    Scenario,
    Shares,
    Stream,
    bucket_shares,
)
from tidegate.domain.checks.analysis import Analysis, AnalysisState, look
from tidegate.domain.checks.verdict import Verdict

LONGEST_HOLD = 900
"""Looks after which a step that neither passes nor fails is given up: the run counts as not caught."""


@dataclass(frozen=True)
class Outcome:
    """Whether the canary was rolled back before promotion, the requests harmed by then, and the looks taken."""

    rolled_back: bool
    harmed: int
    looks: int


def tidegate(stream: Stream, analysis: Analysis) -> Outcome:
    """The operator's own code, a look every 2 s; the next step comes when the hold is over and the look passes."""
    state, harmed, looks = AnalysisState(), 0, 0
    for step, (_, hold) in enumerate(STEPS):
        state = state.at_a_new_step()
        for index in range(LONGEST_HOLD):
            window, hurt = stream.window(step, index)
            seen = look(analysis, state, window)
            state, harmed, looks = seen.state, harmed + hurt, looks + 1
            if seen.verdict == Verdict.FAIL:
                return Outcome(True, harmed, looks)
            if index + 1 >= hold and seen.verdict == Verdict.PASS:
                break
        else:
            return Outcome(False, harmed, looks)
    return Outcome(False, harmed, looks)


@dataclass(frozen=True)
class Oracle:
    """Wald's sequential test that knows stable's and the canary's distributions, latencies to the bucket.

    It looks as often and rolls back when the log likelihood ratio exceeds ``threshold``.
    """

    scenario: Scenario
    threshold: float = np.inf

    def path(self, stream: Stream) -> Shares:
        """The log likelihood ratio after each look."""
        counts = [stream.step_counts(step, hold) for step, (_, hold) in enumerate(STEPS)]
        return self.ratios([(c.canary, c.canary_errors) for c in counts])

    def ratios(self, steps: Sequence[tuple[Counts, Counts]]) -> Shares:
        """The log likelihood ratio after each look, given the canary's latencies and errors in each step."""
        parts = []
        for step, (latencies, errors) in enumerate(steps):
            usual, as_ever, slower = (np.maximum(shares, 1e-300) for shares in self.scenario.shares(step))
            by_latency = latencies @ (np.log(as_ever + slower) - np.log(usual))
            base, extra = self.scenario.errors(step)
            worse = min(base + extra * (1 - base), 1 - 1e-9)
            fine = latencies.sum(axis=1) - errors
            parts.append(by_latency + errors * np.log(worse / base) + fine * np.log((1 - worse) / (1 - base)))
        return np.cumsum(np.concatenate(parts))

    def play(self, stream: Stream) -> Outcome:
        """Roll back at the first look beyond the threshold."""
        harmed = np.concatenate([stream.step_counts(step, hold).harmed for step, (_, hold) in enumerate(STEPS)])
        beyond = np.flatnonzero(self.path(stream) > self.threshold)
        last = int(beyond[0]) if len(beyond) else len(harmed) - 1
        return Outcome(bool(len(beyond)), int(harmed[: last + 1].sum()), last + 1)


def tuned(scenarios: Sequence[Scenario], runs: int, seed: int, false_share: float = 0.01) -> list[Oracle]:
    """The oracles whose share of false rollbacks is ``false_share`` in so many rollouts of an equal canary."""
    oracles = [Oracle(scenario) for scenario in scenarios]
    highest = np.empty((len(oracles), runs))
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        equal: dict[float, list[tuple[Counts, Counts]]] = {}
        for row, oracle in enumerate(oracles):
            spread = oracle.scenario.spread
            if spread not in equal:
                equal[spread] = [_equal_canary(rng, spread, weight, looks) for weight, looks in STEPS]
            highest[row, run] = oracle.ratios(equal[spread]).max()
    index = runs - int(false_share * runs) - 1
    thresholds = np.sort(highest, axis=1)[:, index]
    return [Oracle(oracle.scenario, float(at)) for oracle, at in zip(oracles, thresholds, strict=True)]


def _equal_canary(rng: np.random.Generator, spread: float, weight: int, looks: int) -> tuple[Counts, Counts]:
    shares = bucket_shares(1.0, spread)
    latencies = rng.poisson(RATE * LOOK_SECONDS * weight / 100 * shares, size=(looks, len(shares)))
    return latencies, rng.binomial(latencies.sum(axis=1), BASE_ERRORS)


@dataclass(frozen=True)
class Thresholds:
    """A rule of the kind Argo Rollouts and Flagger have: measure every so often, count the failed measurements.

    A measurement fails when fewer than ``min_success`` of the canary's requests of the last ``range_looks`` looks
    succeeded, or when their p99 was over ``max_p99_ms``. More than ``limit`` failed measurements of one kind (of both
    kinds when ``together``) roll back. With ``halts`` a step goes on until a measurement passes.
    """

    name: str
    every_looks: int
    range_looks: int
    limit: int
    min_success: float
    together: bool
    halts: bool
    max_p99_ms: float = 500.0

    def play(self, stream: Stream) -> Outcome:
        """Measure until the limit is exceeded or the last hold is over."""
        seen = _Seen(self.max_p99_ms)
        failed = [0, 0]
        due = self.every_looks
        for step, (_, hold) in enumerate(STEPS):
            taken, passed = 0, True
            while taken < hold or (self.halts and not passed):
                looks = min(due, hold - taken) if taken < hold else due
                seen.add(stream, step, taken, looks)
                taken, due = taken + looks, due - looks
                if due:
                    continue
                due = self.every_looks
                bad = seen.bad(self.range_looks, self.min_success)
                passed = not any(bad)
                failed = [count + is_bad for count, is_bad in zip(failed, bad, strict=True)]
                if self.together:
                    failed = [failed[0] + failed[1] - (bad[0] and bad[1]), 0]
                if max(failed) > self.limit:
                    return Outcome(True, seen.harmed, len(seen.requests))
        return Outcome(False, seen.harmed, len(seen.requests))


class _Seen:
    """The canary's counts so far, one item a look."""

    def __init__(self, max_p99_ms: float) -> None:
        self.requests: list[int] = []
        self._errors: list[int] = []
        self._slow: list[int] = []
        self.harmed = 0
        self._from = int(np.searchsorted(EDGES, max_p99_ms))

    def add(self, stream: Stream, step: int, first: int, looks: int) -> None:
        counts: Chunk = stream.step_counts(step, first + looks)
        self.requests += counts.requests[first:].tolist()
        self._errors += counts.canary_errors[first:].tolist()
        slow: Counts = counts.canary[first:, self._from :].sum(axis=1)
        self._slow += slow.tolist()
        self.harmed += int(counts.harmed[first:].sum())

    def bad(self, looks: int, min_success: float) -> tuple[bool, bool]:
        requests, errors, slow = (sum(part[-looks:]) for part in (self.requests, self._errors, self._slow))
        return errors > (1 - min_success) * requests, slow > 0.01 * requests


def published() -> tuple[Thresholds, ...]:
    """Argo's and Flagger's rules as their documentation writes them, at 60 s and at 15 s.

    Argo Rollouts (docs/features/analysis.md): `successCondition: result[0] >= 0.95` with `failureLimit: 3`; the limit's
    default is 0. It publishes no latency metric and gets Flagger's. Flagger (docs/gitbook/usage/metrics.md and
    how-it-works.md): at least 99 % success and p99 at most 500 ms over 1 m; a threshold of 5 failed checks, 10 in its
    other example. Flagger does not raise the weight after a failed check.
    """
    rules = []
    for seconds in (60, 15):
        looks = round(seconds / LOOK_SECONDS)
        rules += [
            Thresholds(f"Argo, {seconds} s, limit {limit}", looks, looks, limit, 0.95, together=False, halts=False)
            for limit in (0, 3)
        ]
        rules += [
            Thresholds(f"Flagger, {seconds} s, threshold {threshold}", looks, 30, threshold - 1, 0.99, True, True)
            for threshold in (5, 10)
        ]
    return tuple(rules)
