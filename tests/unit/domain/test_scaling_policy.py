"""What the policy does on one look, and why it says it does it."""

from dataclasses import replace
from math import inf, nan
from random import Random

import pytest

from tidegate.domain.checks.windows import Bucket, Histogram
from tidegate.domain.scaling.limits import Limits
from tidegate.domain.scaling.memory import recalled, remembered
from tidegate.domain.scaling.policy import Decision, Policy, ScalingReason, State, decide
from tidegate.domain.scaling.window import Sample, Window

POLICY = Policy(95, 800, Limits(1, 20))
SERVICE = 0.2


def look(time: float, rate: float, ready: int, milliseconds: float = 220, **more: float) -> Sample:
    """Two seconds of ``rate`` requests a second on replicas that serve 5 each, none of them late."""
    arrivals = 2 * rate
    answered = round(min(arrivals, 2 * ready / SERVICE))
    return replace(
        Sample(
            time=time,
            seconds=2.0,
            arrivals=arrivals,
            concurrency=rate * SERVICE,
            ready=ready,
            starting=0,
            latency=Histogram((Bucket(milliseconds, milliseconds + 10, answered),) if answered else ()),
            queue_seconds=0.0,
            compute_seconds=answered * SERVICE,
            executions=answered,
        ),
        **more,
    )


def play(
    rates: list[float], ready: int, policy: Policy = POLICY, state: State | None = None
) -> tuple[list[Decision], State]:
    """Decisions about looks of these rates; the wish is fulfilled at once."""
    decisions, now, state = [], 0.0, state or State()
    for rate in rates:
        now += 2
        window = Window((look(now, rate, ready),), ready, startup_seconds=15, profile_rate=5)
        decision, state = decide(policy, window, state, now)
        decisions.append(decision)
        ready = decision.replicas
    return decisions, state


def test_steady_demand_gets_a_steady_fleet() -> None:
    decisions, _ = play([40.0] * 200, ready=12)
    assert {decision.replicas for decision in decisions[100:]} <= {9, 10, 11}
    assert decisions[-1].reason is ScalingReason.DEMAND


def test_a_jump_is_answered_at_the_next_look() -> None:
    _, state = play([20.0] * 100, ready=6)
    jump = look(202.0, 60.0, 6)
    decision, _ = decide(POLICY, Window((jump,), 6, 15, 5), state, 202.0)
    assert decision.replicas >= 12


def test_chance_on_a_slow_ramp_is_no_surprise() -> None:
    """Otherwise its height would be kept ready long after demand has gone."""
    random, policy, state, ready = Random(5), Policy(95, 800, Limits(1, 60)), State(), 10
    for step in range(1, 1200):
        rate = 30 + step / 30
        sample = look(2.0 * step, max(random.gauss(rate, (rate / 2) ** 0.5), 0.0), ready)
        decision, state = decide(policy, Window((sample,), ready, 60, 5), state, 2.0 * step)
        ready = decision.replicas
    assert state.phases.ended == ()


def test_every_decision_says_why_and_from_what() -> None:
    decisions, _ = play([20.0] * 50 + [60.0] * 20, ready=6)
    assert all(decision.message and decision.inputs for decision in decisions)
    assert {"rate", "forecast", "capacity", "lateShare"} <= decisions[-1].inputs.keys()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        pytest.param({"arrivals": -5.0}, "arrivals is negative", id="a negative rate"),
        pytest.param({"arrivals": nan}, "arrivals is not a number", id="NaN"),
        pytest.param({"concurrency": inf}, "concurrency is not a number", id="infinite concurrency"),
        pytest.param({"time": 90.0}, "the clock went back", id="a clock that went back"),
        pytest.param({"time": 9000.0}, "the clock is ahead", id="a clock that jumped ahead"),
        pytest.param({"seconds": 0.0}, "a window of 0 s", id="a window without length"),
        pytest.param({"compute_seconds": -1.0}, "compute seconds is negative", id="a counter that was reset"),
        pytest.param({"ready": -1}, "replicas are negative", id="negative replicas"),
    ],
)
def test_a_scrape_that_lies_changes_nothing(wrong: dict[str, float], named: str) -> None:
    _, state = play([40.0] * 50, ready=12)
    sample = replace(look(102.0, 5.0, 12), **wrong)
    decision, after = decide(POLICY, Window((sample,), 11, 15, 5), state, 102.0)
    assert (decision.replicas, decision.reason) == (11, ScalingReason.NO_DATA)
    assert after == state
    assert "kept" in decision.message
    assert named in decision.message or "nothing new" in decision.message


