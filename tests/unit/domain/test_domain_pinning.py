"""Promises to those who name a revision: the names follow the rollout, and no rollout waits for a name."""

import pytest
from domain_world import World, serving

from tidegate.domain.routing import Backend, Route, RouterReport, names_like, route_version, serves


def roles(world: World) -> dict[str, str]:
    """Roles as last written, by version of the bundle."""
    assert world.cluster.table is not None
    found = world.cluster.table.routes[world.cluster.subject.name].backends
    return {world.cluster.revisions[b.revision].revision.version: b.role for b in found}


def test_the_first_revision_is_stable_from_the_start() -> None:
    world = World()
    world.until(lambda w: w.cluster.table is not None and bool(roles(w)))
    assert roles(world) == {"1": "stable"}
    world.settle()
    assert roles(world) == {"1": "stable"}


def test_a_canary_can_be_named_before_it_has_any_weight_and_is_stable_once_promoted() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: "2" in roles(w))
    assert roles(world) == {"1": "stable", "2": "canary"}
    assert world.weight(2) == 0
    world.until(lambda w: "canary" not in roles(w).values())
    assert roles(world) == {"1": "", "2": "stable"}
    world.settle()
    assert roles(world) == {"2": "stable"}


def test_a_revision_stays_while_some_router_still_takes_it_for_stable() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 100 and w.status.rollout is not None)
    world.until(lambda w: w.status.rollout is None)
    world.cluster.routers[0].deaf = True
    world.run(30)
    assert world.ready, "a name that is late is no reason to report anything"
    assert world.pods_of(1) == 1
    world.cluster.routers[0].deaf = False
    world.settle()
    assert world.pods_of(1) == 0


def test_a_canary_that_joins_without_weight_delays_no_verdict_on_the_split() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: "2" in roles(w))
    for router in world.cluster.routers:
        router.deaf = True
    world.run(2)
    assert world.condition("Routed").status == "True"


STABLE, CANARY = Backend(revision="a", weight=100, role="stable"), Backend(revision="b", weight=0, role="canary")


def route(*backends: Backend, **fields: int) -> Route:
    return Route(model="digits", port=20000, **{"timeout_seconds": 30} | fields, backends=backends)


def served(wanted: Route) -> RouterReport:
    return RouterReport(pod="r", routes={"digits": route_version(wanted)})


BASE = route(STABLE, CANARY)


@pytest.mark.parametrize(
    ("other", "split_is_equal"),
    [
        pytest.param(route(STABLE), True, id="no canary"),
        pytest.param(route(STABLE.model_copy(update={"role": ""}), CANARY), True, id="another role"),
        pytest.param(route(STABLE, CANARY.model_copy(update={"digest": "sha256:1"})), True, id="digest without weight"),
        pytest.param(route(STABLE, CANARY.model_copy(update={"weight": 5})), False, id="a weight"),
        pytest.param(route(STABLE.model_copy(update={"digest": "sha256:1"}), CANARY), False, id="digest in answers"),
        pytest.param(route(STABLE, CANARY, timeout_seconds=31), False, id="the time-out"),
    ],
)
def test_what_is_waited_for_is_the_split_and_what_is_repeated_is_everything(other: Route, split_is_equal: bool) -> None:
    assert serves(served(BASE), BASE)
    assert names_like(served(BASE), BASE)
    assert serves(served(other), BASE) is split_is_equal
    assert not names_like(served(other), BASE)
