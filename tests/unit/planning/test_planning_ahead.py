"""Promises about plans: they are what the operator then does, and they say so in words."""

from collections.abc import Callable
from typing import Any

import pytest
from domain_objects import STEPS, edited, make_spec, uri
from domain_world import World, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_cases import snapshot

from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.planning import ahead
from tidegate.planning.ahead import look_ahead
from tidegate.planning.outlook import Outlook
from tidegate.planning.rehearsal import rehearse
from tidegate.planning.render import text

Edit = dict[str, Any]
PINNED = {"uri": f"s3://models/digits@sha256:{'2' * 64}"}


def outlook(world: World, **fields: Any) -> Outlook:
    """What an edit of top-level fields would do."""
    return look_ahead(snapshot(world, edited(world.spec, **fields)))


def rolling() -> World:
    """Version 2 is taking over from version 1, at its first step."""
    world = serving(1)
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 5)
    return world


def lines(found: Outlook) -> str:
    """The text without its alignment."""
    return "\n".join(" ".join(line.split()) for line in text(found).splitlines())


def test_a_file_that_asks_for_what_is_there_changes_nothing() -> None:
    found = outlook(serving(1))
    assert (found.outcome, found.changes, found.writes, found.events, found.waits) == ("Unchanged", (), (), (), ())
    assert "ModelDeployment vision/digits: nothing would change." in text(found)


def test_a_rollout_under_way_is_no_change_of_the_file() -> None:
    found = outlook(rolling())
    assert (found.outcome, found.writes, found.events) == ("Unchanged", (), ())
    assert found.rollout is not None
    assert found.rollout.course == "Continues"
    assert "which is taking over from digits-" in text(found)
    assert "It is under way: Revision digits-" in text(found)


def test_more_pods_are_no_new_revision() -> None:
    world = serving(1)
    found = outlook(world, replicas=3)
    assert found.revision is not None
    assert found.rollout is not None
    assert (found.revision.kind, found.rollout.course) == ("Same", "None")
    assert [(p.now, p.first, p.end) for p in found.pods] == [(1, 3, 3)]
    assert [(w.action, w.kind, w.name) for w in found.writes] == [("change", "Deployment", world.name_of(1))]
    assert "spec.replicas: 1 -> 3" in text(found)
    assert "so no pod is replaced" in text(found)
    assert "1 of 3 pods are ready" in text(found)


def test_a_new_server_flag_is_a_new_revision_and_the_field_is_named() -> None:
    world = serving(1)
    found = outlook(world, server={"args": ["--log-verbose=1"]})
    assert found.revision is not None
    assert (found.revision.kind, found.revision.serving) == ("New", world.name_of(1))
    assert [(c.field, c.before, c.after) for c in found.revision.differs] == [("server.args", [], ["--log-verbose=1"])]
    created = {(w.kind, w.name) for w in found.writes if w.action == "create"}
    name = found.revision.revision
    assert created == {("ControllerRevision", name), ("Deployment", name), ("Service", name)}
    assert {w.when for w in found.writes} == {"AtOnce"}


def test_every_step_of_a_rollout_is_told_with_its_time() -> None:
    rollout = {"steps": STEPS, "progressDeadline": "15m", "bake": {"duration": "10m", "keepReplicas": 1}}
    found = outlook(serving(1), server={"args": ["--log-verbose=1"]}, rollout=rollout)
    assert found.rollout is not None
    assert (found.rollout.shortest_seconds, found.rollout.longest_seconds) == (30, 30 + 4 * 15 * 60)
    told = lines(found)
    for line in ("1. 5 % of requests, held for 10s", "3. 50 % of requests, held for 10s", "4. all requests"):
        assert line in told
    assert "stays warm: duration 10m, keepReplicas 1." in told
    assert "At the earliest it is through 30s after its pods are ready" in told
    assert "each of its moves may take 15m, so after 1h30s it is through or said to stand still" in told


def test_a_version_whose_digest_a_job_must_read_first_is_planned_all_the_same() -> None:
    world = serving(1)
    found = outlook(world, model={"uri": uri(2)}, replicas=3)
    assert found.revision is not None
    assert (found.revision.digest_known, found.revision.revision) == (False, "digits-(new)")
    at_once = {(w.action, w.kind) for w in found.writes if w.when == "AtOnce"}
    assert at_once == {("create", "Job"), ("change", "Deployment")}
    later = {(w.action, w.kind, w.name) for w in found.writes if w.when == "Resolved"}
    assert ("create", "Deployment", "digits-(new)") in later
    assert not {(w.action, w.kind, w.name) for w in found.writes if w.when == "AtOnce"} & later
    assert [(p.revision, p.now, p.first, p.end) for p in found.pods] == [
        (world.name_of(1), 1, 3, 0),
        ("digits-(new)", 0, 1, 3),
    ]
    assert "a Job reads first" in text(found)
    assert "Its contract is compared with the serving one first" in text(found)
    assert "0000" not in found.model_dump_json(), "the assumed digest shows"


