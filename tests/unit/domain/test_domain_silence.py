"""Nothing changes per tick: a settled model costs no write, and every condition moves only when it flips."""

from datetime import timedelta
from itertools import pairwise

import pytest
from domain_world import World, serving

from tidegate.domain.compute import compute


def _suspended() -> World:
    world = serving()
    world.edit(suspend=True)
    world.settle()
    return world


def _scaled_to_zero() -> World:
    world = serving()
    world.edit(replicas=0)
    world.settle()
    return world


def _paused() -> World:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 5)
    world.edit(paused=True)
    world.run(30)
    return world


def _rolled_over() -> World:
    world = serving(replicas=2)
    world.move_to(2)
    world.settle()
    return world


@pytest.mark.parametrize("build", [serving, _suspended, _scaled_to_zero, _paused, _rolled_over])
def test_a_settled_model_does_not_change_with_time_alone(build: type[World]) -> None:
    world = build()
    observed = world.cluster.observe()
    plans = []
    for hours in (0, 1, 100):
        plan, status = compute(world.spec, world.status, observed, world.cluster.now + timedelta(hours=hours))
        assert status == world.status
        assert plan.events == ()
        assert plan.pokes == ()
        assert plan.resolve is None
        assert plan.table == observed.table()
        plans.append((plan.workloads, plan.revisions, plan.route))
    assert plans[0] == plans[1] == plans[2]


def test_a_settled_model_asks_for_no_look() -> None:
    world = serving()
    assert world.plan.again is None


def test_conditions_move_only_when_they_flip() -> None:
    world = serving()
    since = {c.type: c.last_transition_time for c in world.status.conditions}
    world.run(30)
    world.edit(replicas=2)
    world.settle()
    now = {c.type: c.last_transition_time for c in world.status.conditions}
    assert {kind for kind in now if now[kind] != since[kind]} == {"Ready", "Reconciling"}


@pytest.mark.parametrize("fields", [{"model": {"uri": "s3://models/digits:2"}}, {"replicas": 3}])
def test_the_first_status_of_a_new_generation_says_reconciling(fields: dict[str, object]) -> None:
    world = serving()
    world.edit(**fields)
    world.look()
    assert world.status.observed_generation == world.cluster.subject.generation
    assert world.condition("Reconciling").status == "True"
    assert world.condition("Ready").status == "False"
    assert world.condition("Ready").observed_generation == world.cluster.subject.generation


def test_a_router_that_was_told_in_vain_is_told_again_after_a_while() -> None:
    world = serving()
    world.move_to(2)
    world.cluster.routers[0].deaf = True
    told = set()
    for _ in range(30):
        world.tick()
        told.add(world.cluster.routers[0].told)
    versions = [mark.partition("@") for mark in told]
    assert len({at for _, _, at in versions}) >= 4
    times = sorted(float(at) for version, _, at in versions if version == world.plan_version())
    assert all(b - a >= 5 for a, b in pairwise(times)), times


def test_a_new_router_is_told_once() -> None:
    world = serving()
    world.cluster.restart_router(0)
    world.settle()
    assert all(router.told for router in world.cluster.routers)
    assert world.ready


def test_a_router_that_does_not_answer_freezes_weights_and_hides_nothing() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 25)
    world.cluster.routers[1].reachable = False
    world.run(60)
    assert world.split() == {"1": 75, "2": 25} or world.split() == {"1": 50, "2": 50}
    assert world.condition("Routed").status == "False"
    world.cluster.routers[1].reachable = True
    world.settle()
    assert world.split() == {"2": 100}


def test_no_ready_router_means_not_available() -> None:
    world = serving()
    for router in world.cluster.routers:
        router.ready = False
    world.look()
    assert world.condition("Available").status == "False"
    assert world.condition("Available").reason == "RouterNotReady"
    assert not world.ready
    world.settle()
    assert world.ready
    assert world.condition("Available").status == "True"


def test_a_router_that_missed_only_a_cluster_is_told_again() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.ready and len(w.cluster.workloads) == 1)
    world.cluster.routers[0].deaf = True
    world.until(lambda w: w.pods_of(1) == 0)
    world.run(3)
    told = world.cluster.routers[0].told
    world.run(12)
    assert world.cluster.routers[0].told != told
    assert world.ready
    world.cluster.routers[0].deaf = False
    world.settle()
    assert world.ready
