"""What clients, and the pods behind a Gateway, can rely on in the routes that are written."""

from dataclasses import replace
from typing import Any

import pytest
from resources_examples import CPU, GPU, PLAN, ROUTE, SETTINGS, SUBJECT, observed

from tidegate.api.v1alpha1 import Gateway
from tidegate.domain import names
from tidegate.domain.gateway import referred
from tidegate.domain.routing import Backend
from tidegate.resources.build import own_objects, router_objects
from tidegate.resources.gateway import grpc_route, http_route

GATEWAY = Gateway(name="models", namespace="infra", section_name="http", grpc_section_name="grpc", hostname="a.example")
ROLES = ROUTE.model_copy(
    update={
        "port": 0,
        "backends": tuple(
            b.model_copy(update={"role": role}) for b, role in zip(ROUTE.backends, ("stable", "canary"), strict=True)
        ),
    }
)
BY_GATEWAY = replace(PLAN, route=ROLES, table=None, gateway=GATEWAY)
Raw = dict[str, Any]


def both() -> list[Raw]:
    return [http_route(SUBJECT, ROLES, GATEWAY), grpc_route(SUBJECT, ROLES, GATEWAY)]


def test_both_routes_have_the_weights_and_the_ports_of_their_protocol() -> None:
    for route, port in zip(both(), (8000, 8001), strict=True):
        split = [(ref["name"], ref["port"], ref["weight"]) for ref in route["spec"]["rules"][-1]["backendRefs"]]
        assert split == [(names.backend(GPU.name), port, 75), (names.backend(CPU.name), port, 25)]


def test_each_route_belongs_to_its_own_listener_of_the_gateway() -> None:
    parents = [route["spec"]["parentRefs"] for route in both()]
    assert [(p["name"], p["namespace"], p["sectionName"]) for (p,) in parents] == [
        ("models", "infra", "http"),
        ("models", "infra", "grpc"),
    ]
    assert [route["spec"].get("hostnames") for route in both()] == [["a.example"], None]


@pytest.mark.parametrize("name", [CPU.name, "canary"])
def test_a_request_that_names_the_canary_goes_to_it_alone(name: str) -> None:
    for route in both():
        pinned = [
            rule
            for rule in route["spec"]["rules"]
            if any(h["value"] == name for match in rule["matches"] for h in match.get("headers", ()))
        ]
        assert [[ref["name"] for ref in rule["backendRefs"]] for rule in pinned] == [[names.backend(CPU.name)]]


def test_every_answer_says_who_gave_it() -> None:
    for route in both():
        for rule in route["spec"]["rules"]:
            for reference in rule["backendRefs"]:
                (told,) = reference["filters"]
                headers = {h["name"]: h["value"] for h in told["responseHeaderModifier"]["set"]}
                assert reference["name"] == names.backend(headers["x-tidegate-revision"])
                assert headers["x-model-digest"].startswith("sha256:")


def test_management_calls_of_the_server_match_no_rule() -> None:
    http, grpc = both()
    paths = {(m["path"]["type"], m["path"]["value"]) for rule in http["spec"]["rules"] for m in rule["matches"]}
    assert paths == {("Exact", "/v2"), ("PathPrefix", "/v2/health"), ("PathPrefix", "/v2/models")}
    methods = {m["method"]["method"] for rule in grpc["spec"]["rules"] for m in rule["matches"]}
    assert "ModelInfer" in methods
    assert not {m for m in methods if "Repository" in m or "SharedMemory" in m or "Trace" in m or "Log" in m}


def test_every_backend_has_its_service_before_a_route_names_it() -> None:
    objects = own_objects(observed(), BY_GATEWAY, SETTINGS)
    places = {(o["kind"], o["metadata"]["name"]): i for i, o in enumerate(objects)}
    for backend in ROLES.backends:
        service = objects[places["Service", names.backend(backend.revision)]]
        assert service["spec"]["selector"]["tidegate.dev/revision"] == backend.revision
        assert "clusterIP" not in service["spec"]
        assert places["Service", names.backend(backend.revision)] < places["HTTPRoute", "digits-http"]
    assert ("Service", "digits") not in places
    assert router_objects(observed(), BY_GATEWAY, SETTINGS) == []


def test_more_revisions_than_a_route_may_name_leave_out_those_without_requests() -> None:
    gone = tuple(Backend(revision=f"digits-{i:08d}", weight=0) for i in range(20))
    route = ROLES.model_copy(update={"backends": (*gone, *ROLES.backends)})
    assert len(referred(route)) == 16
    assert {b.revision for b in ROLES.backends} <= {b.revision for b in referred(route)}
