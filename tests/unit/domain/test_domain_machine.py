"""The rollout machine, one row a transition."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tidegate.api.rollout import Step
from tidegate.api.status import RolloutStatus
from tidegate.domain.rollout.machine import Canary, Course, advance, begin, finished, hold_left, weigh
from tidegate.domain.rollout.steps import pods_for, weight_at

T0 = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = [Step(weight=5, hold=timedelta(seconds=10)), Step(weight=50, hold=timedelta(seconds=20))]


def at(step: int, weight: int, held: int | None = None) -> RolloutStatus:
    """A rollout at a step; ``held`` is how many seconds ago its hold began."""
    since = None if held is None else T0 - timedelta(seconds=held)
    start = begin("digits-2", STEPS, T0 - timedelta(minutes=1))
    return start.model_copy(update={"step": step, "weight": weight, "step_started_at": since})


def look(rollout: RolloutStatus, course: Course, seen: Canary) -> RolloutStatus:
    """One look with a cluster that gives every pod a place; half of the pods carry half of the requests."""
    after = advance(rollout, course, seen, T0)
    target = weight_at(course.steps, after.step)
    enough = seen.known and seen.ready >= course.pods(after.step)
    return weigh(after, course, seen, target if enough else after.weight, T0)


READY = {"ready": 4, "known": True}
ROWS = {
    # from, seen, paused -> step, weight, hold runs
    "no pod yet": (at(0, 0), Canary(0, True, 0), False, (0, 0, False)),
    "ready, unknown to a router": (at(0, 0), Canary(4, False, 0), False, (0, 0, False)),
    "ready and known": (at(0, 0), Canary(4, True, 0), False, (0, 5, False)),
    "too few pods for the next step": (at(0, 5, 10), Canary(1, True, 5), False, (1, 5, False)),
    "routers have not the weight": (at(0, 5), Canary(4, True, None), False, (0, 5, False)),
    "routers have an old weight": (at(0, 5), Canary(4, True, 0), False, (0, 5, False)),
    "every router has the weight": (at(0, 5), Canary(4, True, 5), False, (0, 5, True)),
    "hold not over": (at(0, 5, 9), Canary(4, True, 5), False, (0, 5, True)),
    "hold over": (at(0, 5, 10), Canary(4, True, 5), False, (1, 50, False)),
    "hold over, router silent": (at(0, 5, 10), Canary(4, False, None), False, (1, 5, False)),
    "last hold over": (at(1, 50, 20), Canary(4, True, 50), False, (2, 100, False)),
    "everything everywhere": (at(2, 100), Canary(4, True, 100), False, (2, 100, True)),
    "paused before a step": (at(0, 0), Canary(4, True, 0), True, (0, 0, False)),
    "paused in a hold that is over": (at(0, 5, 99), Canary(4, True, 5), True, (0, 5, True)),
    "paused, weight arrives": (at(0, 5), Canary(4, True, 5), True, (0, 5, True)),
    "paused, pods lost": (at(0, 5, 3), Canary(0, True, 5), True, (0, 0, False)),
    "pods lost": (at(1, 50, 3), Canary(0, True, 50), False, (1, 0, False)),
    "pods lost at the end": (at(2, 100), Canary(0, True, 100), False, (2, 0, False)),
    "pods back": (at(1, 0), Canary(4, True, 0), False, (1, 50, False)),
    "step beyond the list": (at(9, 50), Canary(4, True, 50), False, (2, 100, False)),
}


@pytest.mark.parametrize("row", ROWS)
def test_one_look_at_a_rollout(row: str) -> None:
    rollout, seen, paused, (step, weight, held) = ROWS[row]
    after = look(rollout, Course(STEPS, 4, paused=paused), replace(seen, passes=True))
    assert (after.step, after.weight, after.step_started_at is not None) == (step, weight, held)


@pytest.mark.parametrize("row", ROWS)
def test_a_second_look_at_the_same_moment_never_skips_a_step(row: str) -> None:
    rollout, seen, paused, _ = ROWS[row]
    course, seen = Course(STEPS, 4, paused=paused), replace(seen, passes=True)
    once = look(rollout, course, seen)
    twice = look(once, course, seen)
    assert twice.step == once.step
    assert twice.weight == once.weight


def test_a_rollout_is_finished_only_when_every_router_gives_everything() -> None:
    done = at(2, 100, 0)
    assert finished(done, Canary(4, True, 100))
    assert not finished(done, Canary(4, True, None))
    assert not finished(done, Canary(4, True, 50))
    assert not finished(at(2, 100), Canary(4, True, 100))
    assert not finished(at(1, 50, 0), Canary(4, True, 100))


def test_hold_left_counts_from_the_moment_every_router_had_the_weight() -> None:
    assert hold_left(at(0, 5, 4), STEPS, T0) == timedelta(seconds=6)
    assert hold_left(at(0, 5, 400), STEPS, T0) == timedelta(0)
    assert hold_left(at(0, 5), STEPS, T0) is None
    assert hold_left(at(2, 100, 4), STEPS, T0) is None


@pytest.mark.parametrize(
    ("replicas", "weight", "pods"),
    [(0, 50, 0), (1, 1, 1), (3, 5, 1), (3, 50, 2), (3, 100, 3), (10, 25, 3), (1000, 1, 10)],
)
def test_pods_for_a_share(replicas: int, weight: int, pods: int) -> None:
    assert pods_for(replicas, weight) == pods
