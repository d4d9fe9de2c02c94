"""Promises about every request that the operator makes: to which path, under which conditions, with what in it."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from domain_objects import make_spec
from resources_examples import PLAN, SETTINGS, observed

from tidegate.adapters.errors import ApiError, Conflict, Forbidden, Invalid, NotFound, Remains, Unavailable
from tidegate.adapters.kube import OWN_KINDS, PATHS, ROUTER_KINDS, KubeCluster
from tidegate.api.status import ModelDeploymentStatus
from tidegate.domain.labels import SHARD
from tidegate.domain.observed import Observed, Owner, Subject
from tidegate.domain.plan import Event, Poke
from tidegate.domain.revision import Pins
from tidegate.ports import Found
from tidegate.resources.build import own_objects, router_objects

SUBJECT = Subject(name="digits", namespace="vision", uid="u-1", generation=3)
MODELS = "/apis/tidegate.dev/v1alpha1/namespaces/vision/modeldeployments"
FOUND = Found(SUBJECT, "41", make_spec(), ModelDeploymentStatus(), {})


@dataclass
class FakeApi:
    """An API server that has ``objects`` by path, and fails where ``failures`` says so."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, ApiError] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)

    def request(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        self.sent.append({"method": method, "path": path, **more})
        if path in self.failures:
            raise self.failures[path]
        if method == "GET" and path not in self.objects and path.rpartition("/")[2] in LISTS:
            return {"items": []}
        if method == "GET" and path not in self.objects:
            raise NotFound(path)
        return self.objects.get(path, {})

    def text(self, path: str, query: list[tuple[str, str]]) -> str:
        return str(self.request("LOG", path, query=query).get("log", ""))


LISTS = {plural for _, plural in PATHS.values()}


def cluster(api: FakeApi) -> KubeCluster:
    return KubeCluster(api, Pins(packager_image="tidegate/packager:1.0"), "operator-" + "x" * 200)  # type: ignore[arg-type]


def model(**more: Any) -> dict[str, Any]:
    meta = {"name": "digits", "namespace": "vision", "uid": "u-1", "generation": 3, "resourceVersion": "41"}
    return {"metadata": meta | more.pop("metadata", {}), "spec": make_spec().to_wire(), **more}


def test_a_model_is_read_with_the_version_that_a_status_write_must_still_find() -> None:
    found = cluster(FakeApi({f"{MODELS}/digits": model(status={"phase": "Ready"})})).find("vision", "digits")
    assert found is not None
    assert (found.subject, found.resource_version, found.spec) == (SUBJECT, "41", make_spec())


@pytest.mark.parametrize(
    "objects", [{}, {f"{MODELS}/digits": model(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})}]
)
def test_a_model_that_is_gone_or_going_is_not_worked_on(objects: dict[str, Any]) -> None:
    assert cluster(FakeApi(objects)).find("vision", "digits") is None


@pytest.mark.parametrize("status", [None, {}, {"phase": 7}, {"unknown": {}}, {"conditions": "x"}, [], "text"])
def test_a_status_that_cannot_be_read_is_found_out_anew(status: Any) -> None:
    found = cluster(FakeApi({f"{MODELS}/digits": model(status=status)})).find("vision", "digits")
    assert found is not None
    assert found.status == ModelDeploymentStatus()


@pytest.mark.parametrize("spec", [{}, {"model": {"uri": "http://x"}}, {"model": {"uri": "s3://models/a:1"}, "no": 1}])
def test_a_spec_that_cannot_be_read_is_a_sentence_that_names_the_object_and_the_field(spec: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"^ModelDeployment vision/digits cannot be read: spec\.\S+: ") as failed:
        cluster(FakeApi({f"{MODELS}/digits": model() | {"spec": spec}})).find("vision", "digits")
    assert "\n" not in str(failed.value)


def test_a_failure_to_read_is_never_taken_for_an_absent_object() -> None:
    for error in (Unavailable("x"), Forbidden("x")):
        with pytest.raises(type(error)):
            cluster(FakeApi(failures={f"{MODELS}/digits": error})).find("vision", "digits")
        with pytest.raises(type(error)):
            cluster(FakeApi(failures={"/api/v1/namespaces/vision/pods": error})).observe(SUBJECT)


def test_a_snapshot_asks_for_the_models_objects_the_router_and_the_neighbours() -> None:
    api = FakeApi(
        {
            MODELS: {
                "items": [
                    model(metadata={"name": "b", "uid": "2"}),
                    model(metadata={"name": "a", "uid": "1"}),
                    model(metadata={"name": "c", "uid": "3", "deletionTimestamp": "now"}),
                ]
            }
        }
    )
    seen = cluster(api).observe(SUBJECT)
    assert seen.owners == (Owner("a", "1"), Owner("b", "2"))
    selectors = [dict(sent.get("query") or []).get("labelSelector") for sent in api.sent]
    assert selectors.count("tidegate.dev/model=digits") == len(OWN_KINDS)
    assert selectors.count("tidegate.dev/component=router") == len(ROUTER_KINDS)
    assert {sent["method"] for sent in api.sent} == {"GET"}


