"""Pods and weight together, one row a situation."""

from functools import partial
from random import Random

import pytest
from rollout_yard import Side, Yard

from tidegate.domain.rollout.sizing import Pods, Scene, Sizes, crew, pods_needed, recreated, share_carried, sizes

ROWS = {
    # replicas, extra, target; stable and canary as (wanted, ready, alive), weight -> stable, canary, weight
    "the first pod starts beside all of stable": (4, 1, 5, (4, 4, 4), (0, 0, 0), 0, Sizes(4, 1, 0)),
    "a pod that is not ready gets nothing": (4, 1, 5, (4, 4, 4), (1, 0, 1), 0, Sizes(4, 1, 0)),
    "a ready pod gets the step's weight and no more": (4, 1, 5, (4, 4, 4), (1, 1, 1), 0, Sizes(4, 1, 5)),
    "a pod gets what it carries, on the way to more": (4, 1, 50, (4, 4, 4), (1, 1, 1), 5, Sizes(4, 1, 25)),
    "stable gives a pod once its share needs it no more": (4, 1, 50, (4, 4, 4), (1, 1, 1), 25, Sizes(3, 1, 25)),
    "the place of a pod that is ending is not free": (4, 1, 50, (3, 3, 3, 1), (1, 1, 1), 25, Sizes(3, 1, 25)),
    "nor is it while nobody has ended the pod yet": (4, 1, 50, (3, 4, 4), (1, 1, 1), 25, Sizes(3, 1, 25)),
    "nor that of a canary pod that is ending": (4, 1, 50, (3, 3, 3), (1, 1, 1, 1), 25, Sizes(3, 1, 25)),
    "a pod is not given up because another one is ending": (4, 1, 25, (4, 4, 4), (1, 0, 1, 1), 0, Sizes(4, 1, 0)),
    "the place of a pod that has gone is": (4, 1, 50, (3, 3, 3), (1, 1, 1), 25, Sizes(3, 2, 25)),
    "with room for all, stable keeps every pod": (4, None, 50, (4, 4, 4), (2, 2, 2), 50, Sizes(4, 2, 50)),
    "everything moves when all pods are ready": (4, None, 100, (4, 4, 4), (4, 4, 4), 50, Sizes(4, 4, 100)),
    "a lost canary pod lowers the weight": (4, None, 50, (4, 4, 4), (2, 1, 2), 50, Sizes(4, 2, 25)),
    "a lost pod that stable cannot stand in for": (4, 1, 50, (2, 2, 2), (2, 1, 2), 50, Sizes(3, 2, 33)),
    "stable keeps what a lowered weight needs": (4, 1, 100, (3, 3, 3), (2, 1, 2), 50, Sizes(3, 2, 25)),
    "the canary keeps what a raised weight needs": (4, 1, 75, (3, 3, 3), (3, 3, 3), 25, Sizes(3, 3, 75)),
    "no canary pod, no weight": (4, 1, 50, (2, 2, 2), (2, 0, 2), 50, Sizes(3, 2, 0)),
    "in place: stable gives one pod first": (4, 0, 5, (4, 4, 4), (0, 0, 0), 0, Sizes(3, 0, 0)),
    "in place: its place is taken once it has gone": (4, 0, 5, (3, 3, 3), (0, 0, 0), 0, Sizes(3, 1, 0)),
    "in place: two replicas": (2, 0, 100, (1, 1, 1), (1, 1, 1), 50, Sizes(1, 1, 100)),
    "in place: the last pod follows": (2, 0, 100, (1, 1, 1), (1, 1, 1), 100, Sizes(0, 1, 100)),
    "in place: all pods at the end": (2, 0, 100, (0, 0, 0), (1, 1, 1), 100, Sizes(0, 2, 100)),
    "in place: one replica cannot move": (1, 0, 5, (1, 1, 1), (0, 0, 0), 0, Sizes(1, 0, 0)),
    "back at once when stable is whole": (4, None, 0, (4, 4, 4), (2, 2, 2), 50, Sizes(4, 2, 0)),
    "back as far as stable carries": (4, None, 0, (4, 3, 4), (2, 2, 2), 50, Sizes(4, 2, 25)),
    "back with an equal load where nobody carries all": (4, 1, 0, (1, 1, 1), (4, 1, 4), 75, Sizes(1, 3, 50)),
    "back without a stable pod waits for one": (4, 1, 0, (1, 0, 1), (4, 4, 4), 100, Sizes(1, 4, 100)),
    "the canary ends when nothing goes to it": (4, 1, 0, (4, 4, 4), (1, 1, 1), 0, Sizes(4, 0, 0)),
    "a service scaled down gives its pods back": (2, 1, 50, (4, 4, 4), (2, 2, 2), 50, Sizes(2, 1, 50)),
    "no replicas, no pods": (0, 1, 50, (0, 0, 0), (1, 1, 1), 50, Sizes(0, 0, 0)),
}


def scene(stable: tuple[int, ...], canary: tuple[int, ...], weight: int, *, settled: bool = True) -> Scene:
    return Scene(Pods(*stable), Pods(*canary), weight, settled)


@pytest.mark.parametrize("row", ROWS)
def test_one_look_at_pods_and_weight(row: str) -> None:
    replicas, extra, target, stable, canary, weight, expected = ROWS[row]
    assert sizes(replicas, extra, target, scene(stable, canary, weight)) == expected


