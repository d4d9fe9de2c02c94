"""The generated CustomResourceDefinition: current, explained and bounded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.api.crd import crd, render

COMMITTED = Path(__file__).parents[3] / "crds" / "modeldeployments.tidegate.dev.yaml"
Schema = dict[str, Any]


def root() -> Schema:
    schema: Schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every schema below and including this one, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}[*]")


def part(name: str) -> list[tuple[str, Schema]]:
    return list(nodes(root()["properties"][name], name))


def is_bounded(schema: Schema) -> bool:
    if "x-kubernetes-int-or-string" in schema:
        return "maxLength" in schema
    match schema["type"]:
        case "string":
            return "maxLength" in schema or "enum" in schema or schema.get("format") == "date-time"
        case "array":
            return "maxItems" in schema
        case "object":
            return "properties" in schema or "maxProperties" in schema
        case kind:
            return kind in ("integer", "number", "boolean")


def test_the_committed_file_is_current() -> None:
    assert COMMITTED.read_text() == render(), "run `tidegate crd > crds/modeldeployments.tidegate.dev.yaml`"


def test_rendering_gives_the_same_text_again() -> None:
    assert render() == render()
    assert yaml.safe_load(render()) == crd()


@pytest.mark.parametrize(("path", "schema"), part("spec") + part("status"))
def test_every_list_string_and_map_is_bounded(path: str, schema: Schema) -> None:
    assert is_bounded(schema), path


@pytest.mark.parametrize(("path", "schema"), [(p, s) for p, s in part("spec") if not p.endswith("]")])
def test_every_field_of_spec_is_explained_with_an_example(path: str, schema: Schema) -> None:
    assert schema.get("description"), path
    if "properties" not in schema:
        assert "Example: " in schema["description"], path


@pytest.mark.parametrize(("path", "schema"), [(p, s) for p, s in part("spec") if "default" in s])
def test_a_default_is_told_where_the_field_is_explained(path: str, schema: Schema) -> None:
    if schema["default"] != {} and path != "spec.rollout.steps":
        text = str(schema["default"]).lower() if isinstance(schema["default"], bool) else str(schema["default"])
        assert f"Default: {text}." in schema["description"], path


@pytest.mark.parametrize(("path", "schema"), [(p, s) for p, s in part("status") if not p.endswith("]")])
def test_every_field_of_status_is_explained(path: str, schema: Schema) -> None:
    assert schema.get("description"), path


def test_nothing_is_a_free_form_except_what_belongs_to_pods_contracts_and_evidence() -> None:
    free = {p for p, s in part("spec") + part("status") if s.get("x-kubernetes-preserve-unknown-fields")}
    assert free == {
        "spec.server.template.spec.tolerations[]",
        "spec.server.template.spec.affinity",
        "spec.server.template.spec.topologySpreadConstraints[]",
        "status.artifact.inputs[]",
        "status.artifact.outputs[]",
        "status.rollout.evidence",
        "status.bake.evidence",
    }


def test_the_status_has_no_defaults() -> None:
    assert [path for path, schema in part("status") if "default" in schema] == []


def test_only_conditions_merge_by_key() -> None:
    lists = {p: s["x-kubernetes-list-type"] for p, s in part("spec") + part("status") if s.get("type") == "array"}
    assert {path for path, kind in lists.items() if kind == "map"} == {"status.conditions"}
    assert set(lists.values()) == {"map", "atomic"}


def test_a_change_of_the_object_does_not_reach_the_next_one() -> None:
    first = crd()
    first["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].clear()
    assert "model" in root()["properties"]["spec"]["properties"]