def test_no_sample_keeps_the_size_within_the_bounds() -> None:
    _, state = play([40.0] * 50, ready=12)
    for wanted, expected in ((7, 7), (0, 1), (99, 20)):
        decision, _ = decide(POLICY, Window((), wanted), state, 200.0)
        assert (decision.replicas, decision.reason) == (expected, ScalingReason.NO_DATA)


def test_a_restarted_operator_holds_and_then_goes_on() -> None:
    _, before = play([40.0] * 300, ready=12)
    state = recalled(remembered(before))
    decisions, _ = play([5.0] * 120, ready=12, state=state)
    assert {decision.replicas for decision in decisions[:29]} == {12}
    assert decisions[0].reason is ScalingReason.SETTLING
    assert decisions[-1].replicas < 12


def test_a_restarted_operator_still_answers_overload_at_once() -> None:
    _, before = play([20.0] * 300, ready=6)
    decisions, _ = play([80.0, 80.0], ready=6, state=recalled(remembered(before)))
    assert decisions[-1].replicas > 12


def test_a_memory_of_another_version_is_dropped() -> None:
    _, state = play([40.0] * 20, ready=12)
    assert recalled(remembered(state).model_copy(update={"version": 99})) == State()
    assert recalled(None) == State()


def test_a_memory_that_makes_no_sense_is_dropped() -> None:
    _, state = play([40.0] * 20, ready=12)
    memory = remembered(state)
    assert recalled(memory) != State()
    for at in (0, 1, 3, 4):
        wrong = [0.0 if index == at else value for index, value in enumerate(memory.capacity)]
        assert recalled(memory.model_copy(update={"capacity": wrong})) == State()
    assert recalled(memory.model_copy(update={"capacity": [1.0]})) == State()


ZERO = Policy(95, 800, Limits(0, 20), idle_seconds=60)


def test_an_idle_model_goes_to_zero_and_no_earlier() -> None:
    decisions, _ = play([20.0] * 100 + [0.0] * 60, ready=6, policy=ZERO)
    assert all(decision.replicas >= 1 for decision in decisions[:129])
    assert (decisions[-1].replicas, decisions[-1].reason) == (0, ScalingReason.IDLE)


def test_a_restarted_operator_sends_nothing_to_zero_before_it_has_looked_for_a_while() -> None:
    _, before = play([20.0] * 100 + [0.0] * 10, ready=6, policy=ZERO)
    state, decisions = recalled(remembered(before)), []
    for step in range(60):
        now = 9000.0 + 2 * step
        decision, state = decide(ZERO, Window((look(now, 0, 1),), 1, 15, 5), state, now)
        decisions.append(decision)
    assert all(decision.replicas >= 1 for decision in decisions[:28])
    assert (decisions[-1].replicas, decisions[-1].reason) == (0, ScalingReason.IDLE)


def test_a_first_request_wakes_a_model_at_zero() -> None:
    _, state = play([20.0] * 100 + [0.0] * 60, ready=6, policy=ZERO)
    held = Sample(time=322.0, seconds=2.0, arrivals=1, concurrency=0.5, ready=0, starting=0, waiting=1)
    decision, state = decide(ZERO, Window((held,), 0, 15, 5), state, 322.0)
    assert (decision.replicas >= 1, decision.reason) == (True, ScalingReason.WAKING)
    starting = Sample(time=324.0, seconds=2.0, arrivals=0, concurrency=1.0, ready=0, starting=1, waiting=1)
    decision, _ = decide(ZERO, Window((starting,), decision.replicas, 15, 5), state, 324.0)
    assert decision.replicas >= 1


def test_a_model_at_zero_without_requests_stays_there() -> None:
    decisions, _ = play([0.0] * 50, ready=0, policy=ZERO)
    assert {decision.replicas for decision in decisions} == {0}


def test_a_model_that_is_slow_by_itself_is_not_scaled_for_it() -> None:
    state, ready, decision = State(), 10, None
    for step in range(1, 600):
        sample = look(2.0 * step, 30.0, ready, milliseconds=1500)
        decision, state = decide(POLICY, Window((sample,), ready, 15, 5), state, 2.0 * step)
        ready = decision.replicas
    assert decision is not None
    assert decision.reason is ScalingReason.OUT_OF_REACH
    assert ready <= 10


def test_lateness_that_waiting_explains_is_corrected() -> None:
    state, ready = State(), 9
    for step in range(1, 200):
        sample = replace(look(2.0 * step, 35.0, 9, milliseconds=900), queue_seconds=70 * 0.5)
        decision, state = decide(POLICY, Window((sample,), ready, 15, 5), state, 2.0 * step)
        ready = decision.replicas
    assert state.correction.factor > 1.5
    assert ready > 12
