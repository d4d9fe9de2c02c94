"""The structural OpenAPI schema of an API class, as a CustomResourceDefinition wants it.

Pydantic writes JSON Schema; the API server takes a narrower form: no references, no titles, no unions with null, no
``additionalProperties`` beside ``properties``, defaults as plain JSON, and every list told how it merges.
"""

from copy import deepcopy
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tidegate.api.types import ApiModel

Schema = dict[str, Any]
_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "anyOf",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
    "x-kubernetes-int-or-string",
    "x-kubernetes-validations",
)


class _WireSchema(GenerateJsonSchema):
    """JSON Schema of the values on the wire: absent instead of null, defaults serialised like any other value."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        cls: type[ApiModel] = schema["cls"]
        result["defaults"] = cls.model_construct().to_wire()
        return result


def structural(model: type[ApiModel], *, defaults: bool) -> Schema:
    """The structural schema of ``model``.

    With ``defaults`` the API server fills in what the user left out, at any depth. A default without content (an
    empty list, an object none of whose fields has a default) is not written: it would only be noise in what people
    read back.
    """
    raw = model.model_json_schema(schema_generator=_WireSchema)
    return _convert(raw, raw.get("$defs", {}), defaults)


def _convert(node: Schema, definitions: dict[str, Schema], defaults: bool) -> Schema:
    """One node and everything below it."""
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        node = target | {key: value for key, value in node.items() if key != "$ref"}
    result = {key: deepcopy(node[key]) for key in _KEPT if key in node}
    if "const" in node:
        result["enum"] = [node["const"]]
    if "items" in node:
        result["items"] = _convert(node["items"], definitions, defaults)
        result |= _list_merge(result["items"])
    if "properties" in node:
        result["properties"] = {
            name: _convert(child, definitions, defaults) for name, child in node["properties"].items()
        }
        if defaults:
            _write_defaults(result["properties"], node["defaults"])
    elif isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(node["additionalProperties"], definitions, defaults)
    elif node.get("additionalProperties"):
        result["x-kubernetes-preserve-unknown-fields"] = True
    return result


def _list_merge(items: Schema) -> Schema:
    """Conditions merge by type, as everywhere in Kubernetes; other lists belong to one writer as a whole."""
    if {"type", "status", "lastTransitionTime"} <= items.get("properties", {}).keys():
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {"x-kubernetes-list-type": "atomic"}


def _write_defaults(properties: dict[str, Schema], values: Schema) -> None:
    """Put each default on its field; an object whose fields have defaults starts as ``{}`` and is filled by them."""
    for name, value in values.items():
        child = properties[name]
        if "properties" in child:
            if any("default" in field for field in child["properties"].values()):
                child["default"] = {}
        elif value not in ([], {}):
            child["default"] = value
