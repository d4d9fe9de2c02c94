"""Plans for scarce accelerators: what is decided with 0, 1 and 2 free ones, and that no rollout hangs on the last."""

from random import Random
from typing import Any

import pytest
from capacity_objects import GPU, facts, node, placed, quota, server
from domain_objects import pod
from rollout_yard import GpuYard, Side

from tidegate.api.status import Reason
from tidegate.domain.capacity import Room, room
from tidegate.domain.diagnose import Cause
from tidegate.domain.observed import PodView
from tidegate.domain.rollout.budget import (
    Budget,
    BudgetPlan,
    Demand,
    Placing,
    Shortage,
    Strategy,
    placing,
    plan_again,
    plan_budget,
    sizes_by,
)
from tidegate.domain.rollout.sizing import Pods, Scene, Sizes

Raw = dict[str, Any]
NONE = f"no node has room: a pod asks for 1 {GPU}, and none of {{n}} of {{n}} nodes has more than 0 free"
ADVICE = "Free capacity, or set spec.rollout.budget.onShortage to"


def stage(replicas: int, free: int, spec: Raw | None = None, canary: int = 0, **more: Any) -> Room:
    """A cluster of nodes with one accelerator each: stable has one a replica, and ``free`` are left."""
    nodes = [node(f"n{i}") for i in range(replicas + canary + free)]
    old = [placed(f"old{i}", f"n{i}") for i in range(replicas)]
    new = [placed(f"new{i}", f"n{replicas + i}") for i in range(canary)]
    return room(facts(nodes, [*old, *new], **more), spec or server(), stable=old, canary=new)


def unread(replicas: int) -> Room:
    """A cluster whose nodes and quotas the operator may not read."""
    old = [placed(f"old{i}", f"n{i}") for i in range(replicas)]
    return room(facts(None, quotas=None), server(), stable=old)


def demand(
    replicas: int, on_shortage: Shortage = "Wait", *, extra: int | None = 1, strategy: Strategy = "Canary"
) -> Demand:
    return Demand(replicas, replicas, strategy, Budget(extra, on_shortage))


SHORT: dict[tuple[Shortage, int], tuple[str, int]] = {
    # on shortage, replicas -> mode and extra pods with no free accelerator
    ("Wait", 1): ("Wait", 1),
    ("Wait", 2): ("Wait", 1),
    ("Wait", 4): ("Wait", 1),
    ("InPlace", 1): ("Wait", 1),
    ("InPlace", 2): ("InPlace", 0),
    ("InPlace", 4): ("InPlace", 0),
    ("Recreate", 1): ("Recreate", 0),
    ("Recreate", 2): ("InPlace", 0),
    ("Recreate", 4): ("InPlace", 0),
}


@pytest.mark.parametrize(("on_shortage", "replicas"), SHORT)
@pytest.mark.parametrize("free", [0, 1, 2])
def test_the_plan_with_so_many_free_accelerators(free: int, on_shortage: Shortage, replicas: int) -> None:
    plan = plan_budget(demand(replicas, on_shortage), stage(replicas, free))
    assert (plan.mode, plan.extra) == (SHORT[on_shortage, replicas] if free == 0 else ("Surge", 1))
    if free:
        nodes = replicas + free
        found = f"nodes have room for {free} ({free} {GPU} free on {nodes} of {nodes} nodes)"
        assert plan.message == f"Starts 1 extra pod: {found}."


SENTENCES: dict[tuple[Shortage, int], str] = {
    ("Wait", 1): f"Waits: {NONE}. {ADVICE} Recreate.",
    ("Wait", 4): f"Waits: {NONE}. {ADVICE} InPlace or Recreate.",
    ("InPlace", 1): f"Waits: {NONE}. {ADVICE} Recreate, which interrupts requests.",
    ("InPlace", 4): f"Replaces one pod at a time, 3 of 4 pods carry all requests meanwhile: {NONE}.",
    ("Recreate", 1): f"Ends the old pods before the new ones start, which interrupts requests: {NONE}.",
}


@pytest.mark.parametrize(("on_shortage", "replicas"), SENTENCES)
def test_the_sentence_of_a_plan_says_why_and_what_to_do(on_shortage: Shortage, replicas: int) -> None:
    plan = plan_budget(demand(replicas, on_shortage), stage(replicas, 0))
    assert plan.message == SENTENCES[on_shortage, replicas].format(n=replicas)


