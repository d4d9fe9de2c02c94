"""Ask the operator for something, and wait until it says what became of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tidegate.domain.rollout.people import ROLLBACK_TO, Request
from tidegate.people.cluster import Cluster, pause
from tidegate.people.model import Event, Model
from tidegate.people.outcome import (
    Outcome,
    annotation,
    from_events,
    from_status,
    handled,
    outranked,
    request_text,
    revision_before,
    standing,
)
from tidegate.people.problem import EXIT_FAILED, EXIT_READY, EXIT_TIMEOUT, NotAllowed, NotAnswering

POLL_SECONDS = 0.25
EVENT_SECONDS = 3.0
"""How long the event may come after the status that it belongs to."""


@dataclass(frozen=True)
class Asking:
    """What to ask, of whom, and how long to wait; ``timeout`` None waits for nothing."""

    namespace: str
    name: str
    verb: str
    argument: str
    timeout: timedelta | None


def ask(cluster: Cluster, asking: Asking, say: Callable[[str], None]) -> int:
    """Write the request, wait, and say what became of it; returns the exit code."""
    before = cluster.get(asking.namespace, asking.name)
    if before.status.observed_generation is None:
        say(f"{asking.name}: the operator has not looked at it yet, so nothing was asked: is the operator running?")
        return EXIT_TIMEOUT
    argument, refusal = _argument(before, asking)
    if refusal:
        say(f"{asking.name}: {refusal}")
        return EXIT_FAILED
    known = {event.uid for event in _events(cluster, before)}
    request = Request(asking.verb, request_text(argument, datetime.now(UTC)))
    written = cluster.patch(before, {"metadata": {"annotations": {annotation(request.verb): request.text}}})
    if asking.timeout is None:
        say(f"{asking.name}: asked to {request.verb}.")
        return EXIT_READY
    first = outranked(written, request)
    after = _until_handled(cluster, written, request, asking.timeout)
    if not handled(after, request):
        say(
            f"{asking.name}: the operator has not taken the request to {request.verb} up in "
            f"{int(asking.timeout.total_seconds())} s: is the operator running? The request stays, and is carried out "
            f"when the operator looks again. {standing(after)}"
        )
        return EXIT_TIMEOUT
    if first:
        outcome = Outcome(False, f"The request to {request.verb} was not carried out: one to {first} goes first.")
    else:
        outcome = _outcome(cluster, before, after, request, known)
    say(f"{asking.name}: {outcome.message} {standing(after)}")
    return EXIT_READY if outcome.carried_out else EXIT_FAILED


def _argument(model: Model, asking: Asking) -> tuple[str, str | None]:
    """The argument of the request, or why it makes no sense."""
    if asking.verb != ROLLBACK_TO or asking.argument:
        return asking.argument, None
    rollout = model.status.rollout
    if rollout and not rollout.aborted and model.status.stable:
        way = f"kubectl md abort {model.name} gives it up; --to names a revision to go back to"
        return "", f"revision {rollout.revision} is taking over and has not got all requests yet: {way}."
    former = revision_before(model)
    if former is None:
        return "", "there is no revision to go back to: no other one has had all requests (kubectl md history)."
    return former, None


def _until_handled(cluster: Cluster, model: Model, request: Request, timeout: timedelta) -> Model:
    """The object once the operator has looked at the request, or as it is when time is up."""
    deadline = time.monotonic() + timeout.total_seconds()
    while not handled(model, request) and time.monotonic() < deadline:
        pause(POLL_SECONDS)
        try:
            model = cluster.get(model.namespace, model.name)
        except NotAnswering:
            # The request is written; the deadline bounds how long an answer may be missing.
            continue
    return model


def _outcome(cluster: Cluster, before: Model, after: Model, request: Request, known: set[str]) -> Outcome:
    """The event comes after the status, so it is waited for a little."""
    deadline = time.monotonic() + EVENT_SECONDS
    while True:
        try:
            events = cluster.events(after)
        except (NotAllowed, NotAnswering):
            return from_status(request, before.status, after.status)
        if found := from_events(request, events, known):
            return found
        guessed = from_status(request, before.status, after.status)
        # From one former revision to another there is no event, and status leaves no doubt.
        if time.monotonic() >= deadline or (guessed.carried_out and request.verb == ROLLBACK_TO):
            return guessed
        pause(POLL_SECONDS)


def _events(cluster: Cluster, model: Model) -> list[Event]:
    """Events so far; none for one who may not read them."""
    try:
        return cluster.events(model)
    except NotAllowed:
        return []