def test_nothing_is_taken_away_and_no_weight_rises_while_routers_differ() -> None:
    seen = scene((4, 4, 4), (2, 2, 2), 25, settled=False)
    assert sizes(4, 1, 50, seen) == Sizes(4, 2, 25)


def test_going_back_waits_for_no_router() -> None:
    seen = scene((4, 4, 4), (2, 2, 2), 50, settled=False)
    assert sizes(4, None, 0, seen).weight == 0
    unknown = Scene(Pods(4, 4, 4, known=False), Pods(2, 2, 2, known=False), 50, settled=False)
    assert sizes(4, None, 0, unknown).weight == 0


def test_a_canary_that_does_more_harm_than_too_much_load_is_left_at_once() -> None:
    seen = scene((1, 1, 1), (3, 3, 3), 75)
    assert sizes(4, 1, 0, seen).weight == 75
    assert sizes(4, 1, 0, seen, at_once=True).weight == 0
    assert sizes(4, 1, 0, scene((1, 0, 1), (3, 3, 3), 75), at_once=True).weight == 75


def test_a_pod_that_a_router_does_not_know_gets_no_more_weight() -> None:
    seen = Scene(Pods(4, 4, 4), Pods(2, 2, 2, known=False), 25, settled=True)
    assert sizes(4, None, 50, seen).weight == 25


def test_pods_before_weight_are_asked_for_where_there_is_room() -> None:
    seen = scene((4, 4, 4), (0, 0, 0), 0)
    assert [sizes(4, extra, 0, seen, before_weight=4).canary for extra in (None, 4, 1)] == [4, 4, 1]
    assert sizes(4, 0, 0, seen, before_weight=1) == Sizes(3, 0, 0)
    assert sizes(4, None, 0, seen, before_weight=9).canary == 4


def test_pods_that_serve_nobody_do_not_keep_stable_from_coming_back() -> None:
    assert sizes(4, 1, 0, scene((2, 2, 2), (3, 3, 3), 50), before_weight=3) == Sizes(2, 2, 50)


def test_while_it_bakes_the_old_revision_keeps_what_the_budget_has_room_for() -> None:
    seen = scene((4, 4, 4), (4, 4, 4), 100)
    assert sizes(4, None, 100, seen, keep=1) == Sizes(1, 4, 100)
    assert sizes(4, 1, 100, scene((1, 1, 1), (4, 4, 4), 100), keep=3) == Sizes(1, 4, 100)
    assert sizes(4, None, 100, scene((4, 4, 4), (4, 4, 4), 50), keep=1).stable == 2


def test_pods_of_further_revisions_hold_their_place() -> None:
    seen = scene((4, 4, 4), (0, 0, 0), 0)
    busy = Scene(seen.stable, seen.canary, 0, settled=True, others=1)
    assert (sizes(4, 1, 5, seen).canary, sizes(4, 1, 5, busy).canary) == (1, 0)


def test_a_pod_gets_at_most_a_hundredth_more_than_its_share() -> None:
    assert [share_carried(3, pods) for pods in range(4)] == [0, 33, 67, 100]
    assert [pods_needed(4, share) for share in (0, 1, 25, 26, 50, 51, 100)] == [0, 1, 1, 2, 2, 3, 4]
    assert [pods_needed(size, 100) for size in (1, 2, 50, 100)] == [1, 2, 50, 100]


def test_without_an_extra_pod_one_of_them_is_on_its_way() -> None:
    assert [crew(4, extra) for extra in (None, 1, 0)] == [4, 4, 3]
    assert (crew(1, 0), crew(0, 0)) == (1, 0)


RECREATED = {
    "the old pods end first": ((2, 2, 2), (0, 0, 0), 0, 5, Sizes(0, 0, 0)),
    "the places of ended pods are taken": ((0, 0, 0, 1), (0, 0, 0), 0, 5, Sizes(0, 1, 0)),
    "all of them": ((0, 0, 0), (1, 0, 1), 0, 5, Sizes(0, 2, 0)),
    "the first ready pod gets everything": ((0, 0, 0), (2, 1, 2), 0, 5, Sizes(0, 2, 100)),
    "no pod is ready any more": ((0, 0, 0), (2, 0, 2), 100, 5, Sizes(0, 2, 0)),
    "back: the new pods end first": ((0, 0, 0), (2, 2, 2), 100, 0, Sizes(0, 0, 100)),
    "back: the places of ended pods are taken": ((0, 0, 0), (0, 0, 0, 1), 100, 0, Sizes(1, 0, 0)),
    "back: the first ready pod gets everything": ((2, 1, 2), (0, 0, 0), 100, 0, Sizes(2, 0, 0)),
}


@pytest.mark.parametrize("row", RECREATED)
def test_without_room_for_both_the_old_revision_ends_before_the_new_one_starts(row: str) -> None:
    stable, canary, weight, target, expected = RECREATED[row]
    assert recreated(2, target, scene(stable, canary, weight)) == expected


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_recreating_arrives_and_comes_back_without_one_pod_too_many(replicas: int) -> None:
    yard = Yard(Side(replicas, ready=replicas), Side(), 0, Random(replicas))
    for target, weight in ((5, 100), (100, 100), (0, 0)):
        yard.run(partial(recreated, replicas, target), lambda: None)
        assert yard.weight == weight
    assert (yard.stable.ready, yard.most) == (replicas, replicas)


def test_a_recreated_revision_that_must_be_checked_first_gets_no_requests_yet() -> None:
    asked = recreated(2, 0, scene((0, 0, 0), (2, 2, 2), 0), before_weight=1)
    assert asked == Sizes(0, 2, 0)