@pytest.mark.parametrize(
    ("extra", "free", "expected"),
    [(None, 9, None), (None, 4, None), (None, 3, 3), (3, 9, 3), (3, 3, 3), (3, 2, 2), (9, 9, 9), (9, 2, 2)],
)
def test_extra_pods_are_as_many_as_allowed_and_as_fit(extra: int | None, free: int, expected: int | None) -> None:
    plan = plan_budget(demand(4, extra=extra), stage(4, free))
    assert (plan.mode, plan.extra) == ("Surge", 4 if expected == 9 else expected)


def test_room_that_stable_itself_still_needs_is_not_given_away() -> None:
    old = [placed("old0", "n0")]
    seen = room(facts([node("n0"), node("n1")], old), server(), stable=old)
    assert plan_budget(demand(2, "Wait"), seen).mode == "Wait"
    assert plan_budget(demand(1, "Wait"), seen).mode == "Surge"


def test_a_quota_is_as_scarce_as_a_node() -> None:
    gpus = quota("gpus", {f"requests.{GPU}": "2"}, {f"requests.{GPU}": "2"})
    plan = plan_budget(demand(2, "InPlace"), stage(2, 5, quotas=[gpus]))
    assert (plan.mode, plan.extra) == ("InPlace", 0)
    assert f"quota gpus allows 0 more requests.{GPU}" in plan.message


@pytest.mark.parametrize(
    ("on_shortage", "replicas", "mode"),
    [
        ("Wait", 4, "InPlace"),
        ("Recreate", 4, "InPlace"),
        ("Wait", 1, "Wait"),
        ("InPlace", 1, "Wait"),
        ("Recreate", 1, "Recreate"),
    ],
)
def test_a_budget_of_no_extra_pod_takes_them_from_stable_whatever_is_free(
    on_shortage: Shortage, replicas: int, mode: str
) -> None:
    plan = plan_budget(demand(replicas, on_shortage, extra=0), stage(replicas, 9))
    assert (plan.mode, plan.extra) == (mode, 0)
    assert "spec.rollout.budget.maxExtraReplicas is 0" in plan.message
    assert ("Raise spec.rollout.budget.maxExtraReplicas. " in plan.message) is (mode == "Wait")


BLUE_GREEN: dict[str, tuple[int | None, int, Shortage, str, int | None]] = {
    # extra pods allowed, free accelerators, on shortage -> mode, extra
    "room for all": (None, 4, "Wait", "Surge", None),
    "allowed and free": (4, 4, "Wait", "Surge", 4),
    "too few are free": (None, 3, "Wait", "Wait", 4),
    "too few are free, pod by pod": (None, 3, "InPlace", "Surge", 3),
    "none is free": (None, 0, "InPlace", "InPlace", 0),
    "too few are allowed": (1, 9, "Wait", "Wait", 0),
    "too few are allowed, pod by pod": (1, 9, "InPlace", "Surge", 1),
    "one is allowed, none is free": (1, 0, "InPlace", "InPlace", 0),
    "gently although all is allowed": (1, 1, "Recreate", "Surge", 1),
    "no extra pod is allowed": (0, 9, "Wait", "InPlace", 0),
}


@pytest.mark.parametrize("row", BLUE_GREEN)
def test_blue_green_needs_room_for_all_pods_at_once(row: str) -> None:
    extra, free, on_shortage, mode, planned = BLUE_GREEN[row]
    plan = plan_budget(demand(4, on_shortage, extra=extra, strategy="BlueGreen"), stage(4, free))
    assert (plan.mode, plan.extra) == (mode, planned)


def test_a_strategy_that_recreates_does_so_with_every_accelerator_free() -> None:
    plan = plan_budget(demand(2, strategy="Recreate"), stage(2, 9))
    assert (plan.mode, plan.extra) == ("Recreate", 0)
    assert "spec.rollout.strategy is Recreate" in plan.message


def test_nothing_is_ended_for_pods_that_would_find_no_place_even_then() -> None:
    larger = server(limits={GPU: "2"})
    for on_shortage in ("InPlace", "Recreate"):
        plan = plan_budget(demand(2, on_shortage), stage(2, 0, larger))
        assert (plan.mode, plan.extra) == ("Wait", 1)
        assert "a new pod does not fit in the place of an old one (no node has room" in plan.message
    assert plan.message.endswith("Free capacity.")
    assert plan_budget(demand(2, strategy="Recreate"), stage(2, 1, larger)).mode == "Wait"


def test_all_old_pods_end_at_once_only_where_the_place_of_one_is_too_small() -> None:
    """Half as many pods, each with twice the accelerators: nothing fits until both pods of a node have gone."""
    old = [placed(f"old{i}", f"n{i // 2}") for i in range(4)]
    seen = room(facts([node("n0", gpus=2), node("n1", gpus=2)], old), server(limits={GPU: "2"}), stable=old)
    assert [plan_budget(demand(2, choice), seen).mode for choice in ("Wait", "InPlace", "Recreate")] == [
        "Wait",
        "Wait",
        "Recreate",
    ]


