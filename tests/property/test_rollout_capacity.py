"""Promises about pods and weight in every rollout: it arrives, it keeps within the budget, and nobody is overloaded."""

from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_yard import Side, Yard

from tidegate.domain.rollout.sizing import BOUNDLESS, crew, pods_needed, share_carried, sizes

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
EXTRAS = st.sampled_from([0, 1, 2, 3, 7, None])
WEIGHTS = st.integers(0, 100)
SEEDS = st.integers(0, 2**32)


def rested(replicas: int, extra: int | None, weight: int, seed: int) -> Yard:
    """A rollout that rests at a weight, with the fewest pods that carry it."""
    full = crew(replicas, extra)
    stable, canary = pods_needed(full, 100 - weight), pods_needed(full, weight)
    return Yard(Side(stable, ready=stable), Side(canary, ready=canary), weight, Random(seed))


def check_capacity(yard: Yard, replicas: int, extra: int | None) -> None:
    """Ready pods carry what any router may give them."""
    full = crew(replicas, extra)
    assert yard.canary.ready >= pods_needed(full, max(yard.routed)), yard
    assert yard.stable.ready >= pods_needed(full, 100 - min(yard.routed)), yard


def check_budget(yard: Yard, replicas: int, extra: int | None) -> None:
    """There are no more pods than allowed."""
    assert yard.most <= (BOUNDLESS if extra is None else replicas + extra), yard


@SETTINGS
@given(st.integers(1, 50), EXTRAS, WEIGHTS, WEIGHTS, st.integers(0, 3), SEEDS)
def test_every_rollout_arrives_within_its_budget_and_no_pod_ever_gets_more_than_it_carries(
    replicas: int, extra: int | None, start: int, target: int, before_weight: int, seed: int
) -> None:
    if (replicas, extra) == (1, 0):
        return
    yard = rested(replicas, extra, start, seed)

    def check() -> None:
        check_capacity(yard, replicas, extra)
        check_budget(yard, replicas, extra)

    yard.run(partial(sizes, replicas, extra, target, before_weight=before_weight), check)
    assert yard.weight == target
    room = BOUNDLESS if extra is None else replicas + extra
    needed = replicas if target == 100 else max(pods_needed(crew(replicas, extra), target), before_weight)
    assert yard.canary.ready == min(needed, replicas, room - pods_needed(crew(replicas, extra), 100 - target))
    assert yard.stable.ready == min(replicas, room - yard.canary.ready)


@pytest.mark.parametrize("extra", [0, 1, 2, None])
@pytest.mark.parametrize("replicas", range(1, 51))
def test_a_whole_rollout_and_the_way_back_for_every_size(replicas: int, extra: int | None) -> None:
    if (replicas, extra) == (1, 0):
        return
    yard = rested(replicas, extra, 0, replicas)

    def check() -> None:
        check_capacity(yard, replicas, extra)
        check_budget(yard, replicas, extra)

    for target in (0, 5, 25, 50, 100, 0):
        yard.run(partial(sizes, replicas, extra, target), check)
        assert yard.weight == target
    assert (yard.stable.ready, yard.canary.ready) == (replicas, 0)


@SETTINGS
@given(st.integers(1, 50), EXTRAS, st.data(), SEEDS)
def test_it_arrives_from_any_disorder_and_leaves_no_pod_too_many(
    replicas: int, extra: int | None, data: st.DataObject, seed: int
) -> None:
    """Whatever was lost, resized or left half done before."""
    few = st.integers(0, replicas)
    stable, canary = (Side(data.draw(few), data.draw(few), data.draw(few), data.draw(few)) for _ in range(2))
    yard = Yard(stable, canary, data.draw(WEIGHTS), Random(seed), routed=data.draw(st.lists(WEIGHTS, min_size=2)))
    target = data.draw(WEIGHTS)
    if (replicas, extra) == (1, 0):
        return
    yard.run(partial(sizes, replicas, extra, target), lambda: None)
    assert yard.weight == target
    check_capacity(yard, replicas, extra)
    assert yard.there <= (BOUNDLESS if extra is None else replicas + extra)


@SETTINGS
@given(st.integers(1, 50), EXTRAS, WEIGHTS, st.data(), SEEDS)
def test_pods_are_lost_on_the_way_and_no_canary_without_a_pod_is_given_requests(
    replicas: int, extra: int | None, start: int, data: st.DataObject, seed: int
) -> None:
    if (replicas, extra) == (1, 0):
        return
    yard = rested(replicas, extra, start, seed)
    for _ in range(12):
        target, lost = data.draw(WEIGHTS), data.draw(st.sampled_from([None, yard.stable, yard.canary]))
        if lost and lost.ready:
            lost.ready -= 1
        before, now = yard.scene(), yard.weight
        asked = sizes(replicas, extra, target, before)
        assert 0 <= asked.weight <= max(now, target)
        assert asked.weight == 0 or before.canary.ready
        assert asked.weight <= now or share_carried(crew(replicas, extra), before.canary.ready) >= asked.weight
        yard.obey(asked)
        yard.pass_time()
        assert yard.most <= (BOUNDLESS if extra is None else replicas + extra)


@given(st.integers(1, 1000), st.data())
def test_shares_fit_the_pods_whatever_the_size(full: int, data: st.DataObject) -> None:
    """Some whole percent suits any split of the pods: that is why one extra pod is always enough."""
    pods = data.draw(st.integers(0, full))
    share = share_carried(full, pods)
    assert pods_needed(full, share) <= pods
    assert pods_needed(full, 100 - share) <= full - pods
    assert share * full <= pods * 101
