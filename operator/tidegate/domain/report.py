"""From a situation to status and events: the same facts, told to machines and to people."""

from datetime import datetime

from tidegate.api.autoscaling import ScalingStatus
from tidegate.api.status import (
    BakeStatus,
    CheckStatus,
    Failure,
    FormerRevision,
    ModelDeploymentStatus,
    Phase,
    Reason,
    RevisionStatus,
    RolloutStatus,
    StartupStatus,
)
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.conditions import merge, verdicts
from tidegate.domain.labels import COMPONENT, MODEL
from tidegate.domain.observed import Observed
from tidegate.domain.plan import Event
from tidegate.domain.revision import StoredRevision
from tidegate.domain.rollout.gate import told as findings_told
from tidegate.domain.rollout.steps import Steps, hold_at, kind_at, pods_wanted, steps_of, weight_at
from tidegate.domain.situation import Situation
from tidegate.domain.startup import startup, typical
from tidegate.domain.traffic import Fleet

HTTP_PORT = 8000


def describe(spec: ModelDeploymentSpec, s: Situation) -> str:
    """What the rollout is doing or waiting for, in one sentence."""
    rollout, fleet = s.rollout, s.canary_fleet
    if rollout is None or fleet is None:
        return ""
    if s.first:
        wait = _awaited(s) if fleet.ready else "for its pods"
        return f"The first revision, {rollout.revision}, starts: waiting {wait}."
    steps = steps_of(spec.rollout, rollout)
    target = weight_at(steps, rollout.step)
    label = f"step {rollout.step + 1} of {rollout.steps}" if rollout.step < rollout.steps else "promotion"
    head = f"Revision {rollout.revision}, {label}, {target} %"
    if spec.paused and s.override is None:
        return f"{head}: paused at {rollout.weight} %."
    if rollout.step_started_at is None:
        if rollout.plan is None or rollout.plan.mode == "Wait":
            return f"{head}: {rollout.plan.message if rollout.plan else 'being planned.'}"
        need = max(pods_wanted(spec.rollout, rollout, spec.replicas), fleet.wanted)
        if fleet.ready < need:
            return f"{head}: waiting for {need} pods, {fleet.ready} ready."
        if s.strangers:
            return f"{head}: waiting for {s.strangers} pods of other revisions to end."
        return f"{head}: waiting for {s.router}."
    made = f" {s.pods_told}." if s.pods_told else ""
    return f"{head}: {_held(rollout, steps)}{made}"


def _awaited(s: Situation) -> str:
    """What must happen before ready pods of a first revision get requests."""
    if s.gateway:
        return f"for Gateway {s.gateway} to accept its routes"
    return "for the Service" if s.by_pods else "for the routers"


def _held(rollout: RolloutStatus, steps: Steps) -> str:
    """What the current step, which has begun, waits for."""
    since = f"{rollout.step_started_at:%H:%M:%S} UTC" if rollout.step_started_at else ""
    match kind_at(steps, rollout.step):
        case "promotion":
            return "complete."
        case "parity":
            return "the golden cases are replayed."
        case "pause" if hold_at(steps, rollout.step) is None:
            return "waiting for somebody to promote it: kubectl md promote."
    hold = hold_at(steps, rollout.step)
    length = f"held for {int(hold.total_seconds())}s since {since}" if hold else f"held since {since}"
    said = rollout.verdict or "nothing yet: see status.analysis and the routers"
    return f"{length}, which is over, but the checks say {said}." if rollout.extended else f"{length}."


def _revision(revision: StoredRevision | None, fleet: Fleet | None, s: Situation) -> RevisionStatus | None:
    if revision is None or fleet is None:
        return None
    return RevisionStatus(
        revision=revision.name,
        digest=revision.revision.digest,
        version=revision.revision.version,
        uri=revision.revision.uri,
        weight=s.share(revision.name),
        replicas=fleet.wanted,
        ready_replicas=fleet.ready,
    )


def _history(
    spec: ModelDeploymentSpec, before: list[FormerRevision], s: Situation, now: datetime
) -> list[FormerRevision]:
    """Revisions that got all traffic, newest first.

    One that is seen to have all of it belongs here also when the status that told of its promotion was lost. One that
    turned out bad afterwards does not: going there again takes every step.
    """
    disgraced = s.choice.disgraced if s.choice else None
    before = [entry for entry in before if entry.revision != disgraced]
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
    if s.given_up and s.stable_fleet and (s.stable_fleet.ready or spec.replicas == 0):
        return Phase.ABORTED
    if s.cause and not (s.stable_fleet and s.stable_fleet.ready):
        return Phase.FAILED
    if s.cause:
        return Phase.DEGRADED
    if s.target is None:
        return Phase.RESOLVING
    if s.in_place:
        serving = Phase.BAKING if s.choice and s.choice.bake else Phase.READY
        return serving if ready else Phase.STARTING
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
    if s.cause and s.cause.reason in (Reason.NAME_CONFLICT, Reason.GATEWAY_API_MISSING):
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
        url=None if s.gateway else f"http://{subject.name}.{subject.namespace}.svc:{HTTP_PORT}",
        port=(s.route.port or None) if s.route else before.port,
        artifact=s.resolution.artifact,
        stable=_revision(s.stable, s.stable_fleet, s),
        canary=_revision(s.canary, s.canary_fleet, s),
        rollout=rollout,
        bake=s.choice.bake if s.choice else None,
        override=s.override,
        analysis=_analysis(before, s),
        startup=_startup(before.startup, s),
        handled=dict(observed.requests) or None,
        revisions=_history(spec, before.revisions, s, now),
        last_failure=_failure(before.last_failure, s, now),
        scaling=s.scaling,
        replicas=replicas,
        ready_replicas=have,
        ready=f"{have}/{max(replicas, 0 if spec.suspend else spec.replicas)}",
        selector=f"{MODEL}={subject.name},{COMPONENT}=server",
        conditions=merge(before.conditions, found, subject.generation, now),
    )


