"""Rollouts without any router: a Service leads to pods, shares come from numbers of pods, and status says which."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from domain_objects import STEPS, digest, pod
from domain_service import ServiceState
from domain_world import World, serving

from tidegate.domain.compute import compute
from tidegate.domain.direct import SETTLED_AFTER, report
from tidegate.domain.labels import COMPONENT, MODEL, REVISION

CHECKS = [{"name": "errors", "prometheus": {"query": "x", "max": 0.1}}]
ROLLOUT = {"steps": STEPS, "analysis": {"checks": CHECKS}}
DIRECT: dict[str, Any] = {"traffic": {"router": "Service"}, "replicas": 4, "rollout": ROLLOUT}


def direct(world: World) -> ServiceState:
    """The Service of a world."""
    assert world.cluster.direct is not None
    return world.cluster.direct


def led(world: World) -> dict[str, int]:
    """Ready pods that every node leads to, by version."""
    found: dict[str, int] = {}
    for state in world.cluster.pods:
        if state.ready and state.name in direct(world).led:
            version = world.cluster.revisions[state.revision].revision.version
            found[version] = found.get(version, 0) + 1
    return found


def steady(**fields: Any) -> World:
    """The first version serves on every node."""
    world = serving(1, **DIRECT | fields)
    world.run(10)
    world.values = {"errors": 0.0}
    return world


def rolling(**fields: Any) -> World:
    """The first version serves, and the second one is asked for."""
    world = steady(**fields)
    world.move_to(2)
    return world


def watched(world: World, over: Callable[[World], bool], limit: int = 400) -> list[dict[str, int]]:
    """Every set of pods that got connections until ``over``; at no moment is it empty."""
    seen: list[dict[str, int]] = []
    for _ in range(limit):
        world.tick()
        assert led(world), f"no pod gets connections: {world.summary()}"
        if not seen or seen[-1] != led(world):
            seen.append(led(world))
        if over(world):
            return seen
    raise AssertionError(f"not over in {limit} s: {world.summary()}")


def holds(world: World, weight: int) -> bool:
    """True while a step of a weight has begun."""
    rollout = world.status.rollout
    return rollout is not None and rollout.weight == weight and rollout.step_started_at is not None


def selectors(world: World) -> list[str]:
    """What was selected, write by write: a version, both, or nobody."""
    names = {r.name: r.revision.version for r in world.cluster.revisions.values()}
    told = [
        "nobody" if s[COMPONENT] == "none" else names.get(s.get(REVISION, ""), "both") for s in direct(world).writes
    ]
    assert all(s[MODEL] == "digits" for s in direct(world).writes)
    return told


def test_a_model_gets_ready_without_any_router() -> None:
    world = steady()
    assert led(world) == {"1": 4}
    assert world.cluster.table is None
    assert world.status.url == "http://digits.vision.svc:8000"
    assert world.condition("Routed").message == "The Service leads to every ready pod of one revision."


def test_a_rollout_comes_to_its_end_by_numbers_of_pods_and_leaves_nobody_without_an_answer() -> None:
    world = rolling()
    seen = watched(world, lambda w: w.ready and w.status.rollout is None and led(w) == {"2": 4})
    # 5 and 25 % are 1 of 5 pods, and 50 % is 4 of 8.
    shares = [counts for counts in seen if set(counts) == {"1", "2"}]
    assert {"1": 4, "2": 1} in shares
    assert {"1": 4, "2": 4} in shares
    assert selectors(world) == ["nobody", "1", "both", "2"]


def test_status_says_which_share_the_pods_make() -> None:
    world = rolling()
    world.until(lambda w: holds(w, 25))
    rollout, stable, canary = world.status.rollout, world.status.stable, world.status.canary
    assert rollout is not None
    assert stable is not None
    assert canary is not None
    assert (rollout.weight, stable.weight, canary.weight) == (25, 80, 20)
    made = f"1 of 5 ready pods are of {canary.revision}: 20 % of new connections, 25 % are wanted."
    assert world.condition("Routed").message == made
    assert rollout.message.endswith(made)
    world.until(lambda w: holds(w, 50))
    assert world.status.canary is not None
    assert world.status.canary.weight == 50


@pytest.mark.parametrize("strategy", ["BlueGreen", "Recreate"])
def test_a_strategy_that_moves_everything_at_once_never_selects_both(strategy: str) -> None:
    world = rolling(rollout={"strategy": strategy, "steps": [{"parity": {}}]})
    world.until(lambda w: w.ready and w.status.rollout is None)
    world.run(10)
    assert "both" not in selectors(world)
    assert led(world) == {"2": 4}


def test_blue_green_leaves_nobody_without_an_answer() -> None:
    world = rolling(rollout={"strategy": "BlueGreen", "steps": []})
    seen = watched(world, lambda w: w.ready and led(w) == {"2": 4})
    assert seen == [{"1": 4}, {"2": 4}]


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_a_rollout_with_little_room_replaces_pods_as_shares_grow(extra: int) -> None:
    world = rolling(rollout=ROLLOUT | {"budget": {"maxExtraReplicas": extra}})
    watched(world, lambda w: w.ready and w.status.rollout is None and led(w) == {"2": 4})
    assert world.cluster.most_pods <= 4 + extra


@pytest.mark.parametrize("how", ["abort", "edit", "bad"])
def test_the_way_back_is_one_write_of_the_selector(how: str) -> None:
    world = rolling()
    world.until(lambda w: led(w).get("2") == 4)
    before = len(direct(world).writes)
    match how:
        case "abort":
            world.ask("abort", "1")
        case "edit":
            world.move_to(1)
        case "bad":
            world.values = {"errors": 1.0}
    watched(world, lambda w: led(w) == {"1": 4} and w.pods_of(2) == 0)
    assert selectors(world)[before:] == ["1"]


def test_pods_that_lost_their_share_run_on_until_every_node_leads_elsewhere() -> None:
    world = rolling()
    world.until(lambda w: led(w).get("2") == 4)
    world.ask("abort", "1")
    world.tick()
    written = world.cluster.now
    world.until(lambda w: any(p.leaving_since for p in w.cluster.pods))
    assert world.cluster.now - written >= SETTLED_AFTER


def test_a_canary_that_is_never_ready_gets_nothing() -> None:
    world = steady()
    world.cluster.sick.add(digest(2))
    world.move_to(2)
    for _ in range(200):
        world.tick()
        assert led(world) == {"1": 4}
    assert selectors(world) == ["nobody", "1"]


def test_slices_that_nobody_brings_up_to_date_hold_the_rollout() -> None:
    world = rolling()
    direct(world).deaf = True
    world.until(lambda w: selectors(w)[-1] == "both")
    world.run(60)
    assert led(world) == {"1": 4}
    assert world.status.rollout is not None
    assert world.status.rollout.step_started_at is None
    assert world.condition("Routed").status == "False"
    direct(world).deaf = False
    watched(world, lambda w: w.ready and led(w) == {"2": 4})


def test_a_third_revision_waits_until_the_pods_of_the_second_are_gone() -> None:
    world = rolling()
    world.until(lambda w: led(w).get("2") == 4)
    world.move_to(3)
    said: set[str] = set()
    both_at: list[int] = []
    for _ in range(300):
        world.tick()
        assert led(world)
        said.add(world.status.rollout.message if world.status.rollout else "")
        if world.status.rollout and world.status.rollout.weight and world.name_of(3) == world.status.rollout.revision:
            both_at.append(world.pods_of(2))
        if world.ready and led(world) == {"3": 4}:
            break
    assert both_at
    assert set(both_at) == {0}
    assert any("pods of other revisions to end" in text for text in said)
    assert selectors(world)[-3:] == ["1", "both", "3"]


def test_a_revision_that_is_kept_warm_is_not_selected() -> None:
    world = rolling(rollout=ROLLOUT | {"bake": {"duration": "60s", "keepReplicas": 2}})
    watched(world, lambda w: w.status.bake is not None)
    world.run(20)
    assert led(world) == {"2": 4}
    assert world.pods_of(1) == 2
    world.move_to(3)
    watched(world, lambda w: w.ready and w.status.rollout is None and led(w) == {"3": 4})


@pytest.mark.parametrize("leaving", [False, True])
def test_a_pod_of_neither_revision_keeps_both_from_being_selected(leaving: bool) -> None:
    world = rolling()
    world.until(lambda w: holds(w, 5))
    seen = world.observe()
    theirs = pod("theirs", labels={COMPONENT: "server"}, ready=not leaving, leaving=leaving, ip="10.1.1.1")
    seen = replace(seen, objects=(*seen.objects, theirs))
    plan, status = compute(world.spec, world.status, seen, world.cluster.now)
    assert plan.selector == {MODEL: "digits", COMPONENT: "server", REVISION: world.name_of(1)}
    assert status.rollout is not None
    assert "waiting for 1 pods of other revisions to end" in status.rollout.message


def test_one_pod_each_is_half_of_the_connections_and_status_says_so() -> None:
    world = rolling(replicas=1)
    world.until(lambda w: led(w) == {"1": 1, "2": 1} and w.condition("Routed").status == "True")
    assert world.status.canary is not None
    assert world.status.stable is not None
    assert (world.status.stable.weight, world.status.canary.weight) == (50, 50)
    assert "50 % of new connections, 5 % are wanted" in world.condition("Routed").message
    watched(world, lambda w: w.ready and led(w) == {"2": 1})


def test_a_step_begins_when_its_pods_are_there_and_the_slices_were_still_for_a_while() -> None:
    world = rolling()
    world.until(lambda w: holds(w, 50))
    assert led(world) == {"1": 4, "2": 4}


def test_a_lost_status_is_found_again_by_the_service() -> None:
    world = rolling()
    world.until(lambda w: led(w).get("2") == 1)
    world.lose_status()
    world.tick()
    assert world.status.stable is not None
    assert world.status.stable.version == "1"
    watched(world, lambda w: w.ready and led(w) == {"2": 4})


def test_what_somebody_does_to_the_selector_is_no_state_that_counts() -> None:
    world = steady()
    spec = direct(world).service["spec"]
    direct(world).service["spec"] = spec | {"selector": dict(spec["selector"]) | {"cut": "off"}}
    world.cluster.changed = True
    plan = world.look()
    assert world.condition("Routed").status == "False"
    assert plan.selector == spec["selector"]


def test_what_was_just_written_does_not_count_yet() -> None:
    world = steady()
    seen = replace(world.observe(), via="Service", now=world.cluster.now)
    assert report(seen).routes
    assert not report(replace(seen, now=world.cluster.now - timedelta(hours=1))).routes