OWNED = {"kind": "ModelDeployment", "name": "digits", "uid": "u-1", "controller": True}


def routed(service_labels: dict[str, str], *tables: tuple[str, str]) -> tuple[list[str], Observed]:
    """Selectors that routers were asked for by, with a Service of these labels and tables by shard and model."""
    front = {"metadata": {"name": "digits", "labels": service_labels, "ownerReferences": [OWNED]}}
    maps = []
    for shard, name in tables:
        route = {"model": name, "port": 20000, "timeoutSeconds": 30}
        data = {"table.json": json.dumps({"routes": {name: route}})}
        maps.append({"metadata": {"name": f"r-{shard}", "labels": {SHARD: shard}}, "data": data})
    folder = "/api/v1/namespaces/vision"
    api = FakeApi({f"{folder}/services": {"items": [front]}, f"{folder}/configmaps": {"items": maps}})
    seen = cluster(api).observe(SUBJECT)
    asked = [dict(s["query"])["labelSelector"] for s in api.sent if s["path"] == f"{folder}/configmaps"]
    return [selector for selector in asked if "router" in selector], seen


def test_only_the_router_that_has_the_models_route_is_read() -> None:
    asked, seen = routed({SHARD: "3"}, ("3", "digits"))
    assert asked == ["tidegate.dev/component=router,tidegate.dev/shard=3"]
    assert seen.shard == 3


@pytest.mark.parametrize("labels", [{}, {SHARD: "3"}, {SHARD: "x"}])
def test_every_router_is_read_while_the_models_route_is_not_where_its_service_leads(labels: dict[str, str]) -> None:
    asked, seen = routed(labels, ("0", "a"), ("3", "b"))
    assert asked[-1] == "tidegate.dev/component=router"
    assert seen.shard == (3 if labels == {SHARD: "3"} else 0)


def test_listed_objects_know_their_kind() -> None:
    owner = {"kind": "ModelDeployment", "name": "digits", "uid": "u-1", "controller": True}
    job = {"metadata": {"name": "j", "ownerReferences": [owner]}}
    seen = cluster(FakeApi({"/apis/batch/v1/namespaces/vision/jobs": {"items": [job]}})).observe(SUBJECT)
    assert [(o["apiVersion"], o["kind"], o["metadata"]["name"]) for o in seen.objects] == [("batch/v1", "Job", "j")]


def test_what_a_deleted_model_of_the_same_name_left_is_waited_for() -> None:
    owner = {"apiVersion": "tidegate.dev/v1alpha1", "kind": "ModelDeployment", "name": "digits", "uid": "u-0"}
    item = {"metadata": {"name": "digits-1", "ownerReferences": [owner | {"controller": True}]}}
    api = FakeApi({"/apis/apps/v1/namespaces/vision/deployments": {"items": [item]}})
    with pytest.raises(Remains, match="Deployment digits-1 of a deleted digits is still there"):
        cluster(api).observe(SUBJECT)


@pytest.mark.parametrize("force", [True, False])
def test_every_object_is_applied_as_its_one_field_manager_at_its_own_path(force: bool) -> None:
    for manifest in [*own_objects(observed(), PLAN, SETTINGS), *router_objects(observed(), PLAN, SETTINGS)]:
        api = FakeApi()
        cluster(api).apply(manifest, force=force)
        (sent,) = api.sent
        group = manifest["apiVersion"]
        root = f"/api/{group}" if group == "v1" else f"/apis/{group}"
        assert sent["path"].startswith(f"{root}/namespaces/vision/")
        assert sent["path"].endswith("/" + manifest["metadata"]["name"])
        assert (sent["method"], sent["content_type"]) == ("PATCH", "application/apply-patch+yaml")
        assert dict(sent["query"]) == {"fieldManager": "tidegate", "force": str(force).lower()}
        assert sent["body"] == manifest


def test_exactly_the_object_that_was_read_is_deleted() -> None:
    api = FakeApi()
    cluster(api).delete({"kind": "Job", "metadata": {"namespace": "vision", "name": "j", "uid": "u-9"}})
    (sent,) = api.sent
    assert (sent["method"], sent["path"]) == ("DELETE", "/apis/batch/v1/namespaces/vision/jobs/j")
    assert sent["body"] == {"propagationPolicy": "Background", "preconditions": {"uid": "u-9"}}


@pytest.mark.parametrize("error", [NotFound("gone"), Conflict("another uid")])
def test_a_delete_of_what_is_gone_or_was_replaced_is_as_good(error: ApiError) -> None:
    api = FakeApi(failures={"/api/v1/namespaces/vision/services/s": error})
    cluster(api).delete({"kind": "Service", "metadata": {"namespace": "vision", "name": "s", "uid": "u"}})
    assert len(api.sent) == 1


