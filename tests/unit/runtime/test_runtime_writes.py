"""What a plan about the observer becomes in the cluster."""

from typing import Any

from domain_world import World, serving

from tidegate.domain.observed import Observed, Raw
from tidegate.domain.plan import Poke
from tidegate.resources.settings import Settings
from tidegate.runtime.writes import carry_out

SETTINGS = Settings(packager_image="p", router_image="r", observer_image="o")
KINDS = {"ConfigMap", "Deployment", "NetworkPolicy", "Service"}


class Written:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.applied: list[dict[str, Any]] = []
        self.deleted: list[Raw] = []

    def apply(self, manifest: dict[str, Any], *, force: bool) -> None:
        self.applied.append(manifest)

    def delete(self, existing: Raw) -> None:
        self.deleted.append(existing)

    def poke(self, namespace: str, poke: Poke) -> None:
        pass

    def observer(self) -> list[dict[str, Any]]:
        """What was applied of the observer."""
        return [m for m in self.applied if m["metadata"]["name"] == "tidegate-observer"]


def shadowing() -> World:
    """Version 2 is in its shadow step."""
    world = serving(rollout={"steps": [{"shadow": {"hold": "1h"}}]})
    outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]
    world.cluster.store = {uri: report | {"outputs": outputs} for uri, report in world.cluster.store.items()}
    world.move_to(2)
    world.until(lambda w: w.status.rollout is not None and w.status.rollout.step_started_at is not None)
    world.look()
    return world


def seen(world: World, observer: tuple[Raw, ...] = ()) -> Observed:
    """The snapshot with versions, as an API server gives them."""
    observed = world.observe()
    router = tuple({**o, "metadata": {**o["metadata"], "resourceVersion": "5"}} for o in observed.router)
    return Observed(**{**vars(observed), "router": router, "observer": observer})


def test_an_observer_is_there_while_a_model_is_watched() -> None:
    world, written = shadowing(), Written()
    carry_out(written, seen(world), world.plan, SETTINGS)
    assert {m["kind"] for m in written.observer()} == KINDS
    (config,) = [m for m in written.observer() if m["kind"] == "ConfigMap"]
    assert "resourceVersion" not in config["metadata"]
    names = [m["metadata"]["name"] for m in written.applied]
    router = next(i for i, m in enumerate(written.applied) if m["kind"] == "ConfigMap" and "router" in names[i])
    assert names.index("tidegate-observer") < router, "a router hands over to an observer that nobody asked for yet"


def test_an_observer_that_is_as_it_should_be_costs_no_write() -> None:
    world, first = shadowing(), Written()
    carry_out(first, seen(world), world.plan, SETTINGS)
    there = tuple({**m, "metadata": {**m["metadata"], "resourceVersion": "9"}} for m in first.observer())
    again = Written()
    carry_out(again, seen(world, there), world.plan, SETTINGS)
    assert again.observer() == []
    assert again.deleted == []


def test_an_observer_goes_when_nothing_is_watched_any_more() -> None:
    world, first = shadowing(), Written()
    carry_out(first, seen(world), world.plan, SETTINGS)
    there = tuple(first.observer())
    world.ask("abort", "now")
    world.look()
    last = Written()
    carry_out(last, seen(world, there), world.plan, SETTINGS)
    assert {m["kind"] for m in last.deleted if m["metadata"]["name"] == "tidegate-observer"} == KINDS
    assert last.observer() == []
