"""Where a rollout is, worked out from one object: the facts that ``status`` shows, as text or JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.api.rollout import Step
from tidegate.api.status import CheckStatus, Condition, RevisionStatus
from tidegate.api.types import format_duration
from tidegate.domain.rollout.machine import hold_left
from tidegate.domain.rollout.steps import FULL, kind_at
from tidegate.people.model import Model
from tidegate.people.state import state_of

GOOD_WHEN_TRUE = frozenset({"Ready", "Available", "ArtifactVerified", "Routed"})
BAD_WHEN_TRUE = frozenset({"Stalled", "RolledBack", "Paused", "DriftDetected"})
BAD_WHEN_FALSE = frozenset({"CanaryHealthy", "CapacityAvailable"})
"""Of these Unknown is as it should be: there is nothing to say yet."""


@dataclass(frozen=True)
class StepView:
    """One step. ``mark`` is done, current, coming or failed; ``left_seconds`` is what is left of its hold."""

    text: str
    mark: str
    left_seconds: int | None = None


@dataclass(frozen=True)
class RevisionView:
    """Pods and share of the requests of one revision; ``role`` is stable, canary or warm."""

    role: str
    revision: str
    digest: str = ""
    version: str = ""
    weight: int | None = None
    ready: int | None = None
    wanted: int | None = None


@dataclass(frozen=True)
class CheckView:
    """What one check said at its last look, with its evidence in words."""

    check: str
    verdict: str
    message: str
    samples: int
    value: float | None
    limit: float | None


@dataclass(frozen=True)
class ConditionView:
    """Conditions that are not as they should be, for one reason; ``since`` is when the last of them changed."""

    types: tuple[str, ...]
    reason: str
    message: str
    since: datetime


@dataclass(frozen=True)
class RolloutView:
    """The rollout that is under way or was given up; ``aborted`` is the reason of the latter."""

    revision: str
    step: int
    steps: int
    weight: int
    started_at: datetime
    message: str
    step_views: tuple[StepView, ...]
    verdict: str | None = None
    aborted: str | None = None


@dataclass(frozen=True)
class Told:
    """Something that happened, with its reason and time."""

    reason: str
    message: str
    time: datetime
    revision: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that ``status`` shows.

    ``current`` is False while status is about an older spec than the one that is there, ``looked_at`` until the
    operator has written any status.
    """

    namespace: str
    name: str
    state: str
    phase: str
    current: bool
    looked_at: bool
    paused: bool
    uri: str
    digest: str
    url: str
    revisions: tuple[RevisionView, ...]
    rollout: RolloutView | None
    checks: tuple[CheckView, ...]
    budget: tuple[str, str] | None
    bake_left_seconds: int | None
    override: Told | None
    conditions: tuple[ConditionView, ...]
    last_failure: Told | None


def report_of(model: Model, now: datetime) -> Report:
    """The facts. ``now`` counts holds down and decides nothing."""
    status = model.status
    override, failure = status.override, status.last_failure
    plan = status.rollout.plan if status.rollout and not status.rollout.aborted else None
    return Report(
        namespace=model.namespace,
        name=model.name,
        state={"READY": "Ready", "FAILED": "Failed", "UNDER_WAY": "UnderWay"}[state_of(model).name],
        phase=status.phase.value if status.phase else "Unknown",
        current=model.seen,
        looked_at=status.observed_generation is not None,
        paused=model.paused,
        uri=model.uri,
        digest=status.artifact.digest if status.artifact and status.artifact.uri == model.uri else "",
        url=status.url or "",
        revisions=tuple(_revisions(model)),
        rollout=_rollout(model, now),
        checks=tuple(map(_check, status.analysis)),
        budget=(plan.mode, plan.message) if plan else None,
        bake_left_seconds=_seconds(bake_left(model, now)),
        override=Told(override.reason, override.message, override.time, override.revision) if override else None,
        conditions=amiss(model),
        last_failure=Told(failure.reason, failure.message, failure.time, failure.revision) if failure else None,
    )


def _seconds(length: timedelta | None) -> int | None:
    return None if length is None else max(int(length.total_seconds()), 0)