def test_what_cannot_be_read_is_found_out_by_a_pod() -> None:
    plan = plan_budget(demand(2, "InPlace"), unread(2))
    assert (plan.mode, plan.extra) == ("Surge", 1)
    assert "the operator may not list nodes and the operator may not list quotas" in plan.message
    found = plan_again(plan, demand(2, "InPlace"), unread(2), Placing(0, "Pod new fits on no node"), moved=False)
    assert (found.mode, found.extra) == ("InPlace", 0)
    assert "Pod new fits on no node" in found.message


SURGE, IN_PLACE, WAITS = BudgetPlan("Surge", 2, ""), BudgetPlan("InPlace", 0, ""), BudgetPlan("Wait", 1, "")
MISSING = "Pod new fits on no node"
AGAIN: dict[str, tuple[BudgetPlan, Shortage, Room, Placing, bool, tuple[str, int | None]]] = {
    # before, on shortage, room, seen, moved -> mode, extra
    "a plan that works is kept": (SURGE, "InPlace", stage(4, 0), Placing(0), False, ("Surge", 2)),
    "fewer find a place": (SURGE, "Wait", unread(4), Placing(1, MISSING), False, ("Surge", 1)),
    "none finds a place": (SURGE, "InPlace", unread(4), Placing(0, MISSING), False, ("InPlace", 0)),
    "a pod overrules what was counted": (SURGE, "Wait", stage(4, 9), Placing(0, MISSING), False, ("Wait", 1)),
    "in place in vain, all may end": (IN_PLACE, "Recreate", unread(4), Placing(0, MISSING), False, ("Recreate", 0)),
    "but not once requests move": (IN_PLACE, "Recreate", unread(4), Placing(0, MISSING), True, ("Wait", 1)),
    "in place, and nobody fits": (IN_PLACE, "InPlace", unread(4), Placing(0, MISSING), False, ("Wait", 1)),
    "in place, and somebody else took the place": (
        IN_PLACE,
        "InPlace",
        stage(4, 0),
        Placing(1, MISSING),
        True,
        ("InPlace", 0),
    ),
    "there is room at last": (WAITS, "Wait", stage(4, 1), Placing(0), False, ("Surge", 1)),
    "there is none yet": (WAITS, "Wait", stage(4, 0), Placing(0, MISSING), False, ("Wait", 1)),
    "the pod that waited has a place": (WAITS, "Wait", stage(4, 0, canary=1), Placing(1), False, ("Surge", 1)),
    "unknown room is not taken for room": (WAITS, "Wait", unread(4), Placing(0), False, ("Wait", 1)),
    "somebody raised the budget": (BudgetPlan("Wait", 0, ""), "Wait", unread(4), Placing(0), False, ("Surge", 2)),
    "unknown room was found": (WAITS, "Wait", unread(4), Placing(1), False, ("Surge", 2)),
    "somebody changed onShortage": (WAITS, "InPlace", stage(4, 0), Placing(0, MISSING), False, ("InPlace", 0)),
    "recreated, and there is no way back either": (
        BudgetPlan("Recreate", 0, ""),
        "Recreate",
        stage(4, 0),
        Placing(0, MISSING),
        False,
        ("Recreate", 0),
    ),
}


@pytest.mark.parametrize("row", AGAIN)
def test_a_plan_is_made_again_when_it_waits_or_a_pod_finds_no_place(row: str) -> None:
    before, on_shortage, seen, pods, moved, expected = AGAIN[row]
    plan = plan_again(before, demand(4, on_shortage, extra=2), seen, pods, moved=moved)
    assert (plan.mode, plan.extra) == expected


def test_what_was_tried_in_place_in_vain_is_not_tried_again() -> None:
    asked = demand(4, "InPlace")
    waits = plan_again(IN_PLACE, asked, unread(4), Placing(0, MISSING), moved=False)
    assert (waits.mode, waits.tried) == ("Wait", True)
    for seen in (Placing(0, MISSING), Placing(0)):
        assert plan_again(waits, asked, unread(4), seen, moved=False).mode == "Wait"
    assert plan_again(waits, asked, stage(4, 1), Placing(0), moved=False).mode == "Surge"


