"""What phases of demand say about the next jump."""

import pytest

from tidegate.domain.scaling.phases import MOST_PHASES, Phase, Phases, quiet, risks

AHEAD = 20.0


def chance(phases: Phases, time: float) -> float:
    """Of any jump, a second."""
    return sum(risk.chance for risk in risks(phases, time, AHEAD))


def cycles(lengths: list[float], high: float = 60.0) -> Phases:
    """Low for each of the lengths, then high for a minute; demand has just fallen again."""
    phases, time = Phases(since=0.0), 0.0
    for length in lengths:
        time += length
        phases = phases.jumped(time, 90.0, 9.0)
        time += high
        phases = phases.fell(time, 90.0)
    return phases


def test_nothing_is_risked_where_nothing_was_seen() -> None:
    assert risks(Phases(), 1000.0, AHEAD) == []
    assert risks(Phases(since=0.0), 1000.0, AHEAD) == []


def test_a_load_that_never_comes_back_at_once_is_not_waited_for_at_once() -> None:
    phases = cycles([200.0, 300.0, 250.0, 280.0, 220.0, 260.0])
    assert phases.since is not None
    assert chance(phases, phases.since + 1) == 0
    assert chance(phases, phases.since + 250) > 1 / 250


def test_a_load_that_may_come_back_at_any_time_is_always_waited_for() -> None:
    phases = cycles([10.0, 900.0, 100.0, 400.0])
    assert phases.since is not None
    assert chance(phases, phases.since + 1) == pytest.approx(chance(phases, phases.since + 2), rel=0.05)
    assert chance(phases, phases.since + 1) > 0


def test_what_does_not_come_back_is_waited_for_less_and_less() -> None:
    phases = cycles([10.0, 300.0, 60.0])
    assert phases.since is not None
    chances = [chance(phases, phases.since + age) for age in (100, 1_000, 10_000)]
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] < chances[0] / 10


def test_what_demand_fell_from_may_come_back() -> None:
    phases = Phases(since=0.0).fell(300.0, 80.0)
    (risk,) = risks(phases, 310.0, AHEAD)
    assert risk.peak == 80.0
    assert 0 < risk.chance < 1 / 300


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        pytest.param([], 0.0, id="nothing seen"),
        pytest.param([300.0], 0.0, id="seen once"),
        pytest.param([300.0] * 4, 300.0, id="always the same"),
        pytest.param([1.0, 500.0, 900.0], 0.0, id="at any time"),
        pytest.param([120.0, 240.0, 360.0, 480.0], 60.0, id="not at once"),
    ],
)
def test_the_quiet_after_a_change_is_learned(lengths: list[float], expected: float) -> None:
    assert quiet(lengths) == pytest.approx(expected)


def test_one_change_that_takes_several_looks_is_one_change() -> None:
    phases = Phases(since=0.0).jumped(100.0, 50.0, 2.0).jumped(104.0, 90.0, 1.8).fell(200.0, 90.0).fell(204.0, 50.0)
    assert phases.ended == (Phase(False, 100.0, 90.0, 3.6), Phase(True, 100.0))
    assert (phases.since, phases.left) == (200.0, 90.0)


def test_the_first_thing_that_is_seen_is_no_jump() -> None:
    assert Phases(since=0.0).jumped(2.0, 90.0, 9.0).ended == ()


def test_a_look_that_saw_a_part_of_a_jump_expects_no_more_than_was_ever_seen() -> None:
    assert Phases(since=0.0).may_be(500.0) == 500.0
    assert cycles([100.0]).may_be(500.0) == 90.0


def test_the_oldest_phases_are_forgotten() -> None:
    assert len(cycles([100.0] * 40).ended) == MOST_PHASES
