"""ModelDeployments in files as kubectl takes them: YAML or JSON, one or several documents, or a List of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from tidegate.api import rules
from tidegate.api.v1alpha1 import API_VERSION, GROUP, KIND, ModelDeploymentSpec


@dataclass(frozen=True)
class Document:
    """One ModelDeployment as it is written. ``namespace`` is empty where the file leaves it open."""

    name: str
    namespace: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Documents:
    """What a file holds; ``skipped`` names the objects of other kinds."""

    models: tuple[Document, ...]
    skipped: tuple[str, ...]


def read(text: str, place: str) -> Documents:
    """The ModelDeployments in a text that was found at ``place``. Raises ValueError with a sentence."""
    models, skipped = [], []
    for number, item in enumerate(_items(text, place), start=1):
        where = f"{place}, object {number}"
        if not isinstance(item, dict):
            raise ValueError(f"{where}: it is no Kubernetes object")
        kind, version = str(item.get("kind", "")), str(item.get("apiVersion", ""))
        meta = item["metadata"] if isinstance(item.get("metadata"), dict) else {}
        name = meta.get("name")
        if kind != KIND or version.partition("/")[0] != GROUP:
            skipped.append(f"{kind or 'an object without a kind'} {name or ''}".strip())
            continue
        if version != API_VERSION:
            raise ValueError(f"{where}: apiVersion is {version}, and this version of tidegate knows {API_VERSION}")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{where}: it needs metadata.name")
        spec = item.get("spec")
        if not isinstance(spec, dict):
            raise ValueError(f"{where}: {name} has no spec")
        models.append(Document(name=name, namespace=str(meta.get("namespace") or ""), spec=spec))
    if not models:
        raise ValueError(f"{place} holds no {KIND}" + (f", only {', '.join(skipped)}" if skipped else ""))
    if len({(m.namespace, m.name) for m in models}) < len(models):
        raise ValueError(f"{place} holds one {KIND} twice: keep one of them")
    return Documents(tuple(models), tuple(skipped))


def _items(text: str, place: str) -> Iterator[Any]:
    try:
        documents = [found for found in yaml.safe_load_all(text) if found is not None]
    except yaml.YAMLError as error:
        raise ValueError(f"{place} is no YAML: {' '.join(str(error).split())}") from error
    for found in documents:
        is_list = isinstance(found, dict) and str(found.get("kind", "")).endswith("List") and "items" in found
        yield from (found["items"] or []) if is_list else [found]


def checked(document: Document) -> tuple[ModelDeploymentSpec | None, list[str]]:
    """The spec with its defaults, or a sentence for each thing that the API server would refuse."""
    try:
        spec = ModelDeploymentSpec.model_validate(document.spec)
    except ValidationError as error:
        broken = rules.violations({"metadata": {"name": document.name}})
        return None, [*broken, *map(_sentence, error.errors(include_url=False))]
    broken = rules.violations({"metadata": {"name": document.name}, "spec": spec.to_wire()})
    return (None, broken) if broken else (spec, [])


def _sentence(error: Any) -> str:
    """One of pydantic's errors as the API server would put it. Rules of whole specs name their place themselves."""
    said = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        said = "there is no such field"
    elif error["type"] == "missing":
        said = "this field is required"
    if not error["loc"]:
        return said
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    return f"spec{place}: {said}"


def with_scale(spec: Mapping[str, Any], live: Mapping[str, Any]) -> Mapping[str, Any]:
    """``spec`` with the replicas that somebody set by the scale subresource, where the file does not name any.

    ``kubectl apply`` leaves a field alone that is not in the file and that others own.
    """
    if "replicas" in spec or "replicas" not in live.get("spec", {}):
        return spec
    owners = live.get("metadata", {}).get("managedFields", [])
    scaled = any(
        o.get("subresource") == "scale" and "f:replicas" in o.get("fieldsV1", {}).get("f:spec", {}) for o in owners
    )
    return {**spec, "replicas": live["spec"]["replicas"]} if scaled else spec
