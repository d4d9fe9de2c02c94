"""What users get from a rollout on a cluster with few places, told as stories over the simulated cluster."""

from collections import Counter
from typing import Any

import pytest
from domain_objects import digest
from domain_world import World, serving

from tidegate.domain.capacity import CapacityFacts

STEPS = [{"weight": 25, "hold": "5s"}, {"weight": 50, "hold": "5s"}]


def with_places(places: int, replicas: int, **rollout: Any) -> World:
    """Version 1 serves with ``replicas`` pods on a cluster that has places for so many pods in all."""
    world = serving(replicas=replicas, rollout={"steps": STEPS, **rollout})
    world.cluster.places = places
    world.events.clear()
    return world


@pytest.mark.parametrize("shortage", ["Wait", "InPlace", "Recreate"])
@pytest.mark.parametrize("free", [0, 1, 2])
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_no_rollout_ends_in_a_deadlock_on_the_last_places(replicas: int, free: int, shortage: str) -> None:
    """It comes to its end, or it says that it waits for room, and then ends as soon as there is some."""
    world = with_places(replicas + free, replicas, budget={"maxExtraReplicas": 1, "onShortage": shortage})
    world.move_to(2)
    world.run(300)
    assert max(world.cluster.most_pods, replicas) <= replicas + min(free, 1)
    waits = free == 0 and (shortage == "Wait" or (shortage == "InPlace" and replicas == 1))
    assert world.ready is not waits, world.summary()
    if waits:
        assert world.split() == {"1": 100}
        assert world.condition("CapacityAvailable").status == "False"
        assert "Wait" in world.condition("CapacityAvailable").message
        world.cluster.places = replicas + 1
        world.run(300)
    assert world.ready, world.summary()
    assert world.split() == {"2": 100}
    assert world.pods_of(2) == replicas


def test_capacity_is_there_before_weight_moves_and_stable_keeps_what_its_weight_needs() -> None:
    world = with_places(5, 4, budget={"maxExtraReplicas": 1})
    world.move_to(2)
    while not world.ready:
        world.tick()
        names = {r.name: r.revision.version for r in world.cluster.revisions.values()}
        ready = Counter(int(names[p.revision]) for p in world.cluster.pods if p.ready)
        for version, share in world.split().items():
            assert ready[int(version)] * 26 >= share, (world.split(), ready)
        assert len(world.cluster.pods) <= 5


def test_a_plan_is_made_before_a_pod_starts_and_is_told() -> None:
    world = with_places(3, 2)
    world.move_to(2)
    world.until(lambda w: w.status.rollout is not None and w.status.rollout.plan is not None)
    assert world.pods_of(2) == 0
    world.until(lambda w: w.pods_of(2) == 1)
    assert world.condition("CapacityAvailable").status == "True"
    assert world.reasons().count("Planned") == 1


def test_recreate_stops_the_old_pods_first_and_says_so() -> None:
    world = with_places(2, 2, strategy="Recreate", steps=[{"parity": {}}])
    world.move_to(2)
    world.until(lambda w: w.pods_of(2) > 0)
    assert world.pods_of(1) == 0
    assert world.status.rollout is not None
    assert world.status.rollout.plan is not None
    assert "interrupts requests" in world.status.rollout.plan.message
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}


def test_a_recreated_revision_that_does_not_load_gives_its_place_back() -> None:
    world = with_places(1, 1, strategy="Recreate", steps=[], progressDeadline="1m")
    world.cluster.sick.add(digest(2))
    world.move_to(2)
    world.run(200)
    assert world.status.phase == "Aborted"
    assert world.split() == {"1": 100}
    assert world.condition("Available").status == "True"
    assert world.pods_of(1) == 1


def test_going_back_in_mid_rollout_needs_no_place_beyond_the_budget() -> None:
    world = with_places(4, 4, budget={"maxExtraReplicas": 0, "onShortage": "InPlace"})
    world.move_to(2)
    world.until(lambda w: w.weight(2) >= 50)
    world.ask("abort", "now")
    world.look()
    assert world.split() == {"1": 100}
    world.settle()
    assert world.pods_of(1) == 4
    assert world.pods_of(2) == 0


def test_blue_green_waits_for_room_for_all_pods_at_once() -> None:
    world = with_places(5, 4, strategy="BlueGreen", steps=[])
    world.move_to(2)
    world.run(120)
    assert world.split() == {"1": 100}
    assert world.condition("CapacityAvailable").status == "False"
    world.cluster.places = 8
    world.settle()
    assert world.split() == {"2": 100}
    assert world.ready


def test_blue_green_takes_over_pod_by_pod_where_that_is_allowed() -> None:
    world = with_places(4, 4, strategy="BlueGreen", steps=[{"parity": {}}], budget={"onShortage": "InPlace"})
    world.move_to(2)
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}
    assert world.cluster.most_pods <= 4


def test_pods_that_find_no_place_change_a_plan_that_did_not_know() -> None:
    world = with_places(2, 2, budget={"onShortage": "InPlace"})
    world.capacity = CapacityFacts("vision", unread=("nodes may not be listed",))
    world.move_to(2)
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}
    assert world.reasons().count("Planned") == 2
