"""The rollout machine: from one step to the next, and what share of requests that means.

A step has three moments: its weight is wanted, the pods and routers are ready for it, and every router has it. The
hold counts from the last one, so that a slow start never shortens the time a weight is watched. A step that is judged
ends when its hold is over and the checks pass at that very look; one that fails ends the rollout at once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.api.status import Aborted, Reason, RolloutStatus
from tidegate.domain.checks.verdict import Verdict
from tidegate.domain.rollout.counting import pods_sharing
from tidegate.domain.rollout.gate import at_a_new_step
from tidegate.domain.rollout.steps import FULL, Steps, hold_at, is_judged, pods_for, weight_at


@dataclass(frozen=True)
class Canary:
    """What is seen of the revision that takes over.

    ``ready`` counts ready pods; ``known`` says that every router can reach all of them; ``weight`` is the share that
    every router was seen to give it, in percent, or None while routers differ or have not been seen. ``passes`` says
    that the checks pass at this look, ``parity`` that its golden cases were answered as recorded.
    """

    ready: int
    known: bool
    weight: int | None
    passes: bool = False
    parity: bool = False


@dataclass(frozen=True)
class Course:
    """How a rollout is run: its steps, the pods at full size and for the step, and whether somebody holds it.

    With ``by_pods`` a share is a number of pods, beside those that ``extra`` pods beyond ``replicas`` leave stable.
    """

    steps: Steps
    replicas: int
    whole: bool = False
    """All pods before any request: for strategies that move everything at once."""
    paused: bool = False
    by_pods: bool = False
    extra: int | None = None

    def pods(self, index: int) -> int:
        """Pods that must be ready before a step begins."""
        weight = weight_at(self.steps, index)
        if self.by_pods and 0 < weight < FULL:
            return pods_sharing(self.replicas, self.extra, weight)
        return self.replicas if self.whole else pods_for(self.replicas, weight)


def begin(revision: str, steps: Steps, now: datetime, *, known_good: bool = False) -> RolloutStatus:
    """A rollout before its first step."""
    return RolloutStatus(
        revision=revision,
        step=0,
        steps=0 if known_good else len(steps),
        weight=0,
        started_at=now,
        progressed_at=now,
        known_good=known_good or None,
    )


def hold_left(rollout: RolloutStatus, steps: Steps, now: datetime) -> timedelta | None:
    """What is left of the current step's hold; None where it has not begun or the step does not end by time."""
    hold = hold_at(steps, rollout.step)
    if rollout.step_started_at is None or hold is None:
        return None
    return max(rollout.step_started_at + hold - now, timedelta(0))


def abort(rollout: RolloutStatus, reason: Reason, message: str, now: datetime) -> RolloutStatus:
    """Give the rollout up: everything goes back to stable. The first reason and time are kept."""
    if rollout.aborted:
        return rollout
    given_up = Aborted(reason=reason.value, message=message[:4096], time=now.replace(microsecond=0))
    return rollout.model_copy(update={"weight": 0, "step_started_at": None, "aborted": given_up})


def skip(rollout: RolloutStatus, *, everything: bool, now: datetime) -> RolloutStatus:
    """Go on to the next step, or past the last one, whatever the current step waits for."""
    step = rollout.steps if everything else min(rollout.step + 1, rollout.steps)
    return _enter(rollout, step, now) if step != rollout.step else rollout


def _enter(rollout: RolloutStatus, step: int, now: datetime) -> RolloutStatus:
    fresh = {"step_started_at": None, "progressed_at": now, "verdict": None, "extended": None}
    return rollout.model_copy(update={"step": step, **fresh})


def _settle(rollout: RolloutStatus, course: Course, canary: Canary, now: datetime) -> RolloutStatus:
    """Start the hold once the pods are there and every router has the step's weight."""
    target = weight_at(course.steps, rollout.step)
    if rollout.step_started_at is not None or rollout.weight != target or canary.weight != target:
        return rollout
    # A share of all requests is carried already by the pods that got it; one that pods make is not yet made.
    made_of_pods = target == 0 or (course.by_pods and target < FULL)
    if made_of_pods and canary.ready < course.pods(rollout.step):
        return rollout
    return rollout.model_copy(update={"step_started_at": now, "progressed_at": now})


def _over(rollout: RolloutStatus, course: Course, canary: Canary, now: datetime) -> bool:
    """True when the current step has nothing left to wait for."""
    if rollout.step_started_at is None or rollout.step >= len(course.steps):
        return False
    if course.steps[rollout.step].parity:
        return canary.parity
    if hold_left(rollout, course.steps, now) != timedelta(0):
        return False
    return canary.passes or not is_judged(course.steps, rollout.step)


def advance(rollout: RolloutStatus, course: Course, canary: Canary, now: datetime) -> RolloutStatus:
    """The step that a rollout which is not given up is at, after one look.

    It loses its hold when no pod of the canary is ready, and the next step comes when this one is over. A paused
    rollout goes on to no other step.
    """
    steps = len(course.steps)
    rollout = rollout.model_copy(update={"steps": steps, "step": min(rollout.step, steps)})
    if canary.ready == 0:
        lost = rollout.weight > 0 or rollout.step_started_at is not None
        # The deadline counts from the loss: before it, the rollout was where it should be.
        since = {"progressed_at": now} if lost else {}
        return rollout.model_copy(update={"weight": 0, "step_started_at": None} | since)
    rollout = _settle(rollout, course, canary, now)
    if course.paused:
        return rollout
    if _over(rollout, course, canary, now):
        return _enter(rollout, rollout.step + 1, now)
    if is_judged(course.steps, rollout.step) and hold_left(rollout, course.steps, now) == timedelta(0):
        return rollout.model_copy(update={"extended": True})
    return rollout


def weigh(rollout: RolloutStatus, course: Course, canary: Canary, weight: int, now: datetime) -> RolloutStatus:
    """The rollout with the share that the canary's pods can carry now, on the way to the step's; see ``sizing``."""
    if course.paused:
        weight = min(weight, rollout.weight)
    if weight != rollout.weight:
        rose = weight > rollout.weight
        evidence = at_a_new_step(rollout.evidence) if rose else rollout.evidence
        moved = {"progressed_at": now} if rose else {}
        rollout = rollout.model_copy(update={"weight": weight, "step_started_at": None, "evidence": evidence} | moved)
    # A last step of 100 % and the promotion have one weight: no router has to be waited for.
    return _settle(rollout, course, canary, now)


def finished(rollout: RolloutStatus, canary: Canary) -> bool:
    """True when every router gives everything to the new revision and no step is left."""
    past_steps = rollout.step >= rollout.steps
    return past_steps and rollout.step_started_at is not None and rollout.weight == canary.weight == FULL


def remember(rollout: RolloutStatus, verdict: Verdict | None, evidence: dict[str, object] | None) -> RolloutStatus:
    """The rollout with what the checks said and remember."""
    return rollout.model_copy(update={"verdict": verdict.value if verdict else None, "evidence": evidence})
