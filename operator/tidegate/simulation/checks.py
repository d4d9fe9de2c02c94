"""Checks as a command line names them: ``errors``, ``latency=95,maxMilliseconds=80``, ``query=business,max=0.1``.

The first value is what the check is about; the fields after it are those of ``spec.rollout.analysis.checks``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from tidegate.domain.checks.agreement import AgreementCheck
from tidegate.domain.checks.analysis import Check
from tidegate.domain.checks.errors import ErrorCheck
from tidegate.domain.checks.latency import LatencyCheck
from tidegate.domain.checks.queries import QueryCheck

Range = tuple[float, float]
ANY: Range = (float("-inf"), float("inf"))
PERCENT: Range = (0, 100)


@dataclass(frozen=True)
class _Kind:
    """A kind of check: its first field, and each field with the class's own name for it and the range it may have."""

    make: Callable[..., Check]
    first: str
    fields: Mapping[str, tuple[str, Range]]


KINDS = {
    "errors": _Kind(
        ErrorCheck,
        "maxPercent",
        {"maxPercent": ("max_percent", PERCENT), "maxIncreasePoints": ("max_increase_points", PERCENT)},
    ),
    "latency": _Kind(
        LatencyCheck,
        "percentile",
        {
            "percentile": ("percentile", (50, 99.9)),
            "maxMilliseconds": ("max_milliseconds", (0.001, 3_600_000)),
            "maxIncreasePercent": ("max_increase_percent", (0, 1000)),
        },
    ),
    "predictions": _Kind(
        AgreementCheck, "minAgreementPercent", {"minAgreementPercent": ("min_agreement_percent", PERCENT)}
    ),
    "query": _Kind(
        QueryCheck,
        "name",
        {"max": ("maximum", ANY), "min": ("minimum", ANY), "sustainedSeconds": ("sustained_seconds", (1, 86_400))},
    ),
}


def parse(text: str) -> Check:
    """The check that a text names. Raises ValueError with a sentence."""
    head, *rest = text.split(",")
    name, given, value = head.partition("=")
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"{name!r} is no check: write one of {', '.join(KINDS)}")
    pairs = [(kind.first, value)] if given else []
    for part in rest:
        field, equals, content = part.partition("=")
        if not equals:
            raise ValueError(f"{part!r} has no value: write {part}=<value>")
        pairs.append((field, content))
    fields: dict[str, Any] = {}
    for field, content in pairs:
        key, converted = _field(name, kind, field, content)
        if key in fields:
            raise ValueError(f"{name}: {field} is given twice")
        fields[key] = converted
    if name == "query" and ("name" not in fields or not {"maximum", "minimum"} & set(fields)):
        raise ValueError("query needs a name and max or min, as in query=business,max=0.1")
    return kind.make(**fields)


def _field(name: str, kind: _Kind, field: str, content: str) -> tuple[str, Any]:
    if field == "name":
        if not content:
            raise ValueError(f"{name}: the name is empty")
        return field, content
    if field not in kind.fields:
        raise ValueError(f"{name} has no {field!r}: it takes {', '.join([*kind.fields, 'name'])}")
    key, (low, high) = kind.fields[field]
    try:
        number = float(content)
    except ValueError:
        number = float("nan")
    if not isfinite(number) or not low <= number <= high:
        limits = "" if (low, high) == ANY else f" from {low:g} to {high:g}"
        raise ValueError(f"{name}: {field} must be a number{limits}, not {content!r}")
    return key, number