def test_a_pod_without_a_place_is_not_missed_while_places_come_free() -> None:
    waits = PodView(pod("new-1", "digits-2", scheduled={"status": "False", "reason": "Unschedulable"}))
    runs = PodView(pod("new-2", "digits-2"))
    cause = Cause(Reason.UNSCHEDULABLE, "Pod new-1 fits on no node: 0/3 nodes.")
    assert placing(cause, [waits, runs], 0) == Placing(1, "Pod new-1 fits on no node: 0/3 nodes")
    assert placing(cause, [waits, runs], 1) == Placing(1)
    assert placing(Cause(Reason.POD_REFUSED, "exceeded quota"), [], 0) == Placing(0, "exceeded quota")
    assert placing(Cause(Reason.IMAGE_PULL_FAILED, "no such image"), [runs], 0) == Placing(1)
    assert placing(None, [runs], 0) == Placing(1)


def test_a_plan_that_may_start_nothing_holds_what_is_there() -> None:
    held = BudgetPlan("Wait", 0, "")
    fresh = Scene(Pods(4, 4, 4), Pods(0, 0, 0), 0, settled=True)
    assert sizes_by(held, 4, 5, fresh, before_weight=1) == Sizes(4, 0, 0)
    under_way = Scene(Pods(3, 3, 3), Pods(1, 1, 1), 25, settled=True)
    assert sizes_by(held, 4, 50, under_way) == Sizes(3, 1, 25)
    assert sizes_by(held, 4, 0, under_way).weight == 0


# Simulated nodes


class Rollout:
    """A rollout to ``target`` on simulated accelerators, planned by the real functions look by look."""

    def __init__(self, replicas: int, free: int, on_shortage: Shortage) -> None:
        self.demand = demand(replicas, on_shortage)
        self.yard = GpuYard(Side(replicas, ready=replicas), Side(), 0, Random(0), accelerators=replicas + free)
        self.plan = plan_budget(self.demand, self.room())
        self.served = replicas
        self.spread: list[str] = [self.plan.mode]

    def room(self) -> Room:
        yard = self.yard
        sides = {"old": yard.stable, "new": yard.canary}
        nodes, pods, where = [node(f"n{i}") for i in range(yard.accelerators)], {}, 0
        for name, side in sides.items():
            pods[name] = [placed(f"{name}{i}", f"n{where + i}") for i in range(side.ready)]
            where += side.ready
        leaving = [placed(f"x{i}", f"n{where + i}") for i in range(yard.stable.leaving + yard.canary.leaving)]
        found = facts(nodes, [*pods["old"], *pods["new"], *leaving])
        return room(found, server(), stable=pods["old"], canary=pods["new"], leaving=leaving)

    def look(self, target: int) -> None:
        yard = self.yard
        leaving = yard.stable.leaving + yard.canary.leaving
        missing = "Pod new fits on no node" if yard.waiting() and not leaving and yard.free() <= 0 else ""
        seen = Placing(yard.canary.ready, missing)
        self.plan = plan_again(self.plan, self.demand, self.room(), seen, moved=yard.weight > 0)
        self.spread.append(self.plan.mode)
        yard.obey(sizes_by(self.plan, self.demand.replicas, target, yard.scene()))
        yard.pass_time()
        self.served = min(self.served, yard.stable.ready + yard.canary.ready)

    def run(self, *targets: int) -> "Rollout":
        for target in targets:
            for _ in range(60):
                self.look(target)
        return self


STEPS = (5, 25, 50, 100)


@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("on_shortage", ["Wait", "InPlace", "Recreate"])
@pytest.mark.parametrize("free", [0, 1, 2])
def test_no_rollout_hangs_on_the_last_accelerator(free: int, on_shortage: Shortage, replicas: int) -> None:
    played = Rollout(replicas, free, on_shortage).run(*STEPS)
    yard = played.yard
    assert len(set(played.spread)) == 1, played.spread
    if played.plan.mode == "Wait":
        assert (yard.stable.ready, yard.canary.ready, yard.weight) == (replicas, 0, 0)
        yard.accelerators += 1
        played.run(*STEPS)
        assert played.spread[-1] == "Surge"
    assert (yard.stable.ready, yard.canary.ready, yard.weight) == (min(1, yard.accelerators - replicas), replicas, 100)
    assert played.served == {"Recreate": 0, "InPlace": replicas - 1}.get(played.plan.mode, replicas)
    played.run(0)
    assert (yard.stable.ready, yard.weight) == (replicas, 0)


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_an_accelerator_that_somebody_takes_first_is_no_way_into_a_deadlock(replicas: int) -> None:
    played = Rollout(replicas, 1, "InPlace")
    played.yard.accelerators -= 1
    played.run(*STEPS)
    if replicas == 1:
        assert (played.plan.mode, played.yard.stable.ready, played.yard.weight) == ("Wait", 1, 0)
        return
    assert (played.plan.mode, played.yard.canary.ready, played.yard.weight) == ("InPlace", replicas, 100)
