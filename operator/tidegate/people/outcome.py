"""What became of a request, from what the operator wrote after it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from tidegate.api.status import ModelDeploymentStatus, Reason
from tidegate.domain.labels import PREFIX
from tidegate.domain.rollout.people import (
    ABORT,
    PROMOTE,
    RETRY,
    ROLLBACK_TO,
    Request,
    new_request,
    requests,
)
from tidegate.people.model import Event, Model
from tidegate.people.words import sentence

ANSWERS: Mapping[str, Collection[str]] = {
    PROMOTE: {Reason.SKIPPED, Reason.REQUESTED},
    ABORT: {Reason.REQUESTED},
    RETRY: {Reason.RETRIED},
    ROLLBACK_TO: {Reason.REQUESTED},
}
"""Reasons of the events that say that a request was carried out."""


@dataclass(frozen=True)
class Outcome:
    """Whether it was carried out, and what a person reads."""

    carried_out: bool
    message: str


def annotation(verb: str) -> str:
    """Key of the annotation that asks for something."""
    return f"{PREFIX}/{verb}"


def request_text(argument: str, now: datetime) -> str:
    """Value of the annotation: no two requests are alike."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"{argument}@{stamp}" if argument else stamp


def handled(model: Model, request: Request) -> bool:
    """True once the operator has looked at it."""
    return (model.status.handled or {}).get(request.verb) == request.text


def outranked(model: Model, request: Request) -> str | None:
    """The request of somebody else that is carried out in place of this one; None when this one is."""
    first = new_request(requests(model.annotations), model.status)
    return first.verb if first and first != request and not handled(model, request) else None


def from_events(request: Request, events: Iterable[Event], known: Collection[str]) -> Outcome | None:
    """What the events that are not ``known`` by their uid say; None while they say nothing."""
    fresh = sorted((e for e in events if e.uid not in known), key=lambda e: e.time, reverse=True)
    for event in fresh:
        if event.reason == Reason.REQUEST_REFUSED and f" {request.verb} was refused" in event.message:
            return Outcome(False, event.message)
    for event in fresh:
        if event.reason in ANSWERS[request.verb]:
            return Outcome(True, event.message)
    return None


def from_status(request: Request, before: ModelDeploymentStatus, after: ModelDeploymentStatus) -> Outcome:
    """What status says, for one who may not read events, or whose event got lost."""
    carried_out = {PROMOTE: _promoted, ABORT: _aborted, RETRY: _retried, ROLLBACK_TO: _back}[request.verb](
        request, before, after
    )
    if carried_out and request.verb == ROLLBACK_TO:
        return Outcome(True, f"Revision {request.argument} is to run, as somebody asked.")
    told = f"was {'carried out' if carried_out else 'not carried out'}, as far as status tells; there is no event of it"
    return Outcome(carried_out, f"The request to {request.verb} {told}.")


def _promoted(_: Request, before: ModelDeploymentStatus, after: ModelDeploymentStatus) -> bool:
    if before.rollout is None or before.rollout.aborted:
        return before.bake is not None and after.bake is None and after.override is None
    if after.rollout is None:
        return after.stable is not None and after.stable.revision == before.rollout.revision
    same = after.rollout.revision == before.rollout.revision and not after.rollout.aborted
    return same and after.rollout.step > before.rollout.step


def _aborted(_: Request, before: ModelDeploymentStatus, after: ModelDeploymentStatus) -> bool:
    newly = after.rollout is not None and after.rollout.aborted is not None
    if before.rollout and not before.rollout.aborted:
        return newly
    return before.bake is not None and after.override is not None


def _retried(_: Request, before: ModelDeploymentStatus, after: ModelDeploymentStatus) -> bool:
    given_up = before.override is not None or (before.rollout is not None and before.rollout.aborted is not None)
    still = after.override is not None or (after.rollout is not None and after.rollout.aborted is not None)
    return given_up and not still


def _back(request: Request, _: ModelDeploymentStatus, after: ModelDeploymentStatus) -> bool:
    if after.override:
        return after.override.revision == request.argument
    running = after.rollout.revision if after.rollout else after.stable.revision if after.stable else ""
    return running == request.argument


def standing(model: Model) -> str:
    """Where the object is now, in a sentence."""
    ready = model.condition("Ready")
    progress = model.status.rollout.message if model.status.rollout and not model.status.rollout.aborted else ""
    phase = model.status.phase.value if model.status.phase else "Unknown"
    return f"Now {phase}: {sentence(progress or (ready.message if ready else '') or 'nothing else is known')}"


def revision_before(model: Model) -> str | None:
    """The revision that had all traffic before the one that serves; None when status knows of none."""
    names = [entry.revision for entry in model.status.revisions]
    serving = model.status.stable.revision if model.status.stable else ""
    later = names[names.index(serving) + 1 :] if serving in names else names
    return later[0] if later else None
