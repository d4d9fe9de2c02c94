"""A model that batches is sized for the batches of busy replicas, as far as they are known and the objective allows."""

import itertools

import pytest

from tidegate.domain.scaling.batches import FARTHEST, Batches

FIXED, EACH = 0.1, 0.0125


def learned(sizes: list[float], each: float = EACH, max_batch: int = 8, longest: float = 10.0) -> Batches:
    batches = Batches()
    for size in sizes:
        batches = batches.after(size, FIXED + each * size, 2.0, max_batch, longest)
    return batches


VARIED = [1.5, 2.0, 2.5, 3.0] * 60


def test_the_time_of_one_more_request_is_learned() -> None:
    assert learned(VARIED).slope == pytest.approx(EACH, rel=0.1)


def test_batches_of_one_size_say_nothing_of_larger_ones() -> None:
    """Then a request is taken to cost in a batch what it costs alone."""
    batches = learned([2.0] * 100)
    assert batches.slope == pytest.approx(batches.seconds / batches.size)


def test_batches_are_counted_on_twice_as_large_as_seen_and_never_larger_than_there_are() -> None:
    assert learned(VARIED).aim == pytest.approx(FARTHEST * 2.25, rel=0.1)
    assert learned([1.0] * 100, max_batch=1).aim == 1.0
    assert learned([5.0, 6.0, 7.0] * 60).aim == 8.0


def test_no_batch_is_counted_on_that_takes_longer_than_the_objective_allows() -> None:
    batches = learned(VARIED, longest=0.14)
    assert FIXED + EACH * batches.aim == pytest.approx(0.14, rel=0.05)


def test_larger_batches_are_counted_on_step_by_step() -> None:
    aims = [learned(VARIED[:looks]).aim for looks in range(1, 60)]
    assert all(later <= 1.05 * earlier for earlier, later in itertools.pairwise(aims))
