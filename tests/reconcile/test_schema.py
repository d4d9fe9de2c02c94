"""What a real API server accepts, fills in and refuses of a ModelDeployment."""

import json
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client import ApiException

from tidegate.api.crd import crd
from tidegate.api.v1alpha1 import API_VERSION, GROUP, KIND, PLURAL, VERSION, ModelDeploymentSpec

TABLE = yaml.safe_load((Path(__file__).parents[1] / "unit" / "api" / "specs.yaml").read_text())
SMALLEST = {"model": {"uri": TABLE["uri"]}}
Write = Callable[..., dict[str, Any]]


def by_name(rows: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(row, id=row["name"]) for row in rows]


def at(value: Any, path: str) -> Any:
    return reduce(lambda v, key: v[key], path.split("."), value)


def body(spec: dict[str, Any], name: str) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def refusal(write: Write, *arguments: Any) -> str:
    """The sentence that kubectl would show."""
    with pytest.raises(ApiException) as caught:
        write(*arguments)
    return str(json.loads(caught.value.body)["message"])


@pytest.fixture
def create(api: client.ApiClient, namespace: str) -> Write:
    """Create a ModelDeployment as `kubectl apply` does."""

    def run(spec: dict[str, Any], name: str = "digits") -> dict[str, Any]:
        result: dict[str, Any] = client.CustomObjectsApi(api).create_namespaced_custom_object(
            GROUP, VERSION, namespace, PLURAL, body(spec, name), field_validation="Strict"
        )
        return result

    return run


@pytest.fixture
def apply(api: client.ApiClient, namespace: str) -> Write:
    """Apply a ModelDeployment as `kubectl apply --server-side` and GitOps tools do, and read what is stored."""
    objects = client.CustomObjectsApi(api)

    def run(spec: dict[str, Any], name: str = "digits") -> dict[str, Any]:
        objects.patch_namespaced_custom_object(
            GROUP,
            VERSION,
            namespace,
            PLURAL,
            name,
            body(spec, name),
            field_manager="tests",
            field_validation="Strict",
            _content_type="application/apply-patch+yaml",
        )
        result: dict[str, Any] = objects.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
        return result

    return run


def test_the_server_finds_nothing_wrong_with_the_definition(api: client.ApiClient) -> None:
    found = client.ApiextensionsV1Api(api).read_custom_resource_definition(crd()["metadata"]["name"])
    states = {condition.type: condition.status for condition in found.status.conditions}
    assert states == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("row", by_name(TABLE["accepted"]))
def test_a_good_spec_is_accepted_with_its_defaults(row: dict[str, Any], apply: Write) -> None:
    stored = apply(row["spec"])
    for path, value in row.get("reads", {}).items():
        assert at(stored, path) == value
    assert ModelDeploymentSpec.model_validate(stored["spec"]) == ModelDeploymentSpec.model_validate(row["spec"])


@pytest.mark.parametrize("row", by_name(TABLE["refused"]))
def test_a_bad_spec_is_refused_with_the_place_and_the_reason(row: dict[str, Any], create: Write) -> None:
    sentence = refusal(create, row["spec"])
    assert [word for word in [row["at"], *row["words"]] if word not in sentence] == []


@pytest.mark.parametrize("row", by_name(TABLE["refused"]))
def test_a_bad_spec_is_refused_in_server_side_apply_too(row: dict[str, Any], apply: Write) -> None:
    assert row["at"] in refusal(apply, row["spec"])


def test_a_bad_edit_leaves_the_stored_object_as_it_was(api: client.ApiClient, namespace: str, apply: Write) -> None:
    before = apply(SMALLEST)
    refusal(apply, SMALLEST | {"traffic": {"timeout": "2h"}})
    after = client.CustomObjectsApi(api).get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, "digits")
    assert after == before


@pytest.mark.parametrize("name", TABLE["names"]["accepted"])
def test_a_good_name_is_accepted(name: str, create: Write) -> None:
    assert create(SMALLEST, name)["metadata"]["name"] == name


@pytest.mark.parametrize("row", by_name(TABLE["names"]["refused"]))
def test_a_bad_name_is_refused_with_the_reason(row: dict[str, Any], create: Write) -> None:
    sentence = refusal(create, SMALLEST, row["name"])
    assert [word for word in ["metadata.name", *row["words"]] if word not in sentence] == []
