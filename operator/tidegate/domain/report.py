"""From a situation to status and events: the same facts, told to machines and to people."""

from datetime import datetime

from tidegate.api.status import (
    Failure,
    FormerRevision,
    ModelDeploymentStatus,
    Phase,
    Reason,
    RevisionStatus,
)
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.conditions import merge, verdicts
from tidegate.domain.labels import COMPONENT, MODEL
from tidegate.domain.observed import Observed
from tidegate.domain.plan import Event
from tidegate.domain.revision import StoredRevision
from tidegate.domain.rollout.machine import pods_wanted, weight_at
from tidegate.domain.situation import Situation
from tidegate.domain.traffic import Fleet

HTTP_PORT = 8000


def describe(spec: ModelDeploymentSpec, s: Situation) -> str:
    """What the rollout is doing or waiting for, in one sentence."""
    rollout, fleet = s.rollout, s.canary_fleet
    if rollout is None or fleet is None:
        return ""
    if s.first:
        wait = "for the routers" if fleet.ready else "for its pods"
        return f"The first revision, {rollout.revision}, starts: waiting {wait}."
    target = weight_at(spec.rollout.steps, rollout.step)
    label = f"step {rollout.step + 1} of {rollout.steps}" if rollout.step < rollout.steps else "promotion"
    head = f"Revision {rollout.revision}, {label}, {target} %"
    if spec.paused:
        return f"{head}: paused at {rollout.weight} %."
    if rollout.step_started_at is not None:
        hold = spec.rollout.steps[rollout.step].hold if rollout.step < rollout.steps else None
        since = rollout.step_started_at.isoformat(timespec="seconds")
        return f"{head}: held for {int(hold.total_seconds())}s since {since}." if hold is not None else f"{head}."
    need = pods_wanted(rollout, spec.rollout.steps, spec.replicas)
    if fleet.ready < need:
        return f"{head}: waiting for {need} pods, {fleet.ready} ready."
    return f"{head}: waiting for every router."


def _revision(revision: StoredRevision | None, fleet: Fleet | None, s: Situation) -> RevisionStatus | None:
    if revision is None or fleet is None:
        return None
    return RevisionStatus(
        revision=revision.name,
        digest=revision.revision.digest,
        version=revision.revision.version,
        uri=revision.revision.uri,
        weight=s.route.weight(revision.name) if s.route else 0,
        replicas=fleet.wanted,
        ready_replicas=fleet.ready,
    )


def _history(
    spec: ModelDeploymentSpec, before: list[FormerRevision], s: Situation, now: datetime
) -> list[FormerRevision]:
    """Revisions that got all traffic, newest first.

    One that is seen to have all of it belongs here also when the status that told of its promotion was lost.
    """
    lost = not before and s.in_place and s.settled
    if s.stable is None or not (s.promoted or lost):
        return before[: spec.revision_history_limit + 1]
    entry = FormerRevision(
        revision=s.stable.name,
        digest=s.stable.revision.digest,
        uri=s.stable.revision.uri,
        promoted_at=now.replace(microsecond=0),
    )
    rest = [e for e in before if e.revision != entry.revision]
    return [entry, *rest][: spec.revision_history_limit + 1]


def _failure(before: Failure | None, s: Situation, now: datetime) -> Failure | None:
    """The current failure with the time it was first seen, or the one before it."""
    if s.cause is None:
        return before
    revision = s.target.name if s.target and not s.in_place else (s.stable.name if s.stable else "")
    known = before is not None and before.reason == s.cause.reason and before.revision == revision
    return Failure(
        reason=s.cause.reason.value,
        message=s.cause.message,
        revision=revision,
        time=before.time if known and before else now.replace(microsecond=0),
    )


def _phase(spec: ModelDeploymentSpec, s: Situation, ready: bool) -> Phase:
    if spec.suspend:
        return Phase.SUSPENDED
    if s.cause and not (s.stable_fleet and s.stable_fleet.ready):
        return Phase.FAILED
    if s.cause:
        return Phase.DEGRADED
    if s.target is None:
        return Phase.RESOLVING
    if s.in_place:
        return Phase.READY if ready else Phase.STARTING
    if s.first or s.rollout is None:
        return Phase.STARTING
    if spec.paused:
        return Phase.PAUSED
    return Phase.PROMOTING if s.rollout.step >= s.rollout.steps else Phase.PROGRESSING


