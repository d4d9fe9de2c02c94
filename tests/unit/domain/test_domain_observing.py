"""Which models the observer watches, and when: a shadow step on its way, told over the simulated cluster."""

from typing import Any

import pytest
from domain_objects import router_pod
from domain_world import World, serving

from tidegate.domain.compute import compute
from tidegate.domain.labels import COMPONENT
from tidegate.domain.observed import WATCHING_KEY, Observed, Owner
from tidegate.domain.plan import Plan
from tidegate.domain.watching import Watched, WatchedOutput, Watching, watching_version

OUTPUTS = [{"name": "y", "datatype": "FP32", "shape": [-1, 10], "labelled": True}]
STEPS = [{"shadow": {"percent": 20, "hold": "1h"}}, {"weight": 50, "hold": "5s"}]
OTHER = Watched(
    model="faces", revisions=("faces-1", "faces-2"), outputs=(WatchedOutput(name="z", datatype="FP32", shape=(-1, 2)),)
)


def shadowing(outputs: list[dict[str, Any]] | None = OUTPUTS) -> World:
    """Version 2 is in its shadow step."""
    world = serving(rollout={"steps": STEPS})
    contract = {"maxBatchSize": 8} | ({"outputs": outputs} if outputs else {})
    world.cluster.store = {uri: report | contract for uri, report in world.cluster.store.items()}
    world.move_to(2)
    world.until(lambda w: w.status.rollout is not None and w.status.rollout.step_started_at is not None)
    return world


def decide(world: World, observed: Observed | None = None) -> Plan:
    """What the next look would ask for."""
    plan, _ = compute(world.spec, world.status, observed or world.observe(), world.cluster.now)
    return plan


def with_observer(world: World, watching: Watching, *, told: str = "", reports: str | None = None) -> Observed:
    """What is seen where an observer runs."""
    data = {WATCHING_KEY: watching.model_dump_json(by_alias=True)}
    pod = router_pod("observer-1", ready=True, told=told)
    pod["metadata"]["labels"][COMPONENT] = "observer"
    objects = ({"kind": "ConfigMap", "metadata": {"name": "tidegate-observer"}, "data": data}, pod)
    watched = {} if reports is None else {"observer-1": reports}
    return Observed(**{**vars(world.observe()), "observer": objects, "watched": watched})


def test_a_shadow_step_hands_a_share_of_requests_to_the_observer() -> None:
    world = shadowing()
    plan = decide(world)
    assert plan.route is not None
    assert plan.route.sample_percent == 20
    assert plan.watching is not None
    watched = plan.watching.models["digits"]
    assert watched.revisions == (world.name_of(1), world.name_of(2))
    assert watched.outputs == (WatchedOutput(name="y", datatype="FP32", shape=(-1, 10), labelled=True),)
    assert watched.max_batch_size == 8


def test_nothing_is_watched_without_a_shadow_step() -> None:
    world = shadowing()
    world.ask("promote", "now")
    world.until(lambda w: w.weight(2) == 50)
    plan = decide(world)
    assert plan.watching == Watching()
    assert plan.route is not None
    assert plan.route.sample_percent == 0


def test_nothing_is_watched_once_a_rollout_was_given_up() -> None:
    world = shadowing()
    world.ask("abort", "now")
    world.look()
    assert decide(world).watching == Watching()


def test_a_contract_that_is_not_known_is_not_compared_and_holds_the_rollout() -> None:
    world = shadowing(outputs=None)
    assert decide(world).watching == Watching()
    world.run(30)
    assert world.split() == {"1": 100}
    assert world.status.phase == "Progressing"


@pytest.mark.parametrize("exists", [True, False])
def test_models_of_neighbours_stay_watched_while_they_exist(exists: bool) -> None:
    world = shadowing()
    observed = with_observer(world, Watching(models={"faces": OTHER}))
    owners = (*observed.owners, *([Owner("faces", "u-9")] if exists else []))
    plan = decide(world, Observed(**{**vars(observed), "owners": owners}))
    assert plan.watching is not None
    assert set(plan.watching.models) == ({"digits", "faces"} if exists else {"digits"})


def test_an_observer_is_told_at_once_and_again_where_it_did_not_hear() -> None:
    world = shadowing()
    wanted = decide(world).watching
    assert wanted is not None
    version = watching_version(wanted)

    def poked(told: str, reports: str | None) -> bool:
        observed = with_observer(world, wanted, told=told, reports=reports)
        return any(poke.pod == "observer-1" for poke in decide(world, observed).pokes)

    now, long_ago = f"{version}@{world.cluster.now.timestamp():.0f}", f"{version}@0"
    assert poked("", None)
    assert poked("other@0", "other")
    assert not poked(now, "other")
    assert poked(long_ago, "other")
    assert not poked(long_ago, version)
    assert not poked(long_ago, None), "an observer that says nothing is not there yet"


def test_a_text_that_cannot_be_read_is_written_anew() -> None:
    world = shadowing()
    observed = with_observer(world, Watching())
    broken = {"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {WATCHING_KEY: "no JSON"}}
    plan = decide(world, Observed(**{**vars(observed), "observer": (broken,)}))
    assert plan.watching is not None
    assert set(plan.watching.models) == {"digits"}


def test_a_revision_that_is_known_already_is_compared_as_well() -> None:
    world = shadowing()
    world.move_to(1)
    world.settle()
    world.move_to(2)
    world.until(lambda w: w.status.rollout is not None and w.status.rollout.step_started_at is not None)
    watching = decide(world).watching
    assert watching is not None
    assert set(watching.models) == {"digits"}
