"""What users get from an edit, told as stories over the simulated cluster."""

from datetime import timedelta
from itertools import pairwise

import pytest
from domain_objects import STEPS, digest, uri
from domain_world import World, serving


def test_the_first_rollout_reaches_ready_with_all_requests() -> None:
    world = World()
    world.settle()
    assert world.ready
    assert world.split() == {"1": 100}
    assert world.status.phase == "Ready"
    assert world.status.ready == "1/1"
    assert world.status.url == "http://digits.vision.svc:8000"
    assert world.reasons() == ["RolloutStarted", "Promoted", "Ready"]


def test_the_first_status_says_that_the_address_is_being_resolved() -> None:
    world = World()
    world.look()
    assert world.status.phase == "Resolving"
    assert world.condition("Reconciling").status == "True"
    assert world.condition("Ready").status == "False"
    assert world.plan.resolve is not None
    assert world.plan.resolve.uri == uri(1)


def test_an_edit_moves_traffic_step_by_step_and_promotes() -> None:
    world = serving()
    world.move_to(2)
    shares = [0]
    since = world.cluster.now
    times = []
    while not world.ready:
        world.tick()
        if world.weight(2) != shares[-1]:
            shares.append(world.weight(2))
            times.append(world.cluster.now - since)
        assert world.cluster.now - since < timedelta(minutes=2)
    assert shares == [0, 5, 25, 50, 100]
    holds = [b - a for a, b in pairwise(times)]
    assert all(hold >= timedelta(seconds=10) for hold in holds), holds
    world.settle()
    assert world.split() == {"2": 100}
    assert world.pods_of(1) == 0
    assert world.pods_of(2) == 1


def test_a_rollout_tells_each_transition_once() -> None:
    world = serving()
    world.move_to(2)
    world.settle()
    steps = ["StepStarted"] * 3
    assert world.reasons() == ["RolloutStarted", "Planned", *steps, "Promoted", "Ready"]


def test_ready_does_not_waver_while_the_old_pods_leave() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.ready)
    since = world.condition("Ready").last_transition_time
    for _ in range(60):
        world.tick()
        assert world.ready, world.condition("Ready")
    assert world.condition("Ready").last_transition_time == since
    assert world.pods_of(1) == 0


def test_ready_does_not_waver_while_a_neighbour_gets_a_listener() -> None:
    world = serving()
    world.cluster.routers[1].deaf = True
    route = world.cluster.table.routes["digits"]  # type: ignore[union-attr]
    neighbour = route.model_copy(update={"model": "faces", "port": 20001})
    world.cluster.owners.append(type(world.cluster.owners[0])("faces", "u-2"))
    world.cluster.put_table(world.cluster.table.with_route(neighbour, ["digits", "faces"]))  # type: ignore[union-attr]
    world.run(30)
    assert world.ready
    assert world.events == []


def test_old_pods_stay_until_every_router_sends_them_nothing() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 50)
    world.cluster.routers[1].deaf = True
    world.until(lambda w: w.weight(2) == 100 or w.weight(2) == 50)
    world.run(40)
    assert world.pods_of(1) == 1
    world.cluster.routers[1].deaf = False
    world.settle()
    assert world.pods_of(1) == 0
    assert world.ready


def test_the_routers_know_the_old_revision_until_its_last_pod_is_gone() -> None:
    world = serving()
    old = world.name_of(1)
    world.move_to(2)
    world.until(lambda w: w.ready)
    seen_leaving = False
    while world.pods_of(1):
        assert world.cluster.table is not None
        assert old in [b.revision for b in world.cluster.table.routes["digits"].backends]
        seen_leaving = seen_leaving or any(p.leaving_since for p in world.cluster.pods)
        world.tick()
    assert seen_leaving
    world.settle()
    assert [b.revision for b in world.cluster.table.routes["digits"].backends] == [world.name_of(2)]  # type: ignore[union-attr]


def test_promotion_changes_only_the_role() -> None:
    world = serving(replicas=2)
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 100)
    new = world.name_of(2)
    before, pods = world.cluster.workloads[new], {p.name for p in world.cluster.pods if p.revision == new}
    assert before.role == "canary"
    world.settle()
    after = world.cluster.workloads[new]
    assert after.role == "stable"
    assert (after.revision, after.replicas) == (before.revision, before.replicas)
    assert {p.name for p in world.cluster.pods} == pods


