"""Status, scale and what kubectl prints, at a real API server."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client import ApiException

from tidegate.api.status import (
    Artifact,
    Condition,
    Failure,
    FormerRevision,
    ModelDeploymentStatus,
    Phase,
    Reason,
    RevisionStatus,
    RolloutStatus,
)
from tidegate.api.v1alpha1 import API_VERSION, GROUP, KIND, PLURAL, VERSION

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DIGEST = "sha256:" + 64 * "a"
URI = "s3://models/digits:3"
STATUS = ModelDeploymentStatus(
    observed_generation=1,
    phase=Phase.PROGRESSING,
    url="http://digits.default.svc:8000",
    port=20001,
    artifact=Artifact(
        uri=URI,
        digest=DIGEST,
        name="digits",
        version="3",
        size_bytes=1234,
        inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 64]}],
        outputs=[{"name": "y", "datatype": "INT64", "shape": [-1]}],
    ),
    stable=RevisionStatus(revision="digits-aaaaaaaa", digest=DIGEST, weight=75, replicas=2, ready_replicas=2),
    canary=RevisionStatus(revision="digits-bbbbbbbb", digest=DIGEST, weight=25, replicas=1, ready_replicas=1),
    rollout=RolloutStatus.model_validate(
        {
            "revision": "digits-bbbbbbbb",
            "step": 1,
            "steps": 3,
            "weight": 25,
            **{
                field.alias: NOW
                for field in RolloutStatus.model_fields.values()
                if field.is_required() and field.alias != "revision"
            },
        }
    ),
    revisions=[FormerRevision(revision="digits-aaaaaaaa", digest=DIGEST, uri=URI, promoted_at=NOW)],
    last_failure=Failure(reason=Reason.FETCH_FAILED, message="the store did not answer", time=NOW),
    replicas=3,
    ready_replicas=3,
    ready="3/3",
    selector="tidegate.dev/model-deployment=digits",
    conditions=[
        Condition(type="Ready", status="True", last_transition_time=NOW, reason=Reason.READY, observed_generation=1)
    ],
)


class Digits:
    """The ModelDeployment `digits` in a namespace, through the generic client."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.api = client.CustomObjectsApi(api)
        self.where = (GROUP, VERSION, namespace, PLURAL)
        self.api.create_namespaced_custom_object(
            *self.where,
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"name": "digits"},
                "spec": {"model": {"uri": URI}, "replicas": 2},
            },
            field_validation="Strict",
        )

    def get(self) -> dict[str, Any]:
        result: dict[str, Any] = self.api.get_namespaced_custom_object(*self.where, "digits")
        return result

    def patch(self, change: dict[str, Any]) -> None:
        self.api.patch_namespaced_custom_object(
            *self.where, "digits", change, field_validation="Strict", _content_type="application/merge-patch+json"
        )

    def patch_status(self, change: dict[str, Any]) -> None:
        self.api.patch_namespaced_custom_object_status(
            *self.where, "digits", change, field_validation="Strict", _content_type="application/merge-patch+json"
        )

    def scale(self) -> dict[str, Any]:
        result: dict[str, Any] = self.api.get_namespaced_custom_object_scale(*self.where, "digits")
        return result

    def patch_scale(self, replicas: int) -> None:
        self.api.patch_namespaced_custom_object_scale(
            *self.where, "digits", {"spec": {"replicas": replicas}}, _content_type="application/merge-patch+json"
        )


@pytest.fixture
def digits(api: client.ApiClient, namespace: str) -> Digits:
    return Digits(api, namespace)


def test_a_full_status_reads_back_equal(digits: Digits) -> None:
    digits.patch_status({"status": STATUS.to_wire()})
    assert ModelDeploymentStatus.model_validate(digits.get()["status"]) == STATUS


def test_a_status_write_changes_neither_spec_nor_generation(digits: Digits) -> None:
    before = digits.get()
    digits.patch_status({"status": STATUS.to_wire(), "spec": {"replicas": 9}})
    after = digits.get()
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


def test_a_user_cannot_write_the_status(digits: Digits) -> None:
    digits.patch({"status": STATUS.to_wire()})
    assert "status" not in digits.get()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Happy"}, "status.phase"),
        ({"conditions": [{"type": "Ready", "status": "Yes"}]}, "status.conditions[0].status"),
        ({"replicas": "three"}, "status.replicas"),
        ({"mood": "good"}, "status.mood"),
        ({"ready": 1025 * "1"}, "status.ready"),
    ],
)
def test_a_malformed_status_is_refused(digits: Digits, status: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiException) as caught:
        digits.patch_status({"status": status})
    assert words in json.loads(caught.value.body)["message"]


def test_scale_reads_replicas_and_the_selector(digits: Digits) -> None:
    digits.patch_status({"status": STATUS.to_wire()})
    scale = digits.scale()
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 3, "selector": STATUS.selector}


def test_scaling_changes_the_spec_and_nothing_else(digits: Digits) -> None:
    before = digits.get()["spec"]
    digits.patch_scale(7)
    assert digits.get()["spec"] == before | {"replicas": 7}


@pytest.mark.parametrize("replicas", [-1, 1001])
def test_scaling_out_of_bounds_is_refused(digits: Digits, replicas: int) -> None:
    with pytest.raises(ApiException, match=r"spec\.replicas"):
        digits.patch_scale(replicas)


def test_kubectl_get_shows_what_people_want_to_see(api: client.ApiClient, namespace: str, digits: Digits) -> None:
    digits.patch_status({"status": STATUS.to_wire()})
    response = api.call_api(
        *api.param_serialize(
            "GET",
            f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}",
            header_params={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"},
            auth_settings=["BearerToken"],
        )
    )
    table = json.loads(response.read())
    row = dict(zip((c["name"] for c in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True))
    assert {k: v for k, v in row.items() if k != "Age"} == {
        "Name": "digits",
        "Model": URI,
        "Phase": "Progressing",
        "Ready": "3/3",
        "Weight": 25,
        "Revision": "digits-aaaaaaaa",
        "Digest": DIGEST,
        "Image": "nvcr.io/nvidia/tritonserver:26.10-py3",
        "Reason": "Ready",
    }
    assert {c["name"] for c in table["columnDefinitions"] if c["priority"] == 1} == {"Digest", "Image", "Reason"}


def test_short_name_and_category_work(api: client.ApiClient) -> None:
    (found,) = [r for r in client.CustomObjectsApi(api).get_api_resources(GROUP, VERSION).resources if r.name == PLURAL]
    assert (found.short_names, found.categories, found.singular_name) == (["md"], ["all"], "modeldeployment")
