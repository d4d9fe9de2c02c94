"""Several models in one namespace, and what does not belong to Tidegate."""

import json
from typing import Any

import pytest
from cluster_server import eventually
from cluster_stage import SETTINGS, Stage, normal
from domain_objects import digest, uri

from tidegate.domain import routing
from tidegate.domain.labels import SHARD
from tidegate.domain.routing import MODELS_PER_ROUTER, Backend, Route, Table
from tidegate.resources.router import config_map

SHOP = {"matchLabels": {"app": "shop"}}
FOREIGN = {
    "Service": ("v1", {"selector": {"app": "shop"}, "ports": [{"port": 80}]}),
    "PodDisruptionBudget": ("policy/v1", {"selector": SHOP}),
    "NetworkPolicy": ("networking.k8s.io/v1", {"podSelector": SHOP}),
}


def foreign(kind: str, name: str, **metadata: object) -> dict[str, object]:
    """An object that somebody made for something else."""
    version, spec = FOREIGN[kind]
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def untouched(stage: Stage, kind: str) -> dict[str, Any]:
    """The foreign object, without what its own controllers write."""
    found = stage.get(kind, "digits")
    assert found is not None
    return normal(found)


def test_two_models_share_the_router_and_have_ports_of_their_own(stage: Stage) -> None:
    stage.create("digits")
    stage.create("letters", 2)
    stage.settle()
    assert stage.ready("digits")
    assert stage.ready("letters")
    routes = stage.table()
    assert set(routes) == {"digits", "letters"}
    assert len({r["port"] for r in routes.values()}) == 2
    for name in ("digits", "letters"):
        service = stage.get("Service", name)
        assert service is not None
        assert {p["targetPort"] for p in service["spec"]["ports"]} == {routes[name]["port"]}
    assert len([o for o in stage.objects("Deployment") if o["metadata"]["name"] == "tidegate-router"]) == 1


def routers(stage: Stage) -> set[str]:
    """Objects of all routers."""
    return {found for found in stage.left() if "/tidegate-router" in found and not found.startswith("Pod/")}


ROUTER_OBJECTS = ("ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget")


def test_a_model_too_many_gets_a_router_of_its_own_which_goes_with_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "MODELS_PER_ROUTER", 1)
    stage.create("digits")
    stage.settle()
    alone = stage.snapshot()
    stage.create("letters", 2)
    stage.settle()
    assert stage.ready("digits")
    assert stage.ready("letters")
    first, second = ({f"{kind}/{name}" for kind in ROUTER_OBJECTS} for name in ("tidegate-router", "tidegate-router-1"))
    assert routers(stage) == first | second
    found = {name: stage.get("Service", name) for name in ("digits", "letters")}
    leads = {name: service["spec"]["selector"][SHARD] for name, service in found.items() if service}
    assert leads == {"digits": "0", "letters": "1"}
    assert routes_of(stage, "tidegate-router") == {"digits"}
    assert routes_of(stage, "tidegate-router-1") == {"letters"}
    with stage.silence():
        stage.look()
    stage.edit("letters", model={"uri": uri(3)})
    stage.settle()
    assert stage.weights("letters") == {"3": 100}
    stage.delete(name="letters")
    stage.settle()

    def gone() -> bool:
        return stage.snapshot() == alone

    eventually(gone, "the second router went with its model", seconds=60)
    assert routers(stage) == first
    assert stage.ready("digits")


def routes_of(stage: Stage, router: str) -> set[str]:
    """Models in the table of one router."""
    found = stage.get("ConfigMap", router)
    assert found is not None
    return set(json.loads(found["data"]["table.json"])["routes"])


def test_deleting_one_model_takes_its_routes_and_leaves_the_other_alone(stage: Stage) -> None:
    stage.create("digits")
    stage.settle()
    alone = stage.snapshot()
    stage.create("letters", 2)
    stage.settle()
    stage.delete(name="letters")
    stage.settle()
    assert set(stage.table()) == {"digits"}
    assert stage.ready("digits")

    def only_digits() -> bool:
        return stage.snapshot() == alone

    eventually(only_digits, "nothing of the other model is left", seconds=60)


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_object_of_the_same_name_is_refused_and_untouched(stage: Stage, kind: str) -> None:
    stage.put(foreign(kind, "digits"))
    before = untouched(stage, kind)
    stage.create()
    stage.settle(lambda now: bool(now.status()) and now.condition("Ready") == ("False", "NameConflict"))
    with stage.silence():
        stage.look()
    assert untouched(stage, kind) == before
    assert stage.condition("Stalled") == ("True", "NameConflict")
    assert f"{kind} digits exists and belongs to something else" in stage.status()["lastFailure"]["message"]
    assert [o for o in stage.left() if "digits" in o] == [f"{kind}/digits", "ModelDeployment/digits"]
    stage.delete(kind, "digits")
    stage.settle()
    assert stage.ready()


def test_what_carries_our_label_but_belongs_to_somebody_else_is_left_alone(stage: Stage) -> None:
    labels = {"tidegate.dev/model": "digits", "tidegate.dev/component": "server"}
    stage.put(foreign("Service", "shop", labels=labels))
    stage.create()
    stage.settle()
    assert stage.ready()
    assert stage.get("Service", "shop") is not None


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget", "NetworkPolicy"])
def test_an_object_of_ours_that_lost_its_owner_gets_it_back(stage: Stage, kind: str) -> None:
    stage.create()
    stage.settle()
    before = stage.snapshot()
    stage.patch(kind, "digits", {"metadata": {"ownerReferences": None}})
    stage.settle()
    assert stage.snapshot() == before


def test_the_table_of_a_full_router_fits_into_one_config_map(stage: Stage) -> None:
    names = [f"m{number}".ljust(63, "x") for number in range(MODELS_PER_ROUTER)]
    split = [(f"{name[:48]}-123456-12345678", 25) for name in names]
    routes = {
        name: Route(
            model=name,
            port=20000 + number,
            timeout_seconds=3600,
            backends=tuple(Backend(revision=r, weight=w, digest=digest(1)) for r, w in [split[number]] * 2),
        )
        for number, name in enumerate(names)
    }
    stage.put(config_map(stage.namespace, 0, (), Table(routes=routes), SETTINGS, None))
