"""Promises about shares that come from numbers of pods: they arrive, keep within the budget, and overload nobody."""

from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_yard import Side, Yard

from tidegate.domain.rollout.counting import counted, pods_sharing
from tidegate.domain.rollout.sizing import BOUNDLESS, Pods, Scene, crew

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
EXTRAS = st.sampled_from([0, 1, 2, 3, 7, None])
WEIGHTS = st.integers(0, 100)
SEEDS = st.integers(0, 2**32)


def check(yard: Yard, replicas: int, extra: int | None) -> None:
    """Pods that any node may lead to carry everything, and there are no more than allowed."""
    full, stable, canary = crew(replicas, extra), yard.stable.ready, yard.canary.ready
    for share in yard.routed:
        selected = stable if share == 0 else canary if share == 100 else stable + canary
        assert selected >= full, yard
    assert yard.most <= (BOUNDLESS if extra is None else replicas + extra), yard


def law(replicas: int, extra: int | None, target: int) -> partial[object]:
    wanted = pods_sharing(replicas, extra, target) if 0 < target < 100 else 0
    return partial(counted, replicas, extra, target, before_weight=wanted)


@SETTINGS
@given(st.integers(1, 30), EXTRAS, st.lists(WEIGHTS, min_size=1, max_size=4), SEEDS)
def test_every_share_arrives_and_pods_that_carry_everything_are_selected_all_the_way(
    replicas: int, extra: int | None, targets: list[int], seed: int
) -> None:
    if (replicas, extra) == (1, 0):
        return
    yard = Yard(Side(replicas, ready=replicas), Side(), 0, Random(seed))
    for target in (*targets, 100):
        yard.run(law(replicas, extra, target), partial(check, yard, replicas, extra))  # type: ignore[arg-type]
        assert yard.weight == target
        if 0 < target < 100:
            wanted = pods_sharing(replicas, extra, target)
            room = replicas if extra is None else min(replicas, replicas + extra - wanted)
            assert (yard.stable.ready, yard.canary.ready) == (room, wanted)
    assert yard.canary.ready == replicas


@SETTINGS
@given(st.integers(1, 60), EXTRAS, st.integers(1, 99))
def test_no_other_number_of_pods_comes_closer_to_a_share(replicas: int, extra: int | None, target: int) -> None:
    if (replicas, extra) == (1, 0):
        return

    def miss(canary: int) -> float:
        stable = replicas if extra is None else min(replicas, replicas + extra - canary)
        return abs(100 * canary / (canary + stable) - target) if stable > 0 else BOUNDLESS

    assert miss(pods_sharing(replicas, extra, target)) == min(map(miss, range(1, replicas + 1)))


@pytest.mark.parametrize(
    ("replicas", "extra", "target", "pods"),
    [
        (1, None, 5, 1),
        (4, None, 5, 1),
        (4, None, 25, 1),
        (4, None, 50, 4),
        (4, 1, 50, 2),
        (20, None, 5, 1),
        (4, None, 90, 4),
    ],
)
def test_shares_as_they_are_documented(replicas: int, extra: int | None, target: int, pods: int) -> None:
    assert pods_sharing(replicas, extra, target) == pods


@SETTINGS
@given(st.integers(0, 5), st.integers(0, 5), WEIGHTS, WEIGHTS, st.booleans(), st.integers(1, 3), EXTRAS)
def test_both_are_never_selected_beside_strangers(
    stable: int, canary: int, now: int, target: int, settled: bool, strangers: int, extra: int | None
) -> None:
    scene = Scene(
        Pods(stable, stable, stable), Pods(canary, canary, canary), now, settled, others=strangers, strangers=strangers
    )
    assert counted(4, extra, target, scene, before_weight=1).weight in (0, 100)
