"""What the policy does, in simulation, when the world is not as it should be. Each test says what to expect."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import inf, nan

import numpy as np
import pytest

from tidegate.domain.scaling.limits import Limits
from tidegate.domain.scaling.policy import Policy, ScalingReason
from tidegate.domain.scaling.window import Sample
from tidegate.simulation.model import Model
from tidegate.simulation.ours import Tidegate, honest
from tidegate.simulation.run import Outcome, simulate

MODEL = Model(startup=15.0)
SECONDS, RATE, MOST = 900, 40.0, 40


@cache
def poisson(seed: int = 1) -> tuple[float, ...]:
    """A constant rate that 8 busy replicas serve."""
    random = np.random.default_rng(seed)
    return tuple(np.sort(random.random(random.poisson(RATE * SECONDS)) * SECONDS).tolist())


def play(
    scrape: Callable[[Sample], Sample | None] = honest,
    *,
    model: Model = MODEL,
    factor: float = 1.0,
    arrivals: tuple[float, ...] | None = None,
    replicas: int = 10,
    quota: Callable[[float], float] = lambda _: inf,
) -> tuple[Outcome, Tidegate]:
    policy = Policy(95, model.limit * 1000, Limits(1, MOST))
    scaler = Tidegate(model, policy, profile_factor=factor, scrape=scrape)
    given = poisson() if arrivals is None else arrivals
    return simulate(scaler, given, model, replicas=replicas, most=MOST, quota=quota), scaler


def between(start: float, end: float, wrong: Callable[[Sample], Sample | None]) -> Callable[[Sample], Sample | None]:
    return lambda sample: wrong(sample) if start <= sample.time < end else sample


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda s: replace(s, arrivals=-s.arrivals), id="a negative rate"),
        pytest.param(lambda s: replace(s, time=s.time + 3600), id="a clock that jumps an hour ahead"),
        pytest.param(lambda s: replace(s, time=s.time - 3600), id="a clock that jumps an hour back"),
        pytest.param(lambda s: replace(s, concurrency=nan), id="NaN"),
        pytest.param(lambda s: replace(s, compute_seconds=-1e6, arrivals=-1e6), id="a counter that was reset"),
        pytest.param(lambda _: None, id="nothing at all"),
    ],
)
def test_while_a_scrape_lies_the_size_is_kept_and_afterwards_all_goes_on(
    wrong: Callable[[Sample], Sample | None],
) -> None:
    """Expected: for the minute of the lie the size of the minute before, then as if nothing had been."""
    outcome, scaler = play(between(400, 460, wrong))
    during = {moment.wanted for moment in outcome.timeline if 402 < moment.time <= 460}
    assert len(during) == 1
    assert scaler.decisions[210].reason is ScalingReason.NO_DATA
    assert scaler.decisions[-1].reason is not ScalingReason.NO_DATA
    assert outcome.inside > 98.5


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_a_profile_ten_times_wrong_costs_little(factor: float) -> None:
    """Expected: capacity is learned from the first looks; at most 1 point of share and a tenth of the cost."""
    right, _ = play()
    wrong, _ = play(factor=factor)
    assert wrong.inside > right.inside - 1
    assert wrong.cost < 1.1 * right.cost


def test_a_wrong_profile_is_learned_from_queues_alone_when_triton_cannot_be_read() -> None:
    """Expected: without compute times a profile 3 times too fast shows in the queues of the first minutes, and the
    fleet is large enough at the end."""
    blind = lambda s: replace(s, queue_seconds=None, compute_seconds=None, executions=None)  # noqa: E731
    outcome, _ = play(blind, factor=3.0, replicas=6)
    late = [moment.slow for moment in outcome.timeline if moment.time > 600]
    assert np.mean([slow < MODEL.limit for slow in late]) > 0.9


def test_a_model_whose_latency_no_replica_changes_does_not_run_to_the_maximum() -> None:
    """Expected: every request is late, the fleet stays at what demand needs, and the reason says why."""
    outcome, scaler = play(model=replace(MODEL, extra=1.0))
    assert outcome.inside < 1
    assert max(moment.wanted for moment in outcome.timeline) <= 12
    assert scaler.decisions[-2].reason is ScalingReason.OUT_OF_REACH


def test_a_quota_that_stops_growth_is_waited_for_without_winding_up() -> None:
    """Expected: with half of what is needed granted for 5 minutes, no more is wanted than demand and the replicas that
    are clogged need, without flapping; when the quota goes requests are on time again within a minute."""
    outcome, _ = play(quota=lambda now: 5 if now < 300 else inf)
    wanted = [moment.wanted for moment in outcome.timeline if 60 < moment.time < 300]
    assert max(wanted) <= 25
    assert sum(a != b for a, b in itertools.pairwise(wanted)) <= 12
    assert all(moment.slow < MODEL.limit for moment in outcome.timeline if moment.time > 360)


@pytest.mark.parametrize("startup", [15.0, 60.0])
@pytest.mark.parametrize("every", [4, 10])
def test_flapping_load_does_not_make_the_fleet_flap(every: int, startup: float) -> None:
    """Expected: demand that alternates between 10 and 60 requests a second, faster than a replica starts, gets a fleet
    for the higher rate and not much more; once that is learned it changes rarely, and hardly a request is late."""
    random = np.random.default_rng(3)
    rates = np.where(np.arange(SECONDS) // every % 2, 60.0, 10.0)
    counts = random.poisson(rates)
    times = np.sort(np.repeat(np.arange(SECONDS), counts) + random.random(counts.sum()))
    outcome, _ = play(arrivals=tuple(times.tolist()), model=replace(MODEL, startup=startup))
    later = [moment for moment in outcome.timeline if moment.time > 300]
    assert sum(a.wanted != b.wanted for a, b in itertools.pairwise(later)) <= 30
    assert min(moment.ready for moment in later) >= 11
    assert max(moment.wanted for moment in later) <= 24
    assert np.mean([moment.slow < MODEL.limit for moment in later]) > 0.97