def test_editing_back_in_mid_rollout_gives_everything_to_stable_at_once() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 25)
    world.move_to(1)
    world.look()
    assert world.split() == {"1": 100}
    assert world.pods_of(2) == 1
    world.settle()
    assert world.ready
    assert world.pods_of(2) == 0
    assert "RolledBack" in world.reasons()
    assert "Promoted" not in world.reasons()


@pytest.mark.parametrize("resolved", [True, False])
def test_a_new_edit_in_mid_rollout_supersedes(resolved: bool) -> None:
    world = serving(3)
    if resolved:
        world.move_to(1)
        world.settle()
        world.events.clear()
        world.jobs_made.clear()
    else:
        world = serving(1)
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 25)
    world.move_to(3)
    world.look()
    assert world.split() == {"1": 100}
    world.settle()
    assert world.split() == {"3": 100}
    assert world.pods_of(2) == 0
    assert world.reasons().count("Superseded") == 1
    assert world.reasons().count("RolloutStarted") == 2


def test_a_canary_that_never_loads_never_gets_requests_and_is_given_up_at_the_deadline() -> None:
    world = serving(rollout={"steps": STEPS, "progressDeadline": "1m"})
    world.cluster.sick.add(digest(2))
    world.move_to(2)
    for _ in range(50):
        world.tick()
        assert world.split() == {"1": 100}
    assert world.condition("Available").status == "True"
    assert world.status.phase == "Degraded"
    assert world.condition("Stalled").status == "False"
    assert world.condition("Ready").reason == "ModelLoadFailed"
    world.settle()
    assert world.status.phase == "Aborted"
    assert world.split() == {"1": 100}
    assert world.pods_of(2) == 0
    for condition in ("Stalled", "RolledBack"):
        assert world.condition(condition).status == "True"
        assert world.condition(condition).reason == "ProgressDeadlineExceeded"
    assert "opset 99" in world.condition("Ready").message
    assert world.reasons() == ["RolloutStarted", "Planned", "ModelLoadFailed", "ProgressDeadlineExceeded"]


def test_a_canary_that_waits_for_room_beyond_the_deadline_still_takes_over() -> None:
    world = serving(rollout={"steps": STEPS, "progressDeadline": "1m"})
    world.cluster.crowded = True
    world.move_to(2)
    world.run(90)
    assert world.condition("Stalled").reason == "ProgressDeadlineExceeded"
    assert world.split() == {"1": 100}
    world.cluster.crowded = False
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}
    assert world.condition("Stalled").status == "False"
    assert world.status.last_failure is not None
    assert world.status.last_failure.reason == "Unschedulable"


def test_a_canary_that_loses_its_pods_loses_its_requests_and_gets_them_back() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 25)
    canary = world.name_of(2)
    world.cluster.kill_pod([p.revision for p in world.cluster.pods].index(canary))
    world.look()
    assert world.split() == {"1": 100}
    world.until(lambda w: w.weight(2) > 0)
    assert world.weight(2) == 25
    world.settle()
    assert world.split() == {"2": 100}


def test_a_lost_canary_pod_after_a_long_hold_is_not_called_stalled() -> None:
    world = serving(rollout={"steps": [{"weight": 25, "hold": "10m"}], "progressDeadline": "1m"})
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 25)
    world.run(120)
    canary = world.name_of(2)
    world.cluster.kill_pod([p.revision for p in world.cluster.pods].index(canary))
    world.look()
    assert world.condition("Stalled").status == "False"


@pytest.mark.parametrize("lagging", ["http", "grpc"])
def test_weight_waits_until_every_router_knows_both_clusters(lagging: str) -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.pods_of(2) == 1)
    world.run(10)
    observed = world.cluster.observe()
    assert world.weight(2) == 5
    world = serving()
    world.move_to(2)
    for _ in range(40):
        world.cluster.step()
        setattr(world.cluster.routers[0], lagging, {})
        world.look()
        assert world.weight(2) == 0
    assert len(observed.reports) == 2
    world.settle()
    assert world.ready


def test_paused_never_raises_and_serving_goes_on() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 5)
    world.edit(paused=True)
    for _ in range(60):
        world.tick()
        assert world.split() == {"1": 95, "2": 5}
    assert world.status.phase == "Paused"
    assert world.condition("Paused").status == "True"
    assert world.condition("Available").status == "True"
    assert world.condition("Stalled").status == "False"
    assert world.reasons().count("Paused") == 1


