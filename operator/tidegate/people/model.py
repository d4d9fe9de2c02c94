"""A ModelDeployment as a person's command reads it: by an operator of this release, an older or a newer one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tidegate.api.rollout import Rollout
from tidegate.api.status import Condition, ModelDeploymentStatus
from tidegate.domain.observed import Raw
from tidegate.people.problem import Problem
from tidegate.people.words import clean

Parsed = TypeVar("Parsed", bound=BaseModel)


@dataclass(frozen=True)
class Model:
    """What spec asks for and what status says."""

    namespace: str
    name: str
    uid: str
    created: datetime
    generation: int
    annotations: Mapping[str, str]
    uri: str
    replicas: int
    paused: bool
    suspend: bool
    rollout: Rollout
    status: ModelDeploymentStatus
    managed_fields: Sequence[Raw] = ()

    @property
    def seen(self) -> bool:
        """True when status is about the spec that is there now."""
        return self.status.observed_generation is not None and self.status.observed_generation >= self.generation

    def condition(self, kind: str) -> Condition | None:
        """One condition; None while the operator has not told it."""
        return next((c for c in self.status.conditions if c.type == kind), None)

    def holds(self, kind: str) -> bool:
        """True when a condition is True."""
        found = self.condition(kind)
        return found is not None and found.status == "True"


@dataclass(frozen=True)
class Event:
    """One event about a ModelDeployment."""

    uid: str
    kind: str
    reason: str
    message: str
    time: datetime


def read(raw: Raw) -> Model:
    """The object as the API server gave it. Raises Problem when this release cannot read it."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    name = str(meta["name"])
    return Model(
        namespace=str(meta["namespace"]),
        name=name,
        uid=str(meta["uid"]),
        created=datetime.fromisoformat(meta["creationTimestamp"]),
        generation=int(meta.get("generation", 0)),
        annotations=meta.get("annotations") or {},
        uri=clean(str(spec.get("model", {}).get("uri", ""))),
        replicas=int(spec.get("replicas", 1)),
        paused=bool(spec.get("paused")),
        suspend=bool(spec.get("suspend")),
        rollout=_parse(Rollout, clean(spec.get("rollout") or {}), f"spec.rollout of {name}"),
        status=_parse(ModelDeploymentStatus, clean(raw.get("status") or {}), f"status of {name}"),
        managed_fields=meta.get("managedFields") or (),
    )


def read_event(raw: Raw) -> Event:
    """An event as the API server gave it."""
    meta = raw["metadata"]
    times = (raw.get("eventTime"), raw.get("lastTimestamp"), meta.get("creationTimestamp"))
    return Event(
        uid=str(meta.get("uid", "")),
        kind=str(raw.get("type", "")),
        reason=str(raw.get("reason", "")),
        message=clean(str(raw.get("message", ""))),
        time=datetime.fromisoformat(next(t for t in times if t)),
    )


def _parse(kind: type[Parsed], wire: Raw, what: str) -> Parsed:
    """What this release knows of ``wire``; fields that a newer operator writes are left out."""
    try:
        return kind.model_validate(wire, extra="ignore")
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise Problem(
            f"The {what} cannot be read ({place}: {wrong['msg']}): install the kubectl md of the operator's release."
        ) from error