def _startup(before: StartupStatus | None, s: Situation) -> StartupStatus | None:
    """The start-up of the newest revision with a ready pod, as seen first."""
    seen = s.canary_fleet or s.stable_fleet
    if seen is None or not seen.ready or (before and before.revision == seen.revision):
        return before
    found = typical(start for pod in seen.pods if (start := startup(pod)))
    if found is None:
        return before
    return StartupStatus(
        revision=seen.revision,
        total_seconds=found.total,
        schedule_seconds=found.schedule,
        pull_seconds=found.pull,
        fetch_seconds=found.fetch,
        load_seconds=found.load,
    )


def _analysis(before: ModelDeploymentStatus, s: Situation) -> list[CheckStatus]:
    """What the checks said last; nothing once nobody checks any more."""
    choice = s.choice
    if choice is None or not (choice.rollout or choice.bake or choice.override):
        return []
    if choice.findings:
        return findings_told(choice.findings)
    same = before.rollout is None or choice.rollout is None or before.rollout.revision == choice.rollout.revision
    return before.analysis if same else []


def _reason(status: ModelDeploymentStatus, kind: str) -> str:
    return next((c.reason for c in status.conditions if c.type == kind), "")


def events(before: ModelDeploymentStatus, after: ModelDeploymentStatus, s: Situation) -> tuple[Event, ...]:
    """One event a transition, in the past tense."""
    told: list[Event] = list(s.choice.notes) if s.choice else []
    ready_before, ready_after = _reason(before, "Ready"), _reason(after, "Ready")
    if s.cause and ready_before != s.cause.reason:
        told.append(Event("Warning", s.cause.reason.value, s.cause.message))
    told += _rollout_events(before.rollout, after.rollout, s)
    told += _bake_events(before.bake, after.bake)
    if ready_after == Reason.READY and ready_before not in ("", Reason.READY):
        told.append(Event("Normal", Reason.READY, _message(after)))
    told += _scaling_events(before.scaling, after.scaling)
    if ready_after == Reason.SUSPENDED and ready_before != Reason.SUSPENDED:
        told.append(Event("Normal", Reason.SUSPENDED, "Every pod was told to stop, as spec.suspend asks."))
    paused_before, paused_after = (_reason(status, "Paused") == Reason.PAUSED for status in (before, after))
    if paused_after and not paused_before:
        told.append(Event("Normal", Reason.PAUSED, "The rollout was paused."))
    if paused_before and not paused_after and after.rollout:
        told.append(Event("Normal", Reason.RESUMED, "The rollout goes on."))
    return tuple(told)


def _rollout_events(old: RolloutStatus | None, new: RolloutStatus | None, s: Situation) -> list[Event]:
    told = []
    if new and (old is None or old.revision != new.revision):
        told.append(Event("Normal", Reason.ROLLOUT_STARTED, f"Rollout of revision {new.revision} started."))
    if new and new.plan and (old is None or old.plan is None or old.plan.mode != new.plan.mode):
        told.append(Event("Normal", Reason.PLANNED, new.plan.message))
    over = old is not None and not old.aborted and (new is None or new.revision != old.revision)
    if old and over and s.in_place and s.stable and not s.promoted:
        told.append(Event("Normal", Reason.ROLLED_BACK, f"Went back to revision {s.stable.name}; {old.revision} goes."))
    elif old and over and not (s.promoted and s.stable and s.stable.name == old.revision):
        told.append(Event("Normal", Reason.SUPERSEDED, f"{old.revision} goes: spec asks for another revision."))
    if new and new.step_started_at and (old is None or old.step_started_at is None or old.step != new.step):
        told.append(Event("Normal", Reason.STEP_STARTED, f"Revision {new.revision} got {new.weight} % of requests."))
    if new and new.extended and not (old and old.extended and old.step == new.step):
        why = f"The hold of {new.revision} is over and goes on: the checks say {new.verdict or 'nothing yet'}."
        told.append(Event("Warning", Reason.ANALYSIS_INCONCLUSIVE, why))
    if s.promoted and s.stable:
        reason = Reason.ROLLED_BACK if s.override else Reason.PROMOTED
        told.append(Event("Normal", reason, f"Revision {s.stable.name} got all requests."))
    return told


def _scaling_events(old: ScalingStatus | None, new: ScalingStatus | None) -> list[Event]:
    if old is None or new is None or old.desired == new.desired:
        return []
    numbers = ", ".join(f"{item.name} {item.value:g}" for item in new.inputs)
    why = f"From {old.desired} to {new.desired} pods ({new.reason}): {new.message} ({numbers})."
    return [Event("Normal", Reason.SCALED, why)]


def _bake_events(old: BakeStatus | None, new: BakeStatus | None) -> list[Event]:
    if new and old is None:
        return [Event("Normal", Reason.BAKING, f"Revision {new.former} stays warm for a while.")]
    return [Event("Normal", Reason.BAKED, f"Revision {old.former} is kept warm no longer.")] if old and not new else []


def _message(status: ModelDeploymentStatus) -> str:
    return next((c.message for c in status.conditions if c.type == "Ready"), "")
