"""Seeded rollouts: how often an equal canary is rolled back, and how soon a bad one is.

A small part of what ``tests/bench/rollout`` prints, with error probabilities large enough to be seen in few runs.
"""

import numpy as np
import pytest

from tests.bench.rollout.rollout_rules import tidegate
from tests.bench.rollout.rollout_streams import EQUAL, STEPS, Scenario, Stream
from tidegate.domain.checks.analysis import Analysis, AnalysisState, Check, look
from tidegate.domain.checks.errors import ErrorCheck
from tidegate.domain.checks.latency import LatencyCheck
from tidegate.domain.checks.verdict import Verdict
from tidegate.domain.checks.windows import Bucket, Histogram, Traffic, Window

SHAPE = (0.3, 0.3, 0.2, 0.1, 0.06, 0.03, 0.01)


def traffic(rng: np.random.Generator, requests: float, error_share: float) -> Traffic:
    """A quick stand-in for a router's histogram: seven buckets."""
    counts = rng.poisson([requests * share for share in SHAPE]).tolist()
    buckets = tuple(Bucket(10 * i, 10 * i + 10, count) for i, count in enumerate(counts) if count)
    return Traffic(sum(counts), int(rng.binomial(sum(counts), error_share)), Histogram(buckets))


def rolled_back(check: Check, seed: int, alpha: float, looks: int, error_share: float) -> bool:
    """An equal canary at 5 % of 100 requests/s, later at 50 %."""
    rng, analysis, state = np.random.default_rng(seed), Analysis((check,), alpha=alpha), AnalysisState()
    for index in range(looks):
        weight = 0.05 if index < looks // 2 else 0.5
        stable, canary = traffic(rng, 200 * (1 - weight), error_share), traffic(rng, 200 * weight, error_share)
        seen = look(analysis, state, Window(2, stable, canary))
        state = seen.state
        if seen.verdict == Verdict.FAIL:
            return True
    return False


@pytest.mark.parametrize(
    ("check", "runs", "looks"),
    [
        pytest.param(ErrorCheck(max_percent=2, max_increase_points=0), 200, 80, id="errors"),
        pytest.param(LatencyCheck(max_increase_percent=0), 200, 40, id="latency"),
    ],
)
def test_an_equal_canary_is_rolled_back_no_more_often_than_promised(check: Check, runs: int, looks: int) -> None:
    alpha = 0.2
    found = sum(rolled_back(check, seed, alpha, looks, 0.02) for seed in range(runs))
    assert 0 < found <= alpha * runs


def test_whole_rollouts_of_equal_canaries_end_in_promotion() -> None:
    analysis = Analysis()
    outcomes = [tidegate(Stream(EQUAL, seed), analysis) for seed in range(4)]
    assert [outcome.rolled_back for outcome in outcomes] == [False] * 4
    assert min(outcome.looks for outcome in outcomes) >= sum(looks for _, looks in STEPS)


@pytest.mark.parametrize(
    ("scenario", "at_most"),
    [
        (Scenario("all requests fail", extra_errors=1.0), 20.03),
        (Scenario("one in five fails", extra_errors=0.2), 4.86),
        (Scenario("one in 20 fails", extra_errors=0.05), 4.06),
        (Scenario("one in 50 fails", extra_errors=0.02), 4.67),
        (Scenario("3 times slower", slower=3.0), 20.1),
        (Scenario("1.5 times slower", slower=1.5), 34.3),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_bad_canary_harms_at_most_twice_as_many_requests_as_under_an_oracle(
    scenario: Scenario, at_most: float
) -> None:
    """``at_most`` is twice the oracle's mean in 20,000 rollouts (3,000 for latency); ours must keep below it."""
    outcomes = [tidegate(Stream(scenario, seed), Analysis()) for seed in range(60)]
    assert all(outcome.rolled_back for outcome in outcomes)
    assert np.mean([outcome.harmed for outcome in outcomes]) <= at_most