def report(
    spec: ModelDeploymentSpec,
    before: ModelDeploymentStatus,
    observed: Observed,
    s: Situation,
    now: datetime,
) -> ModelDeploymentStatus:
    """The status to write. Equal situations give equal statuses: nothing in it changes with time alone."""
    subject = observed.subject
    if s.cause and s.cause.reason == Reason.NAME_CONFLICT:
        kept = before.model_copy(update={"observed_generation": subject.generation, "phase": Phase.FAILED})
        found = verdicts(spec, s, "", now)
        return kept.model_copy(
            update={
                "conditions": merge(before.conditions, found, subject.generation, now),
                "last_failure": _failure(before.last_failure, s, now),
            }
        )
    progress = describe(spec, s)
    found = verdicts(spec, s, progress, now)
    fleets = [f for f in (s.stable_fleet, s.canary_fleet) if f]
    replicas, have = sum(f.wanted for f in fleets), sum(f.ready for f in fleets)
    rollout = s.rollout.model_copy(update={"message": progress}) if s.rollout else None
    return ModelDeploymentStatus(
        observed_generation=subject.generation,
        phase=_phase(spec, s, found["Ready"][0] == "True"),
        url=f"http://{subject.name}.{subject.namespace}.svc:{HTTP_PORT}",
        port=s.route.port if s.route else before.port,
        artifact=s.resolution.artifact,
        stable=_revision(s.stable, s.stable_fleet, s),
        canary=_revision(s.canary, s.canary_fleet, s),
        rollout=rollout,
        revisions=_history(spec, before.revisions, s, now),
        last_failure=_failure(before.last_failure, s, now),
        replicas=replicas,
        ready_replicas=have,
        ready=f"{have}/{max(replicas, 0 if spec.suspend else spec.replicas)}",
        selector=f"{MODEL}={subject.name},{COMPONENT}=server",
        conditions=merge(before.conditions, found, subject.generation, now),
    )


def _reason(status: ModelDeploymentStatus, kind: str) -> str:
    return next((c.reason for c in status.conditions if c.type == kind), "")


def events(before: ModelDeploymentStatus, after: ModelDeploymentStatus, s: Situation) -> tuple[Event, ...]:
    """One event a transition, in the past tense."""
    told: list[Event] = []
    old, new = before.rollout, after.rollout
    ready_before, ready_after = _reason(before, "Ready"), _reason(after, "Ready")
    if s.cause and ready_before != s.cause.reason:
        told.append(Event("Warning", s.cause.reason.value, s.cause.message))
    if new and (old is None or old.revision != new.revision):
        told.append(Event("Normal", Reason.ROLLOUT_STARTED, f"Rollout of revision {new.revision} started."))
    over = old is not None and (new is None or new.revision != old.revision)
    if old and over and s.in_place and s.stable and not s.promoted:
        told.append(Event("Normal", Reason.ROLLED_BACK, f"Went back to revision {s.stable.name}; {old.revision} goes."))
    elif old and over and not (s.promoted and s.stable and s.stable.name == old.revision):
        told.append(Event("Normal", Reason.SUPERSEDED, f"{old.revision} goes: spec asks for another revision."))
    if new and new.step_started_at and (old is None or old.step_started_at is None or old.step != new.step):
        told.append(Event("Normal", Reason.STEP_STARTED, f"Revision {new.revision} got {new.weight} % of requests."))
    if s.promoted and s.stable:
        told.append(Event("Normal", Reason.PROMOTED, f"Revision {s.stable.name} got all requests."))
    if ready_after == Reason.READY and ready_before not in ("", Reason.READY):
        told.append(Event("Normal", Reason.READY, _message(after)))
    if ready_after == Reason.SUSPENDED and ready_before != Reason.SUSPENDED:
        told.append(Event("Normal", Reason.SUSPENDED, "Every pod was told to stop, as spec.suspend asks."))
    paused_before, paused_after = (_reason(status, "Paused") == Reason.PAUSED for status in (before, after))
    if paused_after and not paused_before:
        told.append(Event("Normal", Reason.PAUSED, "The rollout was paused."))
    if paused_before and not paused_after and new:
        told.append(Event("Normal", Reason.RESUMED, "The rollout goes on."))
    return tuple(told)


def _message(status: ModelDeploymentStatus) -> str:
    return next((c.message for c in status.conditions if c.type == "Ready"), "")
