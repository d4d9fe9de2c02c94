"""What differs between two specs, and between two revisions, field by field."""

from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.api.types import ApiModel
from tidegate.domain.revision import Revision

PLACEHOLDER = "sha256:" + "0" * 64
"""Stands for a digest that is not known before a Job has read it."""
NOT_IDENTITY = frozenset({"digest", "uri", "modelName", "version", "pins", "longestRequestSeconds"})
"""Fields of a revision that make no other revision by themselves; where the bundle is goes in as one address."""


class FieldChange(ApiModel):
    """One field with its value before and after; None where it is absent."""

    field: str
    before: Any = None
    after: Any = None


def changes(before: Mapping[str, Any], after: Mapping[str, Any], place: str) -> list[FieldChange]:
    """Every field below ``place`` that differs, in wire form. Lists are one value."""
    return list(_changes(before, after, place))


def _changes(before: Any, after: Any, place: str) -> Iterator[FieldChange]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _changes(before.get(name), after.get(name), f"{place}.{name}" if place else name)
    else:
        yield FieldChange(field=place, before=before, after=after)


def identity_changes(before: Revision, after: Revision) -> list[FieldChange]:
    """Why two revisions are not one; empty when they are."""
    return changes(_identity(before), _identity(after), "") if before.id != after.id else []


def _identity(revision: Revision) -> dict[str, Any]:
    wire = {name: value for name, value in revision.to_wire().items() if name not in NOT_IDENTITY}
    bundle = revision.bundle_uri
    if revision.digest == PLACEHOLDER:
        bundle = f"whatever {revision.uri} stands for"
    return {"bundle": bundle} | wire
