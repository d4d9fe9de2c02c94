"""What users get after a promotion, and from going back, told as stories over the simulated cluster."""

from datetime import timedelta

import pytest
from domain_objects import STEPS, digest
from domain_world import World, serving

BAKE = {"steps": STEPS, "bake": {"duration": "5m", "keepReplicas": 2}}


def baking(replicas: int = 3) -> World:
    """Version 2 was just promoted, version 1 is warm."""
    world = serving(replicas=replicas, rollout=BAKE)
    world.move_to(2)
    world.until(lambda w: w.ready and w.weight(2) == 100)
    world.events.clear()
    return world


def test_the_former_revision_stays_warm_and_then_goes() -> None:
    world = baking()
    world.run(60)
    assert world.status.phase == "Baking"
    assert world.ready, "a promoted revision serves; the bake is no reason to wait"
    assert world.condition("Promoted").reason == "Baking"
    assert world.pods_of(1) == 2
    assert world.split() == {"2": 100}
    world.settle()
    assert world.pods_of(1) == 0
    assert world.status.phase == "Ready"
    assert world.status.bake is None
    assert world.reasons() == ["Baked"]


def test_a_revision_that_fails_after_promotion_is_replaced_at_once() -> None:
    world = baking(replicas=2)
    world.run(30)
    world.cluster.wrong[digest(2)] = 0.5
    begun = world.cluster.now
    world.until(lambda w: w.split() == {"1": 100}, limit=30)
    assert world.cluster.now - begun <= timedelta(seconds=10)
    world.settle()
    assert world.status.phase == "Aborted"
    assert world.pods_of(1) == 2
    assert world.pods_of(2) == 0
    assert world.condition("RolledBack").reason == "AnalysisFailed"
    assert world.condition("Ready").status == "False"
    assert [r.revision for r in world.status.revisions] == [world.name_of(1)]
    assert "RolledBack" in world.reasons()


def test_a_new_spec_after_a_failed_bake_rolls_out() -> None:
    world = baking(replicas=2)
    world.cluster.wrong[digest(2)] = 0.5
    world.settle()
    world.move_to(3)
    world.settle()
    assert world.ready
    assert world.split() == {"3": 100}
    assert world.status.override is None
    assert world.condition("RolledBack").status == "False"


def test_bake_says_nothing_while_nobody_sends_requests() -> None:
    world = baking()
    world.cluster.idle = True
    world.settle()
    assert world.ready
    assert world.status.phase == "Ready"


def test_a_new_edit_during_the_bake_rolls_out_and_the_warm_pods_go() -> None:
    world = baking()
    world.move_to(3)
    world.settle()
    assert world.ready
    assert world.pods_of(1) == 0
    assert world.split() == {"3": 100}


def test_an_edit_back_during_the_bake_moves_everything_with_the_warm_pods() -> None:
    world = baking(replicas=2)
    world.move_to(1)
    begun = world.cluster.now
    world.until(lambda w: w.split() == {"1": 100}, limit=15)
    assert world.cluster.now - begun <= timedelta(seconds=5)
    world.settle()
    assert world.ready


@pytest.mark.parametrize(("verb", "split"), [("abort", {"1": 100}), ("promote", {"2": 100}), ("retry", {"2": 100})])
def test_what_people_may_ask_during_a_bake(verb: str, split: dict[str, int]) -> None:
    world = baking(replicas=2)
    world.ask(verb, "now")
    world.settle()
    assert world.split() == split
    assert ("RequestRefused" in world.reasons()) is (verb == "retry")


def test_going_back_to_a_former_revision_lasts_until_spec_changes() -> None:
    world = serving()
    first = world.name_of(1)
    for version in (2, 3):
        world.move_to(version)
        world.settle()
    world.ask("rollback-to", f"{first}@2026-01-01T00:00:00Z")
    world.settle()
    assert world.split() == {"1": 100}
    assert world.status.override is not None
    assert world.condition("Ready").status == "False"
    assert world.condition("RolledBack").reason == "Requested"
    assert world.status.phase == "Aborted"
    world.edit(replicas=2)
    world.settle()
    assert world.split() == {"1": 100}
    assert world.pods_of(1) == 2
    world.move_to(2)
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}


def test_a_request_is_carried_out_once() -> None:
    world = serving(rollout={"steps": [{"pause": {}}, {"weight": 10, "hold": "10s"}, {"pause": {}}]})
    world.move_to(2)
    world.run(30)
    world.ask("promote", "one")
    world.run(120)
    assert world.weight(2) == 10
    world.ask("promote", "two")
    world.settle()
    assert world.split() == {"2": 100}


def test_a_request_of_long_ago_is_not_repeated_when_status_is_lost() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 5)
    world.ask("abort", "once")
    world.settle()
    assert world.status.phase == "Aborted"
    world.ask("retry", "once")
    world.until(lambda w: w.weight(2) == 5)
    world.lose_status()
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}


@pytest.mark.parametrize("moment", ["pods start", "first weight", "last weight", "paused"])
def test_abort_takes_one_step_from_every_phase(moment: str) -> None:
    world = serving()
    world.move_to(2)
    weights = {"pods start": 0, "first weight": 5, "last weight": 50, "paused": 5}
    world.until(lambda w: w.status.canary is not None and w.weight(2) == weights[moment])
    if moment == "paused":
        world.edit(paused=True)
        world.run(5)
    world.ask("abort", "now")
    world.look()
    assert world.split() == {"1": 100}
    assert world.status.rollout is not None
    assert world.status.rollout.aborted is not None
    world.settle()
    assert world.pods_of(2) == 0


@pytest.mark.parametrize(
    ("verb", "text", "word"),
    [
        ("abort", "x", "no rollout"),
        ("promote", "x", "no rollout"),
        ("retry", "x", "no rollout"),
        ("rollback-to", "digits-00000000", "has served"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_with_a_sentence(verb: str, text: str, word: str) -> None:
    world = serving()
    world.ask(verb, text)
    world.settle()
    assert world.ready
    (event,) = world.events
    assert event.reason == "RequestRefused"
    assert word in event.message


def test_the_first_revision_cannot_be_given_up() -> None:
    world = World()
    world.until(lambda w: w.status.rollout is not None)
    world.ask("abort", "now")
    world.settle()
    assert world.ready
    assert "RequestRefused" in world.reasons()


def test_promote_full_skips_everything() -> None:
    world = serving(rollout={"steps": [{"weight": 5, "hold": "1h"}, {"pause": {}}]})
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 5)
    world.ask("promote", "full@now")
    world.until(lambda w: w.weight(2) == 100, limit=20)


def test_blue_green_moves_everything_at_once_with_every_pod_ready() -> None:
    world = serving(replicas=3, rollout={"strategy": "BlueGreen", "steps": [{"pause": {"duration": "20s"}}]})
    world.move_to(2)
    shares = set()
    while not world.ready:
        world.tick()
        shares.add(world.weight(2))
        if world.weight(2):
            assert sum(p.ready for p in world.cluster.pods if p.revision == world.name_of(2)) == 3
    assert shares == {0, 100}
