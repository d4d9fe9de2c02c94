"""Why a ModelDeployment is where it is, in sentences: from spec, status, conditions and events, and nothing else.

The order is always the same: what spec asks for, what serves, what is waited for, since when, what the checks say, what
happened lately, what to do next.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from tidegate.api.status import Phase, Reason, RevisionStatus
from tidegate.domain.rollout.steps import hold_at, kind_at
from tidegate.people.model import Event, Model
from tidegate.people.report import bake_left, step_left, steps_run
from tidegate.people.words import count, moment, sentence, short, since, span

LATELY = 5
"""Events that are told."""


def explain(model: Model, events: Sequence[Event], now: datetime) -> list[str]:
    """The sentences."""
    if model.status.observed_generation is None:
        return [
            _asks(model),
            "The operator has not looked at it yet, so nothing serves.",
            f"It was made {since(model.created, now)}.",
            "Look whether the operator runs, and whether it watches this namespace.",
        ]
    parts = [_asks(model), *_unseen(model), *_serves(model), *_waits(model), *_since(model, now)]
    return [*parts, *_checks(model), *_lately(events, now), *_next(model, now)]


def _asks(model: Model) -> str:
    artifact, about = model.status.artifact, f"Spec asks for {model.uri}"
    if artifact and artifact.uri == model.uri:
        about += f", which is bundle {short(artifact.digest)}"
    size = f", with {count(model.replicas, 'pod')}"
    held = " It is suspended: no pod shall run." if model.suspend else ""
    held += " It is paused: no rollout shall move." if model.paused else ""
    return f"{about}{size}.{held}"


def _unseen(model: Model) -> Iterator[str]:
    if not model.seen:
        yield "Spec was edited, and the operator has not looked at it since: what follows is about the spec before."


def _serves(model: Model) -> Iterator[str]:
    stable, canary, available = model.status.stable, model.status.canary, model.condition("Available")
    serving = [r for r in (stable, canary) if r and (r.weight or r.ready_replicas)]
    if available and available.status == "True" and serving:
        yield " ".join(map(_share, serving))
    elif available and available.message:
        yield f"Nothing serves: {sentence(available.message)}"
    else:
        yield "Nothing serves."
    if bake := model.status.bake:
        yield f"Revision {bake.former}, which served before, stays warm."


def _share(found: RevisionStatus) -> str:
    version = f" (version {found.version})" if found.version else ""
    share = "all requests" if found.weight == 100 else f"{found.weight} % of requests" if found.weight else "no request"
    return (
        f"Revision {found.revision}{version} gets {share}, with {found.ready_replicas} of {found.replicas} pods ready."
    )


def _waits(model: Model) -> Iterator[str]:
    status, ready = model.status, model.condition("Ready")
    rollout, override = status.rollout, status.override
    if rollout and rollout.aborted:
        yield f"The rollout was given up ({rollout.aborted.reason}): {sentence(rollout.aborted.message)}"
    elif rollout:
        yield sentence(rollout.message)
    if override:
        yield (
            f"Revision {override.revision} runs instead of {override.instead_of} ({override.reason}): "
            f"{sentence(override.message)}"
        )
    if ready is None or rollout or override:
        yield from _cause(model)
    elif ready.status == "True":
        yield "Nothing is waited for."
    else:
        yield f"It is not ready ({ready.reason}): {sentence(ready.message)}"
    if rollout and rollout.plan and rollout.plan.message and not rollout.aborted:
        yield f"How it gets its pods ({rollout.plan.mode}): {sentence(rollout.plan.message)}"


def _cause(model: Model) -> Iterator[str]:
    """What keeps a rollout from going on, beyond its own sentence."""
    status, ready, stalled = model.status, model.condition("Ready"), model.condition("Stalled")
    told = {status.rollout.message if status.rollout else "", status.override.message if status.override else ""}
    told |= {status.rollout.aborted.message} if status.rollout and status.rollout.aborted else set()
    for found in (ready, stalled):
        wrong = found is not None and found.status == ("False" if found.type == "Ready" else "True")
        if found and wrong and found.message and found.message not in told:
            told.add(found.message)
            yield f"{found.type} is {found.status} ({found.reason}): {sentence(found.message)}"


def _since(model: Model, now: datetime) -> Iterator[str]:
    rollout, override, ready = model.status.rollout, model.status.override, model.condition("Ready")
    if rollout and rollout.aborted:
        yield f"It was given up at {since(rollout.aborted.time, now)}."
    elif override:
        yield f"That has been so since {since(override.time, now)}."
    elif rollout:
        begun = rollout.step_started_at or rollout.progressed_at
        yield f"It last moved at {since(begun, now)}; the rollout began at {since(rollout.started_at, now)}."
    elif ready:
        failure = model.status.last_failure
        same = failure is not None and ready.status == "False" and failure.reason == ready.reason
        begun = failure.time if failure and same else ready.last_transition_time
        yield f"That has been so since {since(begun, now)}."


def _checks(model: Model) -> Iterator[str]:
    for check in model.status.analysis:
        yield f"Check {check.check} says {check.verdict}: {sentence(check.message.removeprefix(f'{check.check}: '))}"
    rollout = model.status.rollout
    steps = steps_run(model)
    judged = rollout is not None and rollout.weight > 0 and not rollout.aborted and rollout.step < len(steps)
    if judged and not model.status.analysis:
        yield "The checks have said nothing yet."


def _lately(events: Sequence[Event], now: datetime) -> Iterator[str]:
    last = sorted(events, key=lambda event: event.time)[-LATELY:]
    if last:
        told = " ".join(f"{moment(e.time, now)} {e.reason}: {sentence(e.message)}" for e in last)
        yield f"Lately: {told}"


def _next(model: Model, now: datetime) -> Iterator[str]:
    """What to do, one sentence a choice."""
    rollout = model.status.rollout
    if not model.seen:
        yield "Wait a moment; when it stays so, look whether the operator runs."
    elif model.suspend:
        yield "To let it serve, set spec.suspend to false."
    elif model.status.override:
        yield f"To run what spec asks for: {command(model, 'retry')} To run something else, edit spec."
    elif rollout and rollout.aborted:
        yield f"Edit spec to ask for another version, or try this one again: {command(model, 'retry')}"
    elif model.paused and rollout:
        yield f"To let it go on: {command(model, 'resume')}"
    elif rollout and model.status.stable:
        yield from _next_of_rollout(model, now)
    elif model.status.phase in (Phase.FAILED, Phase.DEGRADED):
        yield "Do what the reason says; it goes on by itself once the cause is gone."
    elif left := bake_left(model, now):
        yield (
            f"Nothing is to be done; the warm revision goes in {span(left)}. To go back at once: "
            f"{command(model, 'abort')} To let it go now: {command(model, 'promote')}"
        )
    elif model.holds("Ready"):
        yield "Nothing is to be done."
    else:
        yield "Wait: it goes on by itself."


def _next_of_rollout(model: Model, now: datetime) -> Iterator[str]:
    rollout, steps = model.status.rollout, steps_run(model)
    if rollout is None:
        return
    ways = f"To go on now: {command(model, 'promote')} To give it up: {command(model, 'abort')}"
    kind = kind_at(steps, rollout.step)
    left = step_left(model, now)
    if model.holds("Stalled") or model.status.phase in (Phase.FAILED, Phase.DEGRADED):
        yield f"Do what the reason says; it goes on by itself. To give it up: {command(model, 'abort')}"
    elif kind == "pause" and hold_at(steps, rollout.step) is None and rollout.step_started_at:
        yield f"It waits for a person. {ways}"
    elif rollout.extended:
        unsure = " Send it requests, or wait for them." if rollout.verdict == Reason.NO_DATA else ""
        yield f"The hold is over, but the checks have not passed.{unsure} {ways}"
    elif left is not None:
        yield f"Wait: the hold ends in {span(left)}, and the step with it once the checks pass. {ways}"
    else:
        yield f"Wait: it goes on by itself. To give it up: {command(model, 'abort')}"


def command(model: Model, verb: str) -> str:
    """What to type."""
    return f"`kubectl md {verb} {model.name} -n {model.namespace}`."