def test_a_pinned_digest_gives_the_name_that_the_revision_will_have() -> None:
    world = serving(1)
    found = outlook(world, model=PINNED)
    assert found.revision is not None
    assert found.revision.digest_known
    world.cluster.store[PINNED["uri"]] = world.cluster.store[uri(2)]
    world.edit(model=PINNED)
    world.settle()
    assert world.name_of(2) == found.revision.revision


def test_without_clients_to_protect_no_contract_is_compared() -> None:
    assert "Its contract" not in text(outlook(serving(1), model={"uri": uri(2), "allowBreaking": True}))
    world = World(make_spec(1))
    assert "Its contract" not in text(look_ahead(snapshot(world, world.spec, exists=False)))


def test_back_to_what_serves_is_at_once_and_gives_the_rollout_up() -> None:
    world = rolling()
    found = outlook(world, model={"uri": uri(1)})
    assert found.rollout is not None
    assert (found.rollout.course, found.rollout.supersedes) == ("Ends", world.name_of(2))
    assert f"The rollout of {world.name_of(2)}, which is under way, is given up." in text(found)
    assert any(event.startswith("RolledBack: ") for event in found.events)


def test_another_revision_in_the_middle_of_a_rollout_supersedes_it() -> None:
    world = rolling()
    found = outlook(world, server={"args": ["--log-verbose=1"]})
    assert found.rollout is not None
    assert (found.rollout.course, found.rollout.supersedes) == ("Starts", world.name_of(2))
    assert any(event.startswith("Superseded: ") for event in found.events)


def test_a_revision_that_was_made_before_is_recognised() -> None:
    world = serving(1)
    world.move_to(2)
    world.settle()
    found = outlook(world, model={"uri": uri(1)})
    assert found.revision is not None
    assert (found.revision.kind, found.revision.revision) == ("Known", world.name_of(1))
    assert f"{world.name_of(1)}, which was made before; {world.name_of(2)} serves now." in text(found)
    assert "gets them again as soon as it is ready, without steps." in text(found)
    assert found.rollout is not None
    assert found.rollout.steps == ()


def test_a_suspended_model_changes_at_once() -> None:
    found = outlook(rolling(), suspend=True)
    assert found.rollout is not None
    assert found.rollout.course == "AtOnce"
    assert [(p.first, p.end) for p in found.pods] == [(0, 0), (0, 0)]
    assert "it takes effect at once, without steps" in text(found)


def test_a_model_that_does_not_exist_is_a_first_rollout() -> None:
    world = World(make_spec(1, replicas=2))
    found = look_ahead(snapshot(world, world.spec, exists=False))
    assert (found.exists, found.outcome) == (False, "Changes")
    assert found.revision is not None
    assert found.revision.kind == "First"
    assert {w.action for w in found.writes} == {"create"}
    assert {"Job", "Service", "ConfigMap", "Deployment"} <= {w.kind for w in found.writes}
    assert "does not exist yet: it would be its first rollout." in text(found)
    assert "gets all requests as soon as it is ready" in text(found)


def test_a_name_that_belongs_to_somebody_else_is_refused() -> None:
    world = World(make_spec(1))
    world.cluster.has_service, world.cluster.service_owner = True, "somebody"
    found = look_ahead(snapshot(world, world.spec, exists=False))
    assert (found.outcome, found.writes) == ("Refused", ())
    assert text(found).startswith("ModelDeployment vision/digits: refused.\n  NameConflict: Service digits exists")


def test_what_stands_in_the_way_already_does_not_make_a_change_refused() -> None:
    world = serving(1)
    world.cluster.has_service, world.cluster.service_owner = True, "somebody"
    found = outlook(world, replicas=4)
    assert found.outcome == "Changes"
    assert [(p.now, p.first) for p in found.pods] == [(1, 1)], "the operator would touch nothing"
    assert "NameConflict: " in text(found)


def test_a_change_without_any_effect_on_pods_is_a_change() -> None:
    found = outlook(serving(1), revisionHistoryLimit=2)
    assert (found.outcome, found.writes) == ("Changes", ())


def test_a_sick_model_says_why_it_would_wait() -> None:
    world = serving(1)
    world.cluster.sick.add(world.cluster.store[uri(2)]["digest"])
    world.move_to(2)
    world.until(lambda w: any("ModelLoadFailed" in c.reason for c in w.status.conditions))
    found = outlook(world, replicas=2)
    assert any(wait.startswith("ModelLoadFailed: ") for wait in found.waits)


def test_a_snapshot_without_a_change_tells_what_the_operator_does_by_itself() -> None:
    world = serving(1)
    world.move_to(2)
    world.tick()
    while world.status.artifact and world.status.artifact.version == "1":
        world.cluster.step()
    found = look_ahead(snapshot(world))
    assert (found.outcome, found.changes) == ("Changes", ())
    assert "the operator would go on by itself." in text(found)


