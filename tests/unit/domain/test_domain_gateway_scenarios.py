"""Rollouts by a Gateway: the weights count once both routes are accepted, and what nobody can count is not guessed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from domain_objects import STEPS, make_spec
from domain_world import World, serving

from tidegate.api.status import ModelDeploymentStatus
from tidegate.domain.compute import compute
from tidegate.domain.gateway import FOUND_AFTER

GATEWAY = {"name": "models", "hostname": "digits.example.com", "grpcHostname": "digits-grpc.example.com"}
TRAFFIC = {"router": "GatewayAPI", "gateway": GATEWAY}
CHECKS = [{"name": "errors", "prometheus": {"query": "x", "max": 0.1}}]
BY_WEIGHT: dict[str, Any] = {
    "traffic": TRAFFIC,
    "replicas": 2,
    "rollout": {"steps": STEPS, "analysis": {"checks": CHECKS}},
}


def rolling(**fields: Any) -> World:
    """The first version serves, and the second one is asked for."""
    world = serving(1, **BY_WEIGHT | fields)
    world.values = {"errors": 0.0}
    world.move_to(2)
    return world


def shares(world: World, kind: str = "HTTPRoute") -> dict[str, int]:
    """Weights in effect, by version."""
    gateway = world.cluster.gateway
    assert gateway is not None
    versions = {f"{name}-gateway": r.revision.version for name, r in world.cluster.revisions.items()}
    return {versions[name]: weight for name, weight in gateway.effective.get(kind, {}).items()}


def test_a_model_gets_ready_without_any_router_of_ours() -> None:
    world = serving(1, **BY_WEIGHT)
    assert shares(world) == shares(world, "GRPCRoute") == {"1": 100}
    assert world.cluster.table is None
    assert world.status.url is None
    assert world.condition("Routed").message == "Gateway models has accepted both routes with the wanted weights."


def test_a_gateway_that_does_not_exist_is_named() -> None:
    world = World(make_spec(1, **BY_WEIGHT))
    world.until(lambda w: w.cluster.gateway is not None)
    assert world.cluster.gateway is not None
    world.cluster.gateway.deaf = True
    world.run(60)
    for kind in ("Ready", "Available"):
        condition = world.condition(kind)
        assert (condition.status, condition.reason) == ("False", "RouterNotReady")
        assert condition.message == "Pods are ready, but Gateway models has not accepted the routes."
    assert "waiting for Gateway models to accept its routes" in world.condition("Progressing").message
    world.cluster.gateway.deaf = False
    world.until(lambda w: w.ready)


def test_every_weight_takes_effect_for_both_protocols_in_turn() -> None:
    world, seen = rolling(), []
    for _ in range(200):
        world.tick()
        if not seen or seen[-1] != shares(world):
            seen.append(shares(world))
    assert seen == [{"1": 100}, {"1": 95, "2": 5}, {"1": 75, "2": 25}, {"1": 50, "2": 50}, {"2": 100}]
    assert shares(world, "GRPCRoute") == {"2": 100}
    assert world.ready


def test_a_new_version_gets_no_request_before_its_pods_were_ready_for_a_while() -> None:
    world = rolling()
    world.until(lambda w: "2" in shares(w))
    turned = [p.turned for p in world.cluster.pods if p.revision == world.name_of(2) and p.ready]
    assert turned
    assert all(t is not None and world.cluster.now - t >= FOUND_AFTER for t in turned)


def test_a_weight_that_no_gateway_accepts_holds_the_rollout_where_it_is() -> None:
    world = rolling()
    world.until(lambda w: shares(w).get("2") == 5)
    gateway = world.cluster.gateway
    assert gateway is not None
    gateway.deaf = True
    world.until(lambda w: gateway.weights("HTTPRoute").get(f"{w.name_of(2)}-gateway") == 25)
    world.run(60)
    assert shares(world) == {"1": 95, "2": 5}
    assert world.status.rollout is not None
    assert world.status.rollout.step_started_at is None
    assert world.condition("Routed").status == "False"
    assert "Gateway models to accept both routes" in world.condition("Routed").message
    assert world.condition("Available").status == "True"
    gateway.deaf = False
    world.until(lambda w: shares(w) == {"2": 100} and w.ready)


def test_one_protocol_that_is_refused_holds_both() -> None:
    world = rolling()
    world.until(lambda w: shares(w).get("2") == 5)
    gateway = world.cluster.gateway
    assert gateway is not None
    gateway.refused["GRPCRoute"] = {"ResolvedRefs": ("BackendNotFound", "not yet")}
    world.run(60)
    assert shares(world) == {"1": 95, "2": 5}
    gateway.refused.clear()
    world.until(lambda w: shares(w, "GRPCRoute") == {"2": 100} and w.ready)


def test_what_the_gateway_has_against_a_route_is_told() -> None:
    world = serving(1, **BY_WEIGHT)
    gateway = world.cluster.gateway
    assert gateway is not None
    gateway.refused["GRPCRoute"] = {"Accepted": ("NotAllowedByListeners", "no listener takes it")}
    world.edit(traffic=TRAFFIC | {"gateway": GATEWAY | {"grpcHostname": "other.example.com"}})
    world.until(lambda w: w.condition("Ready").reason == "RouteRefused")
    message = world.condition("Ready").message
    assert "Gateway models does not serve GRPCRoute digits-grpc" in message
    assert "NotAllowedByListeners: no listener takes it" in message


def test_a_route_of_which_some_rules_are_dropped_is_not_served() -> None:
    world = rolling()
    world.until(lambda w: shares(w).get("2") == 5)
    gateway = world.cluster.gateway
    assert gateway is not None
    gateway.refused["HTTPRoute"] = {"PartiallyInvalid": ("UnsupportedValue", "Dropped Rule 2: a conflict")}
    world.run(60)
    assert shares(world) == {"1": 95, "2": 5}
    assert world.condition("Ready").reason == "RouteRefused"
    assert "PartiallyInvalid is True: UnsupportedValue: Dropped Rule 2" in world.condition("Ready").message
    gateway.refused.clear()
    world.until(lambda w: shares(w) == {"2": 100} and w.ready)


def test_another_gateway_counts_once_it_has_accepted_the_routes() -> None:
    world = serving(1, **BY_WEIGHT)
    gateway = world.cluster.gateway
    assert gateway is not None
    gateway.deaf = True
    world.edit(traffic=TRAFFIC | {"gateway": GATEWAY | {"name": "others"}})
    world.run(60)
    assert not world.ready
    assert world.condition("Routed").status == "False"
    gateway.deaf = False
    world.settle()
    assert world.ready


@pytest.mark.parametrize("left", ["no backend", "no rule", "nothing at all", "another gateway beside it"])
def test_a_route_that_somebody_edited_does_not_count_and_is_put_back(left: str) -> None:
    world = serving(1, **BY_WEIGHT)
    gateway = world.cluster.gateway
    assert gateway is not None
    route = gateway.routes["HTTPRoute"]
    spec = route["spec"]
    edited = {
        "no backend": spec | {"rules": [*spec["rules"][:-1], spec["rules"][-1] | {"backendRefs": []}]},
        "no rule": {name: value for name, value in spec.items() if name != "rules"},
        "nothing at all": {},
        "another gateway beside it": spec | {"parentRefs": [*spec["parentRefs"], {"name": "others"}]},
    }
    gateway.routes["HTTPRoute"] = route | {"spec": edited[left]}
    world.cluster.changed = True
    world.tick()
    assert world.condition("Routed").status == "False"
    world.settle()
    assert world.ready
    assert gateway.routes["HTTPRoute"]["spec"] == spec
    assert shares(world) == {"1": 100}


def test_a_query_that_stays_bad_for_its_time_brings_the_way_back() -> None:
    world = rolling()
    world.until(lambda w: shares(w).get("2") == 25)
    world.values, bad = {"errors": 1.0}, world.cluster.now
    world.until(lambda w: w.status.rollout is not None and w.status.rollout.aborted is not None)
    # No sooner: a window that nobody counts requests in is used up all the same.
    assert timedelta(seconds=9) <= world.cluster.now - bad <= timedelta(seconds=16)
    world.until(lambda w: shares(w) == shares(w, "GRPCRoute") == {"1": 100})
    world.until(lambda w: w.pods_of(2) == 0)
    assert world.condition("RolledBack").reason == "AnalysisFailed"


def test_a_bake_without_counts_says_that_nothing_is_judged() -> None:
    rollout = {"strategy": "BlueGreen", "steps": [], "bake": {"duration": "60s"}}
    world = rolling(rollout=rollout)
    world.until(lambda w: w.status.bake is not None)
    world.run(20)
    assert world.condition("CanaryHealthy").reason == "NoData"
    world.settle()
    assert world.ready
    assert shares(world) == {"2": 100}


def test_without_the_gateway_api_nothing_is_touched_and_the_reason_is_named() -> None:
    world = serving(1, **BY_WEIGHT)
    seen = replace(world.observe(), trouble="install it")
    plan, status = compute(world.spec, world.status, seen, world.cluster.now)
    assert plan.route is None
    assert plan.workloads == ()
    ready = next(c for c in status.conditions if c.type == "Ready")
    assert (ready.status, ready.reason, ready.message) == ("False", "GatewayAPIMissing", "install it")


def test_a_lost_status_is_found_again_by_the_routes() -> None:
    world = rolling()
    world.until(lambda w: shares(w).get("2") == 25)
    world.status = ModelDeploymentStatus()
    world.cluster.changed = True
    world.tick()
    assert world.status.stable is not None
    assert world.status.stable.version == "1"