def _revisions(model: Model) -> Iterator[RevisionView]:
    status = model.status
    for role, found in (("stable", status.stable), ("canary", status.canary)):
        if found:
            yield _revision(role, found)
    if status.bake:
        digests = {entry.revision: entry.digest for entry in status.revisions}
        yield RevisionView("warm", status.bake.former, digest=digests.get(status.bake.former, ""))


def _revision(role: str, found: RevisionStatus) -> RevisionView:
    return RevisionView(
        role=role,
        revision=found.revision,
        digest=found.digest,
        version=found.version,
        weight=found.weight,
        ready=found.ready_replicas,
        wanted=found.replicas,
    )


def bake_left(model: Model, now: datetime) -> timedelta | None:
    """How long the former revision stays warm; None when none is."""
    bake = model.status.bake
    return bake.started_at + model.rollout.bake.duration - now if bake else None


def steps_run(model: Model) -> tuple[Step, ...]:
    """The steps of the rollout that is there: none of a first revision, nor of one that is known to be good."""
    rollout = model.status.rollout
    return model.rollout.effective_steps if rollout and rollout.steps else ()


def step_left(model: Model, now: datetime) -> timedelta | None:
    """What is left of the current hold, never more than all of it; None where time does not end the step."""
    rollout, steps = model.status.rollout, steps_run(model)
    left = hold_left(rollout, steps, now) if rollout and not rollout.aborted else None
    # The clock here may be behind the operator's.
    whole = hold_left(rollout, steps, rollout.step_started_at) if rollout and rollout.step_started_at else None
    return min(left, whole) if left is not None and whole is not None else None


def _rollout(model: Model, now: datetime) -> RolloutView | None:
    rollout = model.status.rollout
    if rollout is None:
        return None
    return RolloutView(
        revision=rollout.revision,
        step=rollout.step,
        steps=rollout.steps,
        weight=rollout.weight,
        started_at=rollout.started_at,
        message=rollout.aborted.message if rollout.aborted else rollout.message,
        step_views=tuple(_steps(model, now)),
        verdict=rollout.verdict,
        aborted=rollout.aborted.reason if rollout.aborted else None,
    )


def _steps(model: Model, now: datetime) -> Iterator[StepView]:
    """Every step with its mark, and the promotion after the last one."""
    rollout, steps = model.status.rollout, steps_run(model)
    if rollout is None or model.status.stable is None:
        return
    for index, text in enumerate([*map(step_text, steps), f"promotion to {FULL} %"]):
        if index != rollout.step:
            yield StepView(text, "done" if index < rollout.step else "coming")
        elif rollout.aborted:
            yield StepView(text, "failed")
        else:
            yield StepView(text, "current", left_seconds=_seconds(step_left(model, now)))


def step_text(step: Step) -> str:
    """A step as people say it: ``weight 5 % for 2m``."""
    match kind_at((step,), 0):
        case "weight":
            return f"weight {step.weight} %" + (f" for {format_duration(step.hold)}" if step.hold else "")
        case "shadow" if step.shadow:
            return f"shadow {step.shadow.percent} % for {format_duration(step.shadow.hold)}"
        case "pause" if step.pause and step.pause.duration:
            return f"pause for {format_duration(step.pause.duration)}"
        case "pause":
            return "pause until somebody promotes"
    return "parity"


def _check(found: CheckStatus) -> CheckView:
    # The evidence begins with the check's name, which stands beside it.
    message = found.message.removeprefix(f"{found.check}: ")
    return CheckView(found.check, found.verdict, message, found.samples, found.value, found.limit)


def amiss(model: Model) -> tuple[ConditionView, ...]:
    """The conditions that are not as they should be; those that say the same stand together."""
    groups: dict[tuple[str, str], list[Condition]] = {}
    for condition in model.status.conditions:
        if _is_amiss(condition):
            groups.setdefault((condition.reason, condition.message), []).append(condition)
    return tuple(
        ConditionView(tuple(c.type for c in found), reason, message, max(c.last_transition_time for c in found))
        for (reason, message), found in groups.items()
    )


def _is_amiss(condition: Condition) -> bool:
    match condition.status:
        case "True":
            return condition.type in BAD_WHEN_TRUE
        case "False":
            return condition.type in GOOD_WHEN_TRUE | BAD_WHEN_FALSE
    return condition.type in GOOD_WHEN_TRUE
