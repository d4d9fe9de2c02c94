"""Recorded metrics of a rollout: JSON lines, one window a line, as the checks see them.

    {"seconds": 2, "stable": {"requests": 190, "errors": 0, "latency": [[90, 100, 120], [100, 110, 70]]},
     "canary": {"requests": 10, "errors": 1, "latency": [[90, 100, 10]]},
     "agreement": {"compared": 10, "agreed": 9}, "values": {"business": 0.2}, "step": 0}

Latencies are buckets of [lower, upper, count] in milliseconds. What was not measured is left out. ``step`` counts the
steps of the rollout: where it changes, the weight has risen.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from tidegate.api.types import ApiModel
from tidegate.domain.checks.windows import Agreement, Bucket, Histogram, Traffic, Window

Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[float, Field(ge=0)]


class _Traffic(ApiModel):
    requests: Count = 0
    errors: Count = 0
    latency: tuple[tuple[Milliseconds, Milliseconds, Count], ...] = ()

    @field_validator("latency")
    @classmethod
    def _rises(cls, buckets: tuple[tuple[float, float, int], ...]) -> tuple[tuple[float, float, int], ...]:
        if any(lower >= upper for lower, upper, _ in buckets) or any(a[1] > b[0] for a, b in pairwise(buckets)):
            raise ValueError("buckets must rise and may not overlap, as in [[90, 100, 12], [100, 110, 3]]")
        return buckets

    def traffic(self) -> Traffic:
        return Traffic(self.requests, self.errors, Histogram(tuple(Bucket(*bucket) for bucket in self.latency)))


class _Agreement(ApiModel):
    compared: Count
    agreed: Count


class _Line(ApiModel):
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    stable: _Traffic | None = None
    canary: _Traffic | None = None
    agreement: _Agreement | None = None
    values: dict[str, float | None] = Field(default_factory=dict)
    step: Count | None = None


@dataclass(frozen=True)
class Recorded:
    """One window, and the step of the rollout that it belongs to; None where the recording does not say."""

    window: Window
    step: int | None = None


def read(lines: Iterable[str]) -> Iterator[Recorded]:
    """The windows of a recording, as they are asked for. Raises ValueError that names the first line that is none."""
    for number, text in enumerate(lines, start=1):
        if text.strip():
            try:
                yield _recorded(_Line.model_validate(json.loads(text)))
            except ValidationError as error:
                first = error.errors(include_url=False, include_context=False)[0]
                place = ".".join(str(part) for part in first["loc"])
                said = str(first["msg"]).removeprefix("Value error, ")
                raise ValueError(f"line {number}: {place + ': ' if place else ''}{said}") from error
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number}: it is not JSON: {error}") from error


def _recorded(line: _Line) -> Recorded:
    window = Window(
        seconds=line.seconds,
        stable=line.stable.traffic() if line.stable else None,
        canary=line.canary.traffic() if line.canary else None,
        agreement=Agreement(line.agreement.compared, line.agreement.agreed) if line.agreement else None,
        values={name: value for name, value in line.values.items() if value is not None},
    )
    return Recorded(window, line.step)


def to_line(window: Window, step: int | None = None) -> str:
    """A window as one line of a recording, without the line's end."""
    parts: dict[str, Any] = {"seconds": window.seconds}
    for name, traffic in (("stable", window.stable), ("canary", window.canary)):
        parts |= {name: _traffic(traffic)} if traffic else {}
    if pairs := window.agreement:
        parts["agreement"] = {"compared": pairs.compared, "agreed": pairs.agreed}
    parts |= {"values": dict(window.values)} if window.values else {}
    return json.dumps(parts | ({} if step is None else {"step": step}))


def _traffic(traffic: Traffic) -> Mapping[str, Any]:
    buckets = [[bucket.lower, bucket.upper, bucket.count] for bucket in traffic.latency.buckets]
    return {"requests": traffic.requests, "errors": traffic.errors, "latency": buckets}
