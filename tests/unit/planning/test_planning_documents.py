"""Promises about files: what kubectl takes is taken, and what the API server would refuse is said in its sentences."""

from typing import Any

import pytest
from domain_objects import make_spec

from tidegate.planning.documents import Document, checked, read, with_scale

ONE = """
apiVersion: tidegate.dev/v1alpha1
kind: ModelDeployment
metadata: {name: digits, namespace: vision}
spec: {model: {uri: "s3://models/digits:1"}}
"""
OTHER = ONE.replace("name: digits,", "name: letters,")
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: models-read}\n"


def names(text: str) -> list[str]:
    return [model.name for model in read(text, "md.yaml").models]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE, ["digits"]),
        (f"---\n{ONE}---\n---\n{OTHER}", ["digits", "letters"]),
        (f"{SECRET}---{ONE}", ["digits"]),
        (
            '{"apiVersion": "tidegate.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "a"}, "spec": {}}',
            ["a"],
        ),
        ("kind: List\nitems:\n- " + ONE.strip().replace("\n", "\n  "), ["digits"]),
        ("kind: ModelDeploymentList\nitems:\n- " + ONE.strip().replace("\n", "\n  "), ["digits"]),
        (ONE + "status: {phase: Ready}\n", ["digits"]),
    ],
)
def test_every_form_that_kubectl_takes_is_read(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_objects_of_other_kinds_are_named_and_left_out() -> None:
    found = read(f"{SECRET}---{ONE}---\nkind: Kustomization\n", "md.yaml")
    assert found.skipped == ("Secret models-read", "Kustomization")
    assert found.models == (Document("digits", "vision", {"model": {"uri": "s3://models/digits:1"}}),)


def test_a_namespace_that_is_left_open_is_empty() -> None:
    assert read(ONE.replace(", namespace: vision", ""), "md.yaml").models[0].namespace == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "md.yaml holds no ModelDeployment"),
        (SECRET, "md.yaml holds no ModelDeployment, only Secret models-read"),
        ("kind: [", "md.yaml is no YAML: "),
        ("!!python/object:os.system {}", "md.yaml is no YAML: "),
        ("- a\n- b\n", "md.yaml, object 1: it is no Kubernetes object"),
        ("text", "md.yaml, object 1: it is no Kubernetes object"),
        (ONE + "---\n7", "md.yaml, object 2: it is no Kubernetes object"),
        (
            ONE.replace("v1alpha1", "v1"),
            "md.yaml, object 1: apiVersion is tidegate.dev/v1, and this version of tidegate",
        ),
        (ONE.replace("name: digits", "generateName: d"), "md.yaml, object 1: it needs metadata.name"),
        (ONE.replace("metadata: {name: digits, namespace: vision}", ""), "md.yaml, object 1: it needs metadata.name"),
        (ONE.replace("metadata: {name: digits, namespace: vision}", "metadata: x"), "object 1: it needs metadata.name"),
        (ONE.partition("spec")[0], "md.yaml, object 1: digits has no spec"),
        (f"{ONE}---{ONE}", "md.yaml holds one ModelDeployment twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^md\.yaml") as failed:
        read(text, "md.yaml")
    assert sentence in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_good_spec_gets_its_defaults() -> None:
    spec, broken = checked(Document("digits", "", {"model": {"uri": "s3://models/digits:1"}}))
    assert broken == []
    assert spec is not None
    assert spec.replicas == 1


@pytest.mark.parametrize(
    ("name", "spec", "sentences"),
    [
        ("digits", {}, ["spec.model: this field is required"]),
        ("digits", {"model": {"uri": "http://x"}}, ["spec.model.uri: 'http://x' is refused: write s3://"]),
        ("digits", {"replica": 2}, ["spec.model: this field is required", "spec.replica: there is no such field"]),
        ("digits", {"server": {"args": ["-v"]}}, ["spec.model: this field", "spec.server.args[0]: '-v' is refused"]),
        ("Digits", {}, [".metadata.name: the name becomes the name", "spec.model: this field is required"]),
        ("tidegate-router", "good", [".metadata.name: the name may not start with tidegate-router"]),
        (
            "digits",
            {"server": {"args": ["--http-port=1"]}},
            ["spec.server.args[0]: the operator sets this flag itself"],
        ),
    ],
)
def test_each_thing_that_the_api_server_refuses_is_a_sentence(name: str, spec: Any, sentences: list[str]) -> None:
    wire = make_spec().to_wire()
    whole = wire if spec == "good" else {"model": wire["model"], **spec} if sentences[0].endswith("itself") else spec
    found, broken = checked(Document(name, "", whole))
    assert found is None
    assert len(broken) == len(sentences)
    for said, expected in zip(broken, sentences, strict=True):
        assert said.lstrip(".").startswith(expected.lstrip(".")), said


def scaled(subresource: str | None, replicas: int = 5) -> dict[str, Any]:
    entry: dict[str, Any] = {"manager": "hpa", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    entry |= {"subresource": subresource} if subresource else {}
    return {"metadata": {"managedFields": [entry]}, "spec": {"replicas": replicas}}


@pytest.mark.parametrize(
    ("spec", "live", "expected"),
    [
        ({}, scaled("scale"), {"replicas": 5}),
        ({"replicas": 2}, scaled("scale"), {"replicas": 2}),
        ({}, scaled(None), {}),
        ({}, scaled("status"), {}),
        ({}, {}, {}),
        ({}, {"metadata": {}, "spec": {"replicas": 3}}, {}),
    ],
)
def test_replicas_that_an_autoscaler_set_stay_where_the_file_names_none(
    spec: dict[str, Any], live: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert with_scale(spec, live) == expected
