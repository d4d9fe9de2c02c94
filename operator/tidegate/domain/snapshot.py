"""One decision, with everything it was made from, as a JSON file: the same decision can be made again anywhere.

The objects are as the API server gave them. Secrets are never among them: the operator cannot read any, and pods name
them by reference only.
"""

import json
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from tidegate.api.status import ModelDeploymentStatus
from tidegate.api.types import ApiModel
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.observed import Observed

FORMAT: Literal[1] = 1


class Snapshot(ApiModel):
    """What a decision is made from. ``spec`` is None when the ModelDeployment does not exist yet.

    ``proposed`` is a spec that somebody would like to apply; None when only the spec that is there is decided about.
    """

    format: Literal[1] = FORMAT
    spec: ModelDeploymentSpec | None
    status: ModelDeploymentStatus
    observed: Observed
    now: datetime
    proposed: ModelDeploymentSpec | None = None


def to_text(snapshot: Snapshot) -> str:
    """The snapshot as JSON; equal snapshots give equal texts."""
    wire = snapshot.model_dump(mode="python", by_alias=True)
    # As users write them: without the fields that are absent.
    for name, part in (("spec", snapshot.spec), ("status", snapshot.status), ("proposed", snapshot.proposed)):
        wire[name] = part.to_wire() if part else None
    return json.dumps(wire, indent=1, default=_plain) + "\n"


def from_text(text: str) -> Snapshot:
    """The snapshot in a text of :func:`to_text`. Raises ValueError with a sentence for any other text."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(raw, dict) or "observed" not in raw:
        raise ValueError("it is no snapshot: write one with tidegate plan --save-snapshot FILE")
    if raw.get("format", FORMAT) != FORMAT:
        raise ValueError(f"its format is {raw['format']!r} and this version of tidegate reads {FORMAT}")
    try:
        return Snapshot.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"it cannot be read: {place}: {first['msg']}") from error


def _plain(value: Any) -> Any:
    """What JSON has no form for. Sets are sorted, so that equal ones are written equally."""
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} has no form in a snapshot")
