"""A model is as large as its demand needs, and changing its size costs no request and no rollout."""

from typing import Any

import pytest
from domain_demand import Demanding
from domain_objects import uri

from tidegate.domain.scaling.capacity import UNKNOWN_RATE

ZERO: dict[str, Any] = {"minReplicas": 0, "idleBeforeZero": "30s"}


def wanted(world: Demanding) -> int:
    return sum(w.replicas for w in world.cluster.workloads.values())


def steady(rate: float, seconds: int = 120, **fields: Any) -> Demanding:
    """A world that has had one demand for a while."""
    world = Demanding(lambda _: rate, **fields)
    world.run(seconds)
    assert world.ready, world.summary()
    return world


def test_a_model_grows_to_what_its_demand_needs_and_not_to_the_maximum() -> None:
    world = steady(120.0)
    assert 3 <= wanted(world) <= 5
    assert "Scaled" in world.reasons()


@pytest.mark.parametrize(("asked", "seconds"), [({}, 2), ({"interval": "10s"}, 10)])
def test_a_size_is_looked_at_again_after_its_interval(asked: dict[str, str], seconds: int) -> None:
    world = steady(120.0, autoscaling=asked)
    again = world.look().again
    assert again is not None
    assert again.total_seconds() == seconds


PROFILES: dict[str, tuple[Any, float]] = {
    "of the same device": ({"device": "CPU", "requestsPerSecond": 80.0}, 80.0),
    "of another device": ({"device": "GPU", "requestsPerSecond": 900.0}, UNKNOWN_RATE),
    "that cannot be read": ({"device": "CPU", "requestsPerSecond": -1}, UNKNOWN_RATE),
    "absent": (None, UNKNOWN_RATE),
}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_size_begins_with_the_bundles_profile(profile: str) -> None:
    told, begins = PROFILES[profile]
    world = Demanding(lambda _: 0.0, server={"accelerator": "CPU"})
    world.cluster.store[uri(1)]["profile"] = told
    world.until(lambda w: w.ready)
    world.run(10)
    assert world.state is not None
    assert world.state.capacity is not None
    assert world.state.capacity.rate == begins


def test_a_model_shrinks_when_demand_does() -> None:
    world = Demanding(lambda t: 200.0 if t < 300 else 20.0)
    world.run(300)
    assert wanted(world) >= 4
    world.run(900)
    assert wanted(world) <= 2
    assert world.ready


def test_more_demand_than_the_maximum_serves_is_told() -> None:
    world = steady(1000.0)
    assert wanted(world) == 8
    assert world.condition("Scaling").reason == "AtMaximum"


def test_a_size_that_nobody_can_measure_stays() -> None:
    world = Demanding(lambda t: 120.0 if t < 300 else None)
    world.run(300)
    before = wanted(world)
    world.run(300)
    assert wanted(world) == before
    assert world.status.scaling is not None
    assert world.status.scaling.reason == "NoData"
    assert world.condition("Scaling").status == "False"


def test_another_operator_keeps_the_size_and_goes_on() -> None:
    world = steady(120.0)
    before = wanted(world)
    world.restart()
    world.run(60)
    assert wanted(world) == before
    world.demand = lambda _: 350.0
    world.run(300)
    assert wanted(world) > before


def test_growing_makes_a_model_that_serves_no_less_ready() -> None:
    world = steady(60.0)
    world.demand = lambda _: 300.0
    for _ in range(120):
        world.tick()
        assert world.ready, world.summary()


def test_an_idle_model_goes_to_zero_once_every_router_holds_its_requests() -> None:
    world = Demanding(lambda t: 20.0 if t < 100 else 0.0, autoscaling=ZERO)
    world.run(100)
    for _ in range(200):
        world.tick()
        assert world.held or any(p.ready for p in world.cluster.pods), world.summary()
    assert wanted(world) == 0
    assert not world.cluster.pods
    assert world.condition("Available").reason == "ScaledToZero"
    assert world.condition("Available").status == "True"


def test_a_request_that_waits_brings_a_pod_and_is_held_until_it_is_known() -> None:
    world = Demanding(lambda t: 20.0 if t < 100 or t > 400 else 0.0, autoscaling=ZERO)
    world.run(399)
    assert wanted(world) == 0
    for _ in range(120):
        world.tick()
        assert world.held or any(p.ready for p in world.cluster.pods), world.summary()
    assert wanted(world) >= 1
    assert not world.held
    assert world.ready


def test_a_model_that_nobody_asked_yet_serves_once_before_it_goes_to_zero() -> None:
    world = Demanding(lambda _: 0.0, autoscaling=ZERO)
    world.until(lambda w: w.ready and bool(w.cluster.pods))
    world.run(200)
    assert wanted(world) == 0


def test_a_new_version_of_a_model_at_zero_is_tried_before_it_takes_over() -> None:
    world = Demanding(lambda _: 0.0, autoscaling=ZERO, rollout={"steps": [{"parity": {}}]})
    world.run(300)
    assert wanted(world) == 0
    world.move_to(2)
    world.until(lambda w: w.pods_of(2) > 0)
    world.run(300)
    assert world.weight(2) == 100
    assert wanted(world) == 0


def test_a_rollout_begins_with_the_pods_that_its_weight_needs() -> None:
    steps = [{"weight": 50, "hold": "60s"}]
    world = steady(180.0, rollout={"steps": steps, "analysis": {"minRequests": 0}, "bake": {"duration": "0s"}})
    size = wanted(world)
    assert size >= 4
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 50)
    assert sum(p.ready for p in world.cluster.pods if p.revision == world.name_of(2)) >= size // 2
    world.until(lambda w: w.weight(2) == 100 and w.ready)
    assert wanted(world) >= size


def test_a_rollout_that_is_given_up_leaves_stable_as_large_as_it_was() -> None:
    world = steady(180.0, rollout={"steps": [{"weight": 50, "hold": "1h"}]})
    size = wanted(world)
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 50)
    world.ask("abort", "now")
    world.until(lambda w: w.weight(1) == 100)
    world.run(60)
    assert sum(p.ready for p in world.cluster.pods if p.revision == world.name_of(1)) >= size


def test_falling_demand_does_not_begin_the_hold_of_a_step_anew() -> None:
    world = Demanding(lambda t: 200.0 if t < 300 else 10.0, rollout={"steps": [{"weight": 50, "hold": "10m"}]})
    world.run(290)
    world.move_to(2)
    world.until(lambda w: w.status.rollout is not None and w.status.rollout.step_started_at is not None)
    begun = world.status.rollout.step_started_at if world.status.rollout else None
    world.run(400)
    assert world.status.rollout is not None
    assert world.status.rollout.step_started_at == begun


def test_a_suspended_model_has_no_pod_and_forgets_nothing() -> None:
    world = steady(120.0)
    before = world.status.scaling
    world.edit(suspend=True)
    world.run(60)
    assert not world.cluster.pods
    assert world.status.scaling is not None
    assert before is not None
    assert world.status.scaling.desired == before.desired


@pytest.mark.parametrize("replicas", [1, 3])
def test_without_autoscaling_the_written_size_holds(replicas: int) -> None:
    world = steady(500.0)
    world.edit(autoscaling=None, replicas=replicas)
    world.run(120)
    assert wanted(world) == replicas
    assert world.status.scaling is None