def test_a_delete_that_is_refused_is_not_kept_quiet() -> None:
    api = FakeApi(failures={"/api/v1/namespaces/vision/services/s": Forbidden("no")})
    with pytest.raises(Forbidden):
        cluster(api).delete({"kind": "Service", "metadata": {"namespace": "vision", "name": "s", "uid": "u"}})


def test_a_poke_writes_one_annotation_and_nothing_else() -> None:
    api = FakeApi()
    cluster(api).poke("vision", Poke("tidegate-router-1", "abc@1"))
    (sent,) = api.sent
    assert (sent["method"], sent["path"]) == ("PATCH", "/api/v1/namespaces/vision/pods/tidegate-router-1")
    assert sent["content_type"] == "application/merge-patch+json"
    assert sent["body"] == {"metadata": {"annotations": {"tidegate.dev/config": "abc@1"}}}


def test_a_router_pod_that_is_gone_needs_no_poke() -> None:
    path = "/api/v1/namespaces/vision/pods/tidegate-router-1"
    cluster(FakeApi(failures={path: NotFound("gone")})).poke("vision", Poke("tidegate-router-1", "abc@1"))
    with pytest.raises(Unavailable):
        cluster(FakeApi(failures={path: Unavailable("x")})).poke("vision", Poke("tidegate-router-1", "abc@1"))


def test_status_is_replaced_whole_and_only_over_the_version_that_was_read() -> None:
    api = FakeApi()
    cluster(api).write_status(FOUND, ModelDeploymentStatus())
    (sent,) = api.sent
    assert (sent["method"], sent["path"]) == ("PATCH", f"{MODELS}/digits/status")
    assert sent["content_type"] == "application/json-patch+json"
    assert sent["body"] == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "41"},
        {"op": "add", "path": "/status", "value": ModelDeploymentStatus().to_wire()},
    ]
    assert dict(sent["query"])["fieldManager"] == "tidegate"


def event(subject: Subject, message: str = "Revision digits-1 is stable.") -> dict[str, Any]:
    api = FakeApi()
    found = Found(subject, "41", make_spec(), ModelDeploymentStatus(), {})
    now = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    cluster(api).record(found, Event("Warning", "Stalled", message), now)
    (sent,) = api.sent
    assert (sent["method"], sent["path"]) == ("POST", "/api/v1/namespaces/vision/events")
    body: dict[str, Any] = sent["body"]
    return body


def test_an_event_is_about_the_model_and_has_everything_that_tools_show() -> None:
    body = event(SUBJECT)
    about = {"kind": "ModelDeployment", "name": "digits", "namespace": "vision", "uid": "u-1"}
    assert about.items() <= body["involvedObject"].items()
    assert (body["type"], body["reason"], body["action"]) == ("Warning", "Stalled", "Stalled")
    assert body["eventTime"] == "2026-01-02T03:04:05.678901Z"
    assert body["firstTimestamp"] == body["lastTimestamp"] == "2026-01-02T03:04:05Z"
    assert body["metadata"]["namespace"] == "vision"
    assert body["source"] == {"component": "tidegate"}


def test_an_event_keeps_within_the_limits_of_the_api_server() -> None:
    body = event(SUBJECT, "x" * 5000)
    assert len(body["message"]) <= 1024
    assert len(body["reportingInstance"]) <= 128
    assert len(body["metadata"]["generateName"]) <= 57


@pytest.mark.parametrize("name", ["a" * 49 + "-b", "a" * 63, "a", "a" * 45 + "-----" + "b"])
def test_the_name_of_an_event_is_valid_whatever_the_model_is_called(name: str) -> None:
    prefix = event(Subject(name, "vision", "u", 1))["metadata"]["generateName"]
    assert prefix[-1] == "."
    assert prefix[-2].isalnum()


def failed_pod(name: str) -> dict[str, Any]:
    meta = {"name": name, "labels": {"tidegate.dev/model": "digits", "tidegate.dev/revision": "digits-1"}}
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"exitCode": 1}}
    status = {"containerStatuses": [{"name": "triton", "state": state, "lastState": last}]}
    return {"metadata": meta, "status": status}


def test_a_failed_server_is_asked_for_the_end_of_its_log_in_bounds() -> None:
    pods = {"items": [failed_pod(f"p-{number}") for number in range(5)]}
    api = FakeApi({"/api/v1/namespaces/vision/pods": pods, "/api/v1/namespaces/vision/pods/p-0/log": {"log": "why"}})
    api.failures["/api/v1/namespaces/vision/pods/p-1/log"] = NotFound("gone")
    assert cluster(api).observe(SUBJECT).logs == {"p-0": "why"}
    asked = [dict(sent["query"]) for sent in api.sent if sent["method"] == "LOG"]
    assert len(asked) == 2
    assert all(int(query["limitBytes"]) <= 65536 and query["container"] == "triton" for query in asked)