def test_a_rollout_goes_on_after_a_pause_and_is_never_called_stalled() -> None:
    world = serving(rollout={"steps": STEPS, "progressDeadline": "30s"})
    world.move_to(2)
    world.until(lambda w: w.status.canary is not None)
    world.edit(paused=True)
    world.run(90)
    assert world.weight(2) == 0
    world.edit(paused=False)
    while not world.ready:
        world.tick()
        assert world.condition("Stalled").status == "False", world.condition("Stalled")
    assert "Resumed" in world.reasons()


def test_a_first_rollout_is_not_held_by_paused() -> None:
    world = World()
    world.edit(paused=True)
    world.settle()
    assert world.ready


def test_an_empty_list_of_steps_promotes_as_soon_as_the_revision_is_ready() -> None:
    world = serving(rollout={"steps": []})
    world.move_to(2)
    shares = set()
    while not world.ready:
        world.tick()
        shares.add(world.weight(2))
    assert shares == {0, 100}


def test_a_last_step_of_100_percent_is_held_and_promoted() -> None:
    world = serving(rollout={"steps": [{"weight": 100, "hold": "10s"}]})
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 100)
    begin = world.cluster.now
    world.until(lambda w: w.ready, limit=30)
    assert world.cluster.now - begin >= timedelta(seconds=10)


@pytest.mark.parametrize(("replicas", "pods"), [(1, [1, 1, 1, 1]), (4, [1, 1, 2, 4]), (10, [1, 3, 5, 10])])
def test_pods_for_a_step_are_ready_before_its_weight(replicas: int, pods: list[int]) -> None:
    world = serving(replicas=replicas)
    world.move_to(2)
    seen: dict[int, int] = {}
    while not world.ready:
        world.tick()
        canary = [p for p in world.cluster.pods if p.revision == world.name_of(2)] if world.pods_of(2) else []
        if world.weight(2) not in seen:
            seen[world.weight(2)] = sum(p.ready for p in canary)
        stable = [p for p in world.cluster.pods if p.revision == world.name_of(1) and p.ready]
        assert len(stable) == replicas or world.ready
    assert [seen[w] for w in (5, 25, 50, 100)] == pods


@pytest.mark.parametrize("shorter", [[], [{"weight": 10, "hold": "1s"}], [{"weight": 90, "hold": "5s"}]])
def test_steps_may_be_edited_in_mid_rollout(shorter: list[dict[str, object]]) -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 50)
    world.edit(rollout={"steps": shorter})
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}


def test_an_edit_of_the_server_is_a_rollout_of_the_same_bundle() -> None:
    world = serving()
    first = world.name_of(1)
    world.edit(server={"image": "tidegate/triton-cpu:2", "accelerator": "CPU"})
    world.settle()
    assert world.ready
    assert world.status.stable is not None
    assert world.status.stable.revision != first
    assert world.jobs_made == set()


def test_requests_go_to_the_canary_while_stable_has_no_pod() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 25 and w.status.rollout is not None and w.status.rollout.step_started_at)
    stable = world.name_of(1)
    world.cluster.kill_pod([p.revision for p in world.cluster.pods].index(stable))
    world.look()
    assert world.split() == {"2": 100}
    world.tick()
    world.until(lambda w: w.weight(1) > 0, limit=20)
    assert world.split() == {"1": 75, "2": 25}


def test_a_first_revision_that_serves_unseen_keeps_serving_when_the_next_one_comes() -> None:
    world = World()
    world.until(lambda w: w.weight(1) == 100)
    for router in world.cluster.routers:
        router.reachable = False
    world.run(5)
    world.move_to(2)
    world.run(10)
    assert world.split() == {"1": 100}
    for router in world.cluster.routers:
        router.reachable = True
    world.settle()
    assert world.split() == {"2": 100}


def test_an_evicted_pod_of_the_old_revision_holds_nothing_up() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 50)
    old = world.name_of(1)
    world.cluster.evicted.append(old)
    world.cluster.evicted.append(world.name_of(2))
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}
    assert [b.revision for b in world.cluster.table.routes["digits"].backends] == [world.name_of(2)]  # type: ignore[union-attr]
