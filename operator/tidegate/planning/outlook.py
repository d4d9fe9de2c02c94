"""What a change would do, in the terms that people and programs read."""

from collections.abc import Sequence
from typing import Any, Literal

from tidegate.api.types import ApiModel
from tidegate.planning.differences import FieldChange


class RevisionOutlook(ApiModel):
    """Which revision the change asks for. ``differs`` says in what from the one that serves.

    ``gated`` says that a Job compares its contract with the serving one before any pod starts.
    """

    kind: Literal["First", "Same", "Known", "New"]
    revision: str
    serving: str | None = None
    digest_known: bool = True
    gated: bool = False
    differs: tuple[FieldChange, ...] = ()


class RolloutOutlook(ApiModel):
    """What happens on the way.

    A rollout ``Starts`` or ``Continues``; it ``Ends`` when spec goes back to what serves; without one, the revision
    takes over ``AtOnce``, or nothing moves. The longest time is absent where people or measurements decide it.
    """

    course: Literal["Starts", "Continues", "Ends", "AtOnce", "None"]
    steps: tuple[dict[str, Any], ...] = ()
    deadline: str | None = None
    shortest_seconds: int | None = None
    longest_seconds: int | None = None
    supersedes: str | None = None
    bake: dict[str, Any] | None = None
    status: dict[str, Any] | None = None


class PodsOutlook(ApiModel):
    """Pods of one revision: now, as soon as the change is acted on, and when it is over."""

    revision: str
    ready: int
    now: int
    first: int
    end: int


class WriteOutlook(ApiModel):
    """An object that is written or deleted: as soon as the change is made, or when its bundle has been resolved."""

    action: Literal["create", "change", "delete"]
    kind: str
    name: str
    when: Literal["AtOnce", "Resolved"] = "AtOnce"


class Outlook(ApiModel):
    """What a change would do."""

    namespace: str
    name: str
    exists: bool = False
    outcome: Literal["Unchanged", "Changes", "Refused"]
    refused: tuple[str, ...] = ()
    changes: tuple[FieldChange, ...] = ()
    revision: RevisionOutlook | None = None
    rollout: RolloutOutlook | None = None
    pods: tuple[PodsOutlook, ...] = ()
    writes: tuple[WriteOutlook, ...] = ()
    events: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def refusal(namespace: str, name: str, sentences: Sequence[str]) -> Outlook:
    """The outlook of what the API server would not take."""
    return Outlook(namespace=namespace, name=name, outcome="Refused", refused=tuple(sentences))