def test_what_the_operator_was_about_to_do_anyway_is_not_the_changes_doing() -> None:
    world = serving(1)
    world.edit(server={"args": ["--log-verbose=1"]})
    found = look_ahead(snapshot(world, world.spec))
    assert (found.outcome, found.writes, found.events) == ("Unchanged", (), ())
    more = outlook(world, replicas=3)
    assert {(w.action, w.kind) for w in more.writes} == {("change", "Deployment")}
    assert not [event for event in more.events if event.startswith("RolloutStarted")]


def test_without_a_change_the_routers_count_only_where_their_routes_do() -> None:
    world = serving(1)
    assert "tidegate-router" not in {w.name for w in look_ahead(snapshot(world)).writes}
    world.edit(traffic={"timeout": "5s"})
    moved = [(w.action, w.kind) for w in look_ahead(snapshot(world)).writes if w.name == "tidegate-router"]
    assert moved == [("change", "ConfigMap")]


def test_the_change_is_decided_as_a_generation_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def spy(*args: Any) -> Any:
        seen.append(args[2].subject.generation)
        return rehearse(*args)

    monkeypatch.setattr(ahead, "rehearse", spy)
    outlook(serving(1), replicas=3)
    outlook(serving(1))
    assert seen == [1, 2, 1, 1]


def test_nothing_to_decide_about_is_an_error() -> None:
    with pytest.raises(ValueError, match="neither a spec nor a proposed one"):
        look_ahead(snapshot(World(), exists=False))


EDITS: list[Edit] = [
    {"replicas": 3},
    {"replicas": 0},
    {"suspend": True},
    {"paused": True},
    {"model": {"uri": uri(1)}},
    {"model": PINNED},
    {"server": {"args": ["--log-verbose=1"]}},
    {"rollout": {"steps": []}},
    {"revisionHistoryLimit": 0},
    {"traffic": {"timeout": "5s"}},
]


def suspended() -> World:
    """Version 1 would serve."""
    world = serving(1, replicas=2)
    world.edit(suspend=True)
    world.settle()
    return world


WORLDS: list[Callable[[], World]] = [lambda: serving(1), rolling, suspended]


def acted_on(world: World, spec: ModelDeploymentSpec) -> World:
    """The same world one look after somebody applied the change."""
    world.edit(**spec.to_wire())
    world.look()
    return world


@pytest.mark.parametrize("make", WORLDS, ids=["serving", "rolling", "suspended"])
@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_the_plan_is_what_the_operator_does_next(make: Callable[[], World], edit: Edit) -> None:
    world = make()
    world.cluster.store[PINNED["uri"]] = world.cluster.store[uri(2)]
    wanted = edited(world.spec, **edit)
    before = dict(world.cluster.workloads)
    found = look_ahead(snapshot(world, wanted))
    acted_on(world, wanted)
    assert found.outcome == ("Unchanged" if wanted == make().spec else "Changes")
    made = {w.name for w in found.writes if (w.action, w.kind, w.when) == ("create", "Deployment", "AtOnce")}
    assert made == set(world.cluster.workloads) - set(before)
    gone = {w.name for w in found.writes if (w.action, w.kind) == ("delete", "Deployment")}
    assert gone == set(before) - set(world.cluster.workloads)
    if all(w.when == "AtOnce" for w in found.writes):
        sizes = {name: load.replicas for name, load in world.cluster.workloads.items()}
        assert {p.revision: p.first for p in found.pods if p.first} == {n: size for n, size in sizes.items() if size}
    jobs = {w.name for w in found.writes if (w.action, w.kind) == ("create", "Job")}
    assert jobs <= world.jobs_made
    assert set(found.events) <= {f"{e.reason}: {e.message}" for e in world.events}


@pytest.mark.parametrize("make", WORLDS[:2], ids=["serving", "rolling"])
@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_the_end_of_the_plan_is_where_the_operator_ends(make: Callable[[], World], edit: Edit) -> None:
    world = make()
    world.cluster.store[PINNED["uri"]] = world.cluster.store[uri(2)]
    wanted = edited(world.spec, **edit)
    found = look_ahead(snapshot(world, wanted))
    if edit.get("paused"):
        return
    acted_on(world, wanted)
    world.settle()
    sizes = {name: load.replicas for name, load in world.cluster.workloads.items() if load.replicas}
    assert {p.revision: p.end for p in found.pods if p.end} == sizes


@settings(max_examples=40, deadline=None)
@given(seconds=st.integers(0, 40), edit=st.sampled_from(EDITS), sick=st.booleans(), lost=st.booleans())
def test_at_any_moment_a_plan_is_made_and_told(seconds: int, edit: Edit, sick: bool, lost: bool) -> None:
    world = serving(1)
    if sick:
        world.cluster.sick.add(world.cluster.store[uri(2)]["digest"])
    world.move_to(2)
    world.run(seconds)
    if lost:
        world.lose_status()
    found = look_ahead(snapshot(world, edited(world.spec, **edit)))
    assert Outlook.model_validate(found.to_wire()) == found
    assert text(found).startswith("ModelDeployment vision/digits")
