"""Scenarios that a fault may strike anywhere, and the end that every one of them must come to."""

import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cluster_server
from cluster_requests import Fault
from cluster_stage import Stage
from domain_objects import uri
from kubernetes.client import ApiClient

Act = Callable[[Stage], None]
PARALLEL = 4
"""Cases at once: a case waits for controllers most of its time."""


def nothing(_: Stage) -> None:
    """An empty namespace."""


def serve(stage: Stage) -> None:
    """One version serves."""
    stage.create(replicas=1)
    stage.settle()


def rolling(stage: Stage) -> None:
    """The second version has half of the requests."""
    serve(stage)
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda now: now.weights().get("2") == 50)


def two_serve(stage: Stage) -> None:
    """Two models share a router."""
    stage.create("digits", replicas=1)
    stage.create("letters", 2, replicas=1)
    stage.settle()


@dataclass(frozen=True)
class Scenario:
    """What is there before, and what somebody does then."""

    before: Act
    act: Act


SCENARIOS = {
    "first rollout": Scenario(nothing, lambda stage: stage.create(replicas=1) and None),
    "rollout of a second version": Scenario(serve, lambda stage: stage.edit(model={"uri": uri(2)})),
    "way back midway": Scenario(rolling, lambda stage: stage.edit(model={"uri": uri(1)})),
    "deletion of one of two": Scenario(two_serve, lambda stage: stage.delete(name="letters")),
}


@dataclass(frozen=True)
class End:
    """How a scenario ended: every object, the writes it took, and whether a fresh operator found nothing to do."""

    objects: dict[str, Any]
    writes: tuple[str, ...]
    silent: bool
    errors: tuple[str, ...]


def play(connection: ApiClient, scenario: Scenario, fault: Fault | None = None) -> End:
    """Play a scenario to its end in a namespace of its own, with ``fault`` from the act on."""
    stage = Stage(connection, cluster_server.new_namespace(connection))
    try:
        scenario.before(stage)
        before = len(stage.client.writes)
        scenario.act(stage)
        if fault:
            stage.client.fault = fault
        stage.settle()
        writes = tuple(str(r) for r in stage.client.writes[before:])
        objects = settled_objects(stage)
        return End(objects, writes, _silent(stage), tuple(map(repr, stage.errors)))
    finally:
        cluster_server.drop_namespace(connection, stage.namespace)


def settled_objects(stage: Stage) -> dict[str, Any]:
    """The snapshot, once the garbage collector has removed what belonged to a deleted model."""
    names = set(stage.models())

    def collected() -> bool:
        owners = [o["metadata"].get("ownerReferences", ()) for k in ("Deployment", "Service") for o in stage.objects(k)]
        return all(r["name"] in names for references in owners for r in references)

    cluster_server.eventually(collected, "what belonged to a deleted model is gone", 90)
    stage.settle()
    return stage.snapshot()


def _silent(stage: Stage) -> bool:
    """True when a fresh operator writes nothing."""
    before = len(stage.client.writes)
    stage.restart()
    stage.look()
    return len(stage.client.writes) == before


@functools.cache
def undisturbed(connection: ApiClient, name: str) -> End:
    """How a scenario ends when nothing goes wrong."""
    return play(connection, SCENARIOS[name])


def compare(connection: ApiClient, name: str, faults: dict[str, Fault]) -> list[str]:
    """Play a scenario once for every fault; what ended otherwise than without any, in words."""
    wanted = undisturbed(connection, name)

    def case(label: str, fault: Fault) -> str | None:
        try:
            found = play(connection, SCENARIOS[name], fault)
        except AssertionError as error:
            return f"{label}: {error}"
        if found.objects != wanted.objects:
            return f"{label}: {_difference(wanted.objects, found.objects)}"
        return None if found.silent else f"{label}: a fresh operator still writes"

    with ThreadPoolExecutor(PARALLEL) as threads:
        return [said for said in threads.map(case, faults, faults.values()) if said]


def _difference(wanted: Any, found: Any) -> str:
    """The leaves that differ."""
    before, after = dict(_leaves("", wanted)), dict(_leaves("", found))
    places = [place for place in sorted(before.keys() | after.keys()) if before.get(place) != after.get(place)]
    return "; ".join(f"{p}: {after.get(p)!r:.200} instead of {before.get(p)!r:.200}" for p in places)


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield from _leaves(f"{place}.{key}", item)
    if not items:
        yield place, value
