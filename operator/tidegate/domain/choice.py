"""Which revisions there should be: one look at the rollout, the time after it, and what people asked for."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tidegate.api.status import (
    BakeStatus,
    ModelDeploymentStatus,
    Override,
    Reason,
    RevisionStatus,
    RolloutStatus,
    StartupStatus,
)
from tidegate.api.v1alpha1 import ModelDeploymentSpec, Server
from tidegate.domain.checks.verdict import Finding, Verdict
from tidegate.domain.diagnose import Cause, diagnose
from tidegate.domain.observed import Observed
from tidegate.domain.outside import by_pods
from tidegate.domain.parity import ParityState, parity
from tidegate.domain.plan import Event
from tidegate.domain.revision import Revision, StoredRevision
from tidegate.domain.rollout import people
from tidegate.domain.rollout.gate import Course as Shares
from tidegate.domain.rollout.gate import Judged, judge
from tidegate.domain.rollout.machine import Canary, Course, abort, advance, begin, finished, remember, skip, weigh
from tidegate.domain.rollout.planning import Goal, planned, sized
from tidegate.domain.rollout.sizing import Sizes
from tidegate.domain.rollout.steps import FULL, steps_of, weight_at
from tidegate.domain.startup import progress_deadline
from tidegate.domain.traffic import carrier, fleet, served

OWN_FAULTS = frozenset({Reason.MODEL_LOAD_FAILED, Reason.OUT_OF_MEMORY})
"""Causes that lie in the revision itself: waiting does not mend them, and another revision does not have them."""


@dataclass(frozen=True)
class Choice:
    """Which revisions there should be.

    ``former`` stays warm after a promotion. ``looked`` says that the window of this look was used up. ``notes`` tell
    what became of requests by people. ``disgraced`` is a revision that served and is not known to be good any more.
    """

    target: StoredRevision | None
    stable: StoredRevision | None
    canary: StoredRevision | None = None
    rollout: RolloutStatus | None = None
    promoted: bool = False
    former: StoredRevision | None = None
    bake: BakeStatus | None = None
    override: Override | None = None
    findings: tuple[Finding, ...] = ()
    looked: bool = False
    notes: tuple[Event, ...] = ()
    disgraced: str | None = None
    parity: ParityState | None = None
    sizes: Sizes | None = None


@dataclass(frozen=True)
class Look:
    """Everything that one choice rests on."""

    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus
    observed: Observed
    wanted: StoredRevision | None
    now: datetime
    request: people.Request | None = None
    override: Override | None = None
    notes: tuple[Event, ...] = field(default=())

    @property
    def target(self) -> StoredRevision | None:
        """What should run: what spec asks for, or the former revision that somebody went back to."""
        stored = self.observed.revisions()
        return stored[self.override.revision] if self.override else self.wanted

    @property
    def forced(self) -> bool:
        """True on the way back to a former revision, which neither steps nor a pause hold up."""
        return self.override is not None

    def answered(self, reason: Reason, message: str, *, refused: bool = False) -> "Look":
        """The same look with the request carried out or refused, and told."""
        event = Event("Warning" if refused else "Normal", reason, message)
        return replace(self, request=None, notes=(*self.notes, event))

    def refused(self, why: str) -> "Look":
        """The same look with the request refused."""
        verb = self.request.verb if self.request else ""
        return self.answered(Reason.REQUEST_REFUSED, f"The request to {verb} was refused: {why}", refused=True)

    def asks(self, verb: str) -> bool:
        """True when this is what somebody asks for."""
        return self.request is not None and self.request.verb == verb


def choose(
    spec: ModelDeploymentSpec,
    status: ModelDeploymentStatus,
    observed: Observed,
    wanted: StoredRevision | None,
    now: datetime,
) -> Choice:
    """Which revision is stable, which takes over, and how far."""
    request = people.new_request(observed.requests, status)
    look = _standing(Look(spec, status, observed, wanted, now, request))
    stable = stable_of(status, observed, look.target)
    if look.target is None or (stable and stable.name == look.target.name):
        return _in_place(look, stable)
    return _moving(look, look.target, stable)


def _standing(look: Look) -> Look:
    """The look with the override that holds: what somebody asks for now, or the one of before."""
    wanted, stored, request = look.wanted, look.observed.revisions(), look.request
    before = look.status.override
    holds = before is not None and wanted is not None and before.instead_of == wanted.name and before.revision in stored
    if request is not None and request.verb == people.ROLLBACK_TO:
        name = request.argument
        served_before = [r.revision for r in look.status.revisions if r.revision in stored]
        if wanted is None or name not in served_before:
            kept = ", ".join(served_before) or "none"
            look = look.refused(f"no revision {name!r} has served and is kept; those are {kept}.")
            return replace(look, override=before if holds else None)
        if name == wanted.name:
            return look.answered(Reason.REQUESTED, f"Somebody asked to go back to revision {name}.")
        look = replace(look, request=None)
        why = f"Somebody asked for it; spec asks for {wanted.name}. Edit spec, or kubectl md retry."
        return replace(look, override=_override(name, wanted.name, Reason.REQUESTED, why, look.now))
    if holds and look.asks(people.RETRY):
        return look.answered(Reason.RETRIED, f"Somebody asked to try revision {wanted.name if wanted else ''} again.")
    return replace(look, override=before) if holds else look


def _override(revision: str, instead_of: str, reason: Reason, message: str, now: datetime) -> Override:
    return Override(
        revision=revision,
        instead_of=instead_of,
        reason=reason.value,
        message=message[:4096],
        time=now.replace(microsecond=0),
    )


def _in_place(look: Look, stable: StoredRevision | None) -> Choice:
    """What should run is stable already: nothing moves, and the former revision may still be warm."""
    bake = look.status.bake
    stored = look.observed.revisions()
    idle = look.spec.suspend or look.spec.replicas == 0
    gone = bake is None or stable is None or bake.revision != stable.name or bake.former not in stored or idle
    if gone or bake is None or stable is None or look.now - bake.started_at >= look.spec.rollout.bake.duration:
        if look.request:
            look = look.refused("no rollout is under way.")
        return Choice(look.target, stable, override=look.override, notes=look.notes)
    judged = judge(
        look.spec.rollout.analysis,
        bake.evidence,
        Verdict(bake.verdict) if bake.verdict else None,
        look.observed.window,
        Shares(stable_weight=0, canary_weight=FULL, counted=look.observed.via == "Envoy"),
    )
    if look.asks(people.PROMOTE):
        look = look.answered(Reason.REQUESTED, f"Somebody asked to let revision {bake.former} go.")
        return Choice(look.target, stable, override=look.override, notes=look.notes, looked=judged.looked)
    if judged.failed or look.asks(people.ABORT):
        return _back(look, stable, stored[bake.former], judged)
    if look.request:
        look = look.refused(f"the rollout of {stable.name} is complete.")
    told = judged.verdict.value if judged.verdict else None
    return Choice(
        look.target,
        stable,
        former=stored[bake.former],
        bake=bake.model_copy(update={"verdict": told, "evidence": judged.evidence}),
        override=look.override,
        findings=judged.findings,
        looked=judged.looked,
        notes=look.notes,
    )


def _back(look: Look, stable: StoredRevision, former: StoredRevision, judged: Judged) -> Choice:
    """The promoted revision turned out bad: the former one, which is warm, takes over at once."""
    wanted = look.wanted.name if look.wanted else stable.name
    if judged.failed:
        why = "; ".join(f.message for f in judged.findings if f.verdict is Verdict.FAIL)
        reason, message = Reason.ANALYSIS_FAILED, f"After its promotion {stable.name} failed: {why}."
    else:
        look = look.answered(Reason.REQUESTED, f"Somebody asked to give up revision {stable.name}.")
        reason, message = Reason.ABORTED, f"Somebody gave {stable.name} up after its promotion."
    message += f" {former.name} serves. Edit spec, or kubectl md retry."
    override = _override(former.name, wanted, reason, message, look.now)
    # The window belongs to what has just been judged, not to the way back.
    observed = replace(look.observed, window=None)
    choice = _moving(replace(look, observed=observed, override=override), former, stable)
    return replace(choice, disgraced=stable.name, findings=judged.findings, looked=judged.looked)


def _moving(look: Look, target: StoredRevision, stable: StoredRevision | None) -> Choice:
    """Another revision than the stable one should run."""
    spec, now = look.spec, look.now
    if (spec.suspend or spec.replicas == 0) and not (spec.paused and stable):
        # Nothing serves, so there is nothing to compare with and nobody to protect: the change takes effect at once.
        return Choice(target, target, promoted=True, override=look.override, notes=look.notes)
    look, rollout = _rollout(look, target, stable)
    if rollout.aborted and stable:
        look = look.refused("the rollout was given up; kubectl md retry begins again.") if look.request else look
        return Choice(target, stable, rollout=rollout, override=look.override, notes=look.notes)
    shares = Shares(
        stable_weight=FULL - rollout.weight,
        canary_weight=rollout.weight,
        shadow=_is_shadow(spec, rollout),
        counted=look.observed.via == "Envoy",
    )
    told = Verdict(rollout.verdict) if rollout.verdict else None
    judged = Judged(rollout.evidence, told)
    if stable and (rollout.weight or shares.shadow):
        judged = judge(spec.rollout.analysis, rollout.evidence, told, look.observed.window, shares)
    rollout = remember(rollout, judged.verdict, judged.evidence)
    replayed = _parity(look, rollout, target)
    if stable and (given_up := _give_up(look, rollout, judged, replayed)):
        choice = Choice(target, stable, rollout=given_up, override=look.override, notes=look.notes)
        return replace(choice, findings=judged.findings, looked=judged.looked, disgraced=target.name)
    canary = _canary(look, target.name, judged, replayed)
    course = _course(look, rollout, stable)
    rollout = advance(rollout, course, canary, now)
    rollout, sizes = _sized(look, rollout, course, canary, stable, target)
    if finished(rollout, canary):
        return _promoted(look, target, stable)
    return Choice(
        target,
        stable,
        canary=target,
        rollout=rollout,
        override=look.override,
        findings=judged.findings,
        looked=judged.looked,
        notes=look.notes,
        parity=replayed,
        sizes=sizes,
    )


def _sized(
    look: Look,
    rollout: RolloutStatus,
    course: Course,
    canary: Canary,
    stable: StoredRevision | None,
    target: StoredRevision,
) -> tuple[RolloutStatus, Sizes | None]:
    """The rollout with its plan and the share that its pods carry, and the pods of both revisions."""
    if stable is None:
        # The first revision has nothing beside it: whatever is ready serves.
        weight = FULL if canary.ready and (canary.known or rollout.weight) else 0
        return weigh(rollout, course, canary, weight, look.now), None
    spec, observed = look.spec, look.observed
    plan = planned(spec.rollout, spec.replicas, rollout, observed, stable, target)
    rollout = rollout.model_copy(update={"plan": plan})
    goal = Goal(spec.replicas, weight_at(course.steps, rollout.step), course.pods(rollout.step), course.whole)
    sizes = sized(plan, goal, observed, stable.name, target.name)
    return weigh(rollout, course, canary, sizes.weight, look.now), sizes


def _parity(look: Look, rollout: RolloutStatus, target: StoredRevision) -> ParityState | None:
    """What the golden cases say, in a parity step that has begun: its pods are ready."""
    steps = steps_of(look.spec.rollout, rollout)
    if rollout.step_started_at is None or rollout.step >= len(steps) or steps[rollout.step].parity is None:
        return None
    return parity(look.observed, target, look.observed.pods(target.name), look.now)


def _is_shadow(spec: ModelDeploymentSpec, rollout: RolloutStatus) -> bool:
    steps = steps_of(spec.rollout, rollout)
    return rollout.step < len(steps) and steps[rollout.step].shadow is not None


def _course(look: Look, rollout: RolloutStatus, stable: StoredRevision | None) -> Course:
    """How this rollout is run. The first revision has nothing to be compared with, and serves with its first pod."""
    spec = look.spec
    if stable is None:
        return Course(steps=(), replicas=1)
    plan = rollout.plan
    room = plan is None or plan.mode == "Recreate" or plan.extra is None or plan.extra >= spec.replicas
    # Where there is no room for every pod at once, they take over one by one.
    whole = spec.rollout.strategy != "Canary" and room
    paused = spec.paused and not look.forced
    return Course(
        steps_of(spec.rollout, rollout),
        spec.replicas,
        whole=whole,
        paused=paused,
        by_pods=by_pods(look.observed),
        extra=plan.extra if plan else None,
    )


def _canary(look: Look, name: str, judged: Judged, replayed: ParityState | None) -> Canary:
    seen = fleet(look.observed, name)
    return Canary(
        ready=seen.ready,
        known=seen.known,
        weight=served(look.observed).weight(name),
        passes=judged.passes,
        parity=replayed is not None and replayed.verdict == "Pass",
    )


def _rollout(look: Look, target: StoredRevision, stable: StoredRevision | None) -> tuple[Look, RolloutStatus]:
    """The rollout as it stands, a new one, or one that people moved on."""
    spec, now = look.spec, look.now
    rollout = look.status.rollout
    steps = spec.rollout.effective_steps if stable else ()
    if rollout is None or rollout.revision != target.name:
        served_before = {former.revision for former in look.status.revisions}
        rollout = begin(target.name, steps, now, known_good=target.name in served_before or look.forced)
    elif rollout.aborted and look.asks(people.RETRY):
        look = look.answered(Reason.RETRIED, f"Somebody asked to try revision {target.name} again.")
        rollout = begin(target.name, steps, now)
    if _resumed(look):
        rollout = rollout.model_copy(update={"progressed_at": now})
    if look.request is None or rollout.aborted:
        return look, rollout
    return _asked(look, rollout, stable)


def _asked(look: Look, rollout: RolloutStatus, stable: StoredRevision | None) -> tuple[Look, RolloutStatus]:
    """Carry out what people asked of a rollout under way."""
    request = look.request
    if request is None:
        return look, rollout
    if stable is None:
        return look.refused("the first revision has nothing to be compared with and nothing to go back to."), rollout
    if request.verb == people.ABORT:
        look = look.answered(Reason.REQUESTED, f"Somebody asked to give up revision {rollout.revision}.")
        why = f"Somebody gave {rollout.revision} up; {stable.name} serves. Edit spec, or kubectl md retry."
        return look, abort(rollout, Reason.ABORTED, why, look.now)
    if request.verb == people.PROMOTE:
        everything = request.argument == people.FULL
        what = "all steps that are left" if everything else f"step {min(rollout.step + 1, rollout.steps)}"
        look = look.answered(Reason.SKIPPED, f"Somebody asked to skip {what} of {rollout.revision}.")
        return look, skip(rollout, everything=everything, now=look.now)
    return look.refused("the rollout is under way; abort it first."), rollout


def _give_up(look: Look, rollout: RolloutStatus, judged: Judged, replayed: ParityState | None) -> RolloutStatus | None:
    """The rollout given up for a reason that lies in the revision; None while there is none."""
    name, now = rollout.revision, look.now
    if judged.failed:
        why = "; ".join(f.message for f in judged.findings if f.verdict is Verdict.FAIL)
        advice = "All requests go to the former revision. Mend it and push a new version, or kubectl md retry."
        return abort(rollout, Reason.ANALYSIS_FAILED, f"{name} failed: {why}. {advice}", now)
    if replayed and replayed.verdict == "Fail":
        return abort(rollout, Reason.PARITY_FAILED, replayed.message, now)
    pods = fleet(look.observed, name)
    cause = diagnose(pods.pods, look.observed.deployment(name))
    if cause is None or cause.reason not in OWN_FAULTS:
        return None
    if pods.ready == 0 and rollout.weight > 0:
        why = f"{name} had {rollout.weight} % of requests when its last pod ended: {cause.message}"
        return abort(rollout, Reason.CANARY_CRASHED, why, now)
    if overdue(look.spec, rollout, look.status.startup, now):
        why = f"{name} did not become ready within its deadline. {cause.message}"
        return abort(rollout, Reason.PROGRESS_DEADLINE, why, now)
    return None


def deadline_of(spec: ModelDeploymentSpec, startup: StartupStatus | None) -> timedelta:
    """How long a revision may take to become ready, by what was measured of earlier ones."""
    measured = startup.total_seconds - (startup.schedule_seconds or 0) if startup else None
    return progress_deadline(spec.rollout.progress_deadline, measured)


def overdue(
    spec: ModelDeploymentSpec, rollout: RolloutStatus | None, startup: StartupStatus | None, now: datetime
) -> bool:
    """True when the rollout has not moved for the progress deadline although nobody holds it."""
    if rollout is None or rollout.aborted or spec.paused or rollout.step_started_at is not None:
        return False
    return now - rollout.progressed_at >= deadline_of(spec, startup)


def _promoted(look: Look, target: StoredRevision, stable: StoredRevision | None) -> Choice:
    """The target has everything. The revision before it stays warm, unless it was what had to go."""
    choice = Choice(target, target, promoted=True, override=look.override, notes=look.notes)
    if stable is None or look.override or look.spec.rollout.bake.duration == timedelta(0):
        return choice
    no_room = look.spec.rollout.strategy == "Recreate" or look.spec.rollout.budget.max_extra_replicas == 0
    if no_room or look.observed.deployment(stable.name) is None:
        return choice
    bake = BakeStatus(revision=target.name, former=stable.name, started_at=look.now)
    return replace(choice, former=stable, bake=bake)


def _resumed(look: Look) -> bool:
    """True at the first look after a pause: while somebody held the rollout, it did not stand still."""
    paused = any(c.type == "Paused" and c.status == "True" for c in look.status.conditions)
    return not look.spec.paused and paused


def stable_of(
    status: ModelDeploymentStatus, observed: Observed, target: StoredRevision | None = None
) -> StoredRevision | None:
    """The stable revision by status; by what is seen where status does not know.

    Status does not know when it was lost, and when the next revision is asked for before the first one, which has the
    requests already, was seen at every router.
    """
    stored = observed.revisions()
    if target and status.stable and status.stable.revision == target.name:
        return target
    if status.stable and status.stable.revision in stored:
        return stored[status.stable.revision]
    if status.stable and observed.deployment(status.stable.revision):
        return _stand_in(status.stable, observed)
    name = carrier(observed, stored) if status.stable is None else None
    first = target is not None and status.rollout is not None and status.rollout.revision == target.name == name
    return None if name is None or first else stored[name]


def _stand_in(stable: RevisionStatus, observed: Observed) -> StoredRevision:
    """The stable revision as status tells it, when its ControllerRevision is gone or cannot be read.

    It is good enough to send requests to, not to make pods from: its objects stay as they are.
    """
    revision = Revision(
        digest=stable.digest, uri=stable.uri, model_name="", version=stable.version, server=Server(), pins=observed.pins
    )
    return StoredRevision(name=stable.revision, number=1, revision=revision)


def failure_of(choice: Choice) -> Cause | None:
    """Why what spec asks for does not run although nothing else is wrong: it was tried, and given up."""
    given_up = choice.rollout.aborted if choice.rollout else None
    told = given_up or choice.override
    return Cause(Reason(told.reason), told.message) if told else None
