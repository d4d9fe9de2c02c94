"""Suspend, scale, lost memory, failed resolves, conflicts: told as stories over the simulated cluster."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from domain_objects import container, digest, job, make_spec, pod, uri, wire_time
from domain_world import BEGIN, World, serving

from tidegate.domain.artifact import resolve, resolve_key, retry_delay
from tidegate.domain.compute import compute
from tidegate.domain.observed import TABLE_KEY, Observed, Owner
from tidegate.domain.plan import Workload
from tidegate.domain.routing import FIRST_PORT, MODELS_PER_ROUTER, Route, Table


def test_suspend_frees_every_pod_and_resume_needs_no_new_resolve() -> None:
    world = serving(replicas=3)
    world.edit(suspend=True)
    world.settle()
    assert world.cluster.pods == []
    assert world.status.phase == "Suspended"
    assert (world.condition("Available").status, world.condition("Available").reason) == ("False", "Suspended")
    assert world.status.ready == "0/0"
    assert world.reasons() == ["Suspended"]
    world.edit(suspend=False)
    world.settle()
    assert world.ready
    assert world.status.ready == "3/3"
    assert world.jobs_made == set()


def test_a_resumed_model_is_not_ready_before_the_routers_find_its_pods() -> None:
    world = serving(replicas=2)
    world.edit(suspend=True)
    world.settle()
    world.edit(suspend=False)
    for _ in range(200):
        world.tick()
        if world.ready:
            break
        if sum(pod.ready for pod in world.cluster.observe().pods(world.name_of(1))) == 2:
            assert world.condition("Ready").reason in ("Starting", "Routing", "Suspended")
    ready = {pod.address for pod in world.cluster.observe().pods(world.name_of(1)) if pod.ready}
    for router in world.cluster.routers:
        assert ready <= router.http[world.name_of(1)]
        assert ready <= router.grpc[world.name_of(1)]


def test_suspend_in_mid_rollout_frees_every_pod() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 25)
    world.edit(suspend=True)
    world.settle()
    assert world.cluster.pods == []
    world.edit(suspend=False)
    world.settle()
    assert world.split() == {"2": 100}


def test_suspend_does_not_carry_a_paused_rollout_over() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 25)
    world.edit(paused=True)
    world.tick()
    world.edit(suspend=True)
    world.settle()
    assert world.cluster.pods == []
    world.edit(suspend=False)
    world.until(lambda w: w.pods_of(1) == 1 and w.pods_of(2) == 1)
    world.run(60)
    assert world.split() == {"1": 100}
    world.edit(paused=False)
    world.settle()
    assert world.split() == {"2": 100}


def test_a_suspended_model_says_so_even_before_its_first_pod() -> None:
    world = World(make_spec(suspend=True))
    world.settle()
    assert world.status.phase == "Suspended"
    assert world.cluster.pods == []
    world.edit(suspend=False)
    world.settle()
    assert world.ready


def test_zero_replicas_is_ready_and_available_says_why_not() -> None:
    world = serving()
    world.edit(replicas=0)
    world.settle()
    assert world.cluster.pods == []
    assert world.ready
    assert world.condition("Ready").reason == "ScaledToZero"
    assert world.condition("Available").reason == "ScaledToZero"
    assert world.status.ready == "0/0"
    world.edit(replicas=2)
    world.settle()
    assert world.ready
    assert world.status.ready == "2/2"


def test_scaling_never_moves_weights_or_other_pods() -> None:
    world = serving(replicas=2)
    old = {p.name for p in world.cluster.pods}
    world.edit(replicas=4)
    world.tick()
    assert world.condition("Ready").reason == "Starting"
    assert world.status.ready in {"2/4"}
    world.settle()
    assert old < {p.name for p in world.cluster.pods}
    assert world.status.ready == "4/4"
    world.edit(replicas=1)
    world.settle()
    assert len(world.cluster.pods) == 1
    assert world.status.ready == "1/1"
    assert world.reasons() == ["Ready"]
    assert world.split() == {"1": 100}


def test_scaling_in_mid_rollout_sizes_both_revisions() -> None:
    world = serving(replicas=2)
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 50)
    world.edit(replicas=6)
    world.until(lambda w: w.pods_of(1) == 6 and w.pods_of(2) >= 3)
    world.settle()
    assert world.pods_of(2) == 6
    assert world.pods_of(1) == 0


@pytest.mark.parametrize("share", [5, 25, 50])
def test_a_lost_status_in_mid_rollout_comes_to_the_same_end_and_stable_keeps_its_requests(share: int) -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == share)
    world.lose_status()
    while not world.ready:
        world.tick()
        stable = world.status.stable
        if stable and stable.revision == world.name_of(1):
            assert world.weight(1) >= 50 or world.weight(2) == 100
        assert stable is not None
    world.settle()
    assert world.split() == {"2": 100}
    assert world.jobs_made == {n for n in world.jobs_made if "-0" in n}


@pytest.mark.parametrize("share", [5, 25, 50])
def test_a_lost_status_takes_nothing_away_from_stable(share: int) -> None:
    world = serving(
        rollout={
            "steps": [
                {"weight": 5, "hold": "1s"},
                {"weight": 25, "hold": "1s"},
                {"weight": 50, "hold": "1s"},
                {"weight": 75, "hold": "30s"},
            ]
        }
    )
    world.move_to(2)
    world.until(lambda w: w.weight(2) == share)
    before = world.weight(1)
    world.lose_status()
    world.look()
    assert world.weight(1) >= before
    assert world.status.stable is not None
    assert world.status.stable.revision == world.name_of(1)


def test_a_lost_status_at_75_percent_keeps_the_roles() -> None:
    world = serving(rollout={"steps": [{"weight": 75, "hold": "30s"}]})
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 75)
    world.lose_status()
    world.look()
    assert world.weight(1) >= 25
    assert world.status.stable is not None
    assert world.status.stable.revision == world.name_of(1)
    begin = world.cluster.now
    world.until(lambda w: w.ready)
    assert world.cluster.now - begin >= timedelta(seconds=30)


def test_a_lost_status_in_rest_changes_nothing_but_status() -> None:
    world = serving(replicas=2)
    before, plan = world.status, world.plan
    world.lose_status()
    world.settle()
    assert world.ready
    assert world.plan.workloads == plan.workloads
    assert world.plan.table == plan.table
    assert world.jobs_made == set()
    kept = {"artifact", "stable", "port", "url", "phase", "ready", "replicas"}
    assert world.status.model_dump(include=kept - {"artifact"}) == before.model_dump(include=kept - {"artifact"})
    assert world.status.artifact is not None
    assert world.status.artifact.digest == digest(1)


def test_a_lost_status_forgets_no_former_revision() -> None:
    world = serving()
    world.move_to(2)
    world.settle()
    world.lose_status()
    world.settle()
    world.jobs_made.clear()
    world.move_to(1)
    world.settle()
    assert world.split() == {"1": 100}
    assert len(world.cluster.revisions) == 2, "the way back made a new revision"


def test_a_rollback_to_a_former_revision_needs_no_resolve() -> None:
    world = serving()
    world.move_to(2)
    world.settle()
    world.jobs_made.clear()
    world.cluster.store_down = True
    first = world.name_of(1)
    world.move_to(1)
    world.settle()
    assert world.ready
    assert world.jobs_made == set()
    assert world.status.stable is not None
    assert world.status.stable.revision == first
    assert [r.revision for r in world.status.revisions] == [first, world.name_of(2)]


def test_history_keeps_as_many_former_revisions_as_the_limit_says() -> None:
    world = serving(revisionHistoryLimit=1)
    for version in (2, 3, 4):
        world.move_to(version)
        world.settle()
    assert [r.uri for r in world.status.revisions] == [uri(4), uri(3)]
    assert sorted(r.revision.version for r in world.cluster.revisions.values()) == ["3", "4"]


def test_a_resolved_version_stays_pinned_when_its_pointer_moves() -> None:
    world = serving()
    assert world.status.artifact is not None
    assert world.status.artifact.digest == digest(1)
    world.cluster.store[uri(1)] = {"digest": digest(5), "name": "digits", "version": "1"}
    world.edit(server={"image": "tidegate/triton-cpu:2"})
    world.settle()
    assert world.status.stable is not None
    assert world.status.stable.digest == digest(1)


def test_the_same_bundle_from_another_store_is_another_revision() -> None:
    world = serving()
    world.cluster.store["s3://other/digits:1"] = {"digest": digest(1), "name": "digits", "version": "1"}
    world.edit(model={"uri": "s3://other/digits:1"})
    world.settle()
    assert world.ready
    load: Workload = next(iter(world.cluster.workloads.values()))
    assert load.revision.revision.bundle_uri == f"s3://other/digits@{digest(1)}"


def test_a_failed_resolve_is_tried_again_later_and_later_and_recovers() -> None:
    world = World()
    world.cluster.store_down = True
    starts: dict[int, float] = {}
    for _ in range(400):
        world.tick()
        for state in world.cluster.jobs.values():
            starts.setdefault(state.asked.attempt, (world.cluster.now - BEGIN).total_seconds())
    gaps = [starts[n + 1] - starts[n] for n in range(7)]
    for gap, delay in zip(gaps, (5, 10, 20, 40, 60, 60, 60), strict=True):
        assert delay <= gap <= delay + 4, gaps
    assert world.condition("ArtifactVerified").reason == "FetchFailed"
    assert "connection refused" in world.condition("Ready").message
    assert world.status.phase == "Failed"
    assert world.reasons() == ["FetchFailed"]
    world.cluster.store_down = False
    world.settle()
    assert world.ready


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 5), (1, 10), (2, 20), (3, 40), (4, 60), (9, 60), (5000, 60)])
def test_retry_delays_double_up_to_a_minute(attempt: int, seconds: int) -> None:
    assert retry_delay(attempt) == timedelta(seconds=seconds)


def test_a_failed_resolve_of_the_next_version_leaves_serving_alone() -> None:
    world = serving()
    world.move_to(9)
    world.run(200)
    assert world.split() == {"1": 100}
    assert world.status.phase == "Degraded"
    assert world.condition("Stalled").reason == "ArtifactNotFound"
    assert world.condition("Available").status == "True"
    world.move_to(1)
    world.settle()
    assert world.ready
    assert world.cluster.jobs == {}


def _with_job(conditions: list[dict[str, str]], *pods: dict[str, object]) -> Observed:
    world = World()
    named = job("digits-resolve-x-2", resolve_key(world.spec), 2, conditions)
    return replace(world.cluster.observe(), objects=(named, *pods))


def _job_pod(name: str, **state: object) -> dict[str, object]:
    return pod(name, labels={"job-name": "digits-resolve-x-2"}, containers=[container("resolve", **state)])


@pytest.mark.parametrize("kind", ["Failed", "Complete"])
def test_a_job_that_ended_without_a_word_is_tried_again(kind: str) -> None:
    ended = {
        "type": kind,
        "status": "True",
        "lastTransitionTime": wire_time(BEGIN),
        "message": "Job was active too long",
    }
    observed = _with_job([ended])
    waiting = resolve(make_spec(), None, observed, BEGIN + timedelta(seconds=5))
    assert waiting.job is not None
    assert (waiting.job.attempt, waiting.again) == (2, timedelta(seconds=15))
    assert waiting.cause is not None
    assert waiting.cause.reason == "FetchFailed"
    later = resolve(make_spec(), None, observed, BEGIN + timedelta(seconds=20))
    assert later.job is not None
    assert later.job.attempt == 3


def test_a_report_that_cannot_be_read_is_tried_again() -> None:
    ended = {"type": "Complete", "status": "True", "lastTransitionTime": wire_time(BEGIN)}
    said = json.dumps({"digest": 7})
    observed = _with_job([ended], _job_pod("p", terminated={"exitCode": 0, "message": said}))
    found = resolve(make_spec(), None, observed, BEGIN + timedelta(seconds=20))
    assert found.cause is not None
    assert found.cause.reason == "FetchFailed"
    assert found.job is not None
    assert found.job.attempt == 3


def test_a_packager_that_ends_without_a_report_is_not_called_a_triton_failure() -> None:
    observed = _with_job([], _job_pod("p", terminated={"exitCode": 137, "reason": "Error"}))
    found = resolve(make_spec(), None, observed, BEGIN)
    assert found.cause is not None
    assert found.cause.reason == "FetchFailed"
    assert "Triton" not in found.cause.message


def test_the_report_of_a_later_try_counts() -> None:
    failed = {"exitCode": 1, "message": json.dumps({"reason": "FetchFailed", "message": "refused"})}
    good = {"exitCode": 0, "message": json.dumps({"digest": digest(1), "name": "digits", "version": "1"})}
    observed = _with_job([], _job_pod("a", terminated=failed), _job_pod("b", terminated=good))
    found = resolve(make_spec(), None, observed, BEGIN)
    assert found.artifact is not None
    assert found.artifact.digest == digest(1)


def test_a_bundle_with_very_many_inputs_is_served() -> None:
    inputs = [{"name": f"x{i}", "datatype": "FP32", "shape": [1]} for i in range(80)]
    report = {"digest": digest(1), "name": "digits", "version": "1", "inputs": inputs}
    observed = _with_job([], _job_pod("a", terminated={"exitCode": 0, "message": json.dumps(report)}))
    found = resolve(make_spec(), None, observed, BEGIN)
    assert found.artifact is not None
    assert found.artifact.inputs is None


def test_a_service_of_somebody_else_is_never_touched() -> None:
    world = World()
    world.cluster.has_service = True
    world.cluster.service_owner = "somebody"
    world.run(100)
    assert world.cluster.pods == []
    assert world.plan.table is None
    assert world.plan.workloads == ()
    assert world.condition("Ready").reason == "NameConflict"
    assert world.condition("Available").reason == "NameConflict"
    assert world.condition("Stalled").status == "True"
    assert "another name" in world.condition("Ready").message
    assert world.reasons() == ["NameConflict"]
    world.cluster.has_service = False
    world.settle()
    assert world.ready


def test_an_own_service_is_no_conflict() -> None:
    world = World()
    world.cluster.has_service = True
    world.cluster.service_owner = "u-1"
    world.settle()
    assert world.ready


def _neighbours(count: int) -> Table:
    routes = {f"m{i}": Route(model=f"m{i}", port=FIRST_PORT + i, timeout_seconds=30) for i in range(count)}
    return Table(routes=routes)


def full(world: World) -> None:
    """As many neighbours as the first router takes."""
    world.cluster.others[0] = _neighbours(MODELS_PER_ROUTER)
    world.cluster.owners += [Owner(f"m{i}", f"n{i}") for i in range(MODELS_PER_ROUTER)]


def test_a_model_that_a_full_router_does_not_take_gets_a_second_one() -> None:
    world = World()
    full(world)
    world.settle()
    assert world.ready
    assert world.cluster.shard == 1
    assert world.cluster.table is not None
    assert list(world.cluster.table.routes) == ["digits"]
    assert world.status.port == FIRST_PORT, "every router has ports of its own"


def test_a_model_stays_with_its_router_though_the_first_one_has_room_again() -> None:
    world = World()
    full(world)
    world.settle()
    del world.cluster.owners[-1]
    world.cluster.others[0] = _neighbours(MODELS_PER_ROUTER - 1)
    world.move_to(2)
    world.settle()
    assert (world.cluster.shard, world.split()) == (1, {"2": 100})
    world.cluster.has_service, world.cluster.service_owner = True, "u-1"
    world.cluster.table = None
    world.settle()
    assert world.cluster.shard == 1, "its Service still leads there though the table was lost"


def test_routes_of_models_that_are_gone_make_room() -> None:
    world = World()
    world.cluster.put_table(_neighbours(MODELS_PER_ROUTER))
    world.settle()
    assert world.ready
    assert world.cluster.table is not None
    assert list(world.cluster.table.routes) == ["digits"]


def test_a_model_keeps_its_port_and_never_takes_a_neighbours() -> None:
    world = World()
    world.cluster.owners.append(Owner("m0", "n0"))
    world.cluster.put_table(_neighbours(1))
    world.settle()
    assert world.status.port == FIRST_PORT + 1
    world.cluster.owners.pop()
    world.settle()
    assert world.status.port == FIRST_PORT + 1
    assert world.ready


def test_a_table_that_cannot_be_read_is_written_anew_with_the_same_port() -> None:
    world = serving()
    port = world.status.port
    observed = world.cluster.observe()
    broken = {"kind": "ConfigMap", "metadata": {"name": "tidegate-router"}, "data": {TABLE_KEY: "{"}}
    router = tuple(broken if o["kind"] == "ConfigMap" else o for o in observed.router)
    plan, _ = compute(world.spec, world.status, replace(observed, router=router), world.cluster.now)
    assert plan.table is not None
    assert plan.table.routes["digits"].port == port
    assert plan.table == world.cluster.table


def test_the_routes_name_the_digest_of_each_revision() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 5)
    assert world.cluster.table is not None
    assert {b.digest for b in world.cluster.table.routes["digits"].backends} == {digest(1), digest(2)}


def test_a_stable_revision_whose_memory_was_deleted_serves_until_the_next_one_does() -> None:
    world = serving(1)
    old = world.name_of(1)
    world.edit(server={"image": "tidegate/triton-cpu:broken"})
    world.cluster.revisions.pop(old)
    world.cluster.taken_away.add(old)
    world.run(2)
    assert world.cluster.workloads[old], "the pods that served were taken away"
    assert world.cluster.table
    assert world.cluster.table.routes["digits"].weight(old) == 100
    world.settle()
    assert world.ready
    assert old not in world.cluster.workloads


def test_the_memory_of_the_wanted_revision_is_written_anew() -> None:
    world = serving(1)
    name = world.name_of(1)
    pods = world.pods_of(1)
    world.cluster.revisions.pop(name)
    world.look()
    world.settle()
    assert name in world.cluster.revisions
    assert world.pods_of(1) == pods
