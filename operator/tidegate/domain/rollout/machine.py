"""The rollout machine: from one step to the next, and what share of requests that means.

A step has three moments: its weight is wanted, the pods and routers are ready for it, and every router has it. The
hold counts from the last one, so that a slow start never shortens the time a weight is watched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from tidegate.api.status import RolloutStatus
from tidegate.api.v1alpha1 import Step

FULL = 100


@dataclass(frozen=True)
class Canary:
    """What is seen of the revision that takes over.

    ``ready`` counts ready pods; ``known`` says that every router can reach all of them; ``weight`` is the share that
    every router was seen to give it, in percent, or None while routers differ or have not been seen.
    """

    ready: int
    known: bool
    weight: int | None


def begin(revision: str, steps: Sequence[Step], now: datetime) -> RolloutStatus:
    """A rollout before its first step."""
    return RolloutStatus(revision=revision, step=0, steps=len(steps), weight=0, started_at=now, progressed_at=now)


def weight_at(steps: Sequence[Step], index: int) -> int:
    """Weight of a step, in percent; past the last step everything."""
    return steps[index].weight if index < len(steps) else FULL


def pods_for(replicas: int, weight: int) -> int:
    """Pods that a share of the requests needs when ``replicas`` pods serve all of them.

    E.g. 3 replicas at 5 % need 1 pod, at 50 % they need 2.
    """
    return max(1, ceil(replicas * weight / FULL)) if replicas else 0


def pods_wanted(rollout: RolloutStatus, steps: Sequence[Step], replicas: int) -> int:
    """Pods that must be ready before the current step's weight is given."""
    return pods_for(replicas, weight_at(steps, rollout.step))


def hold_left(rollout: RolloutStatus, steps: Sequence[Step], now: datetime) -> timedelta | None:
    """What is left of the current step's hold; None while the hold has not begun or no step is left."""
    if rollout.step_started_at is None or rollout.step >= len(steps):
        return None
    return max(rollout.step_started_at + steps[rollout.step].hold - now, timedelta(0))


def _settle(rollout: RolloutStatus, steps: Sequence[Step], canary: Canary, now: datetime) -> RolloutStatus:
    """Start the hold once every router has the step's weight."""
    on_target = rollout.weight == weight_at(steps, rollout.step)
    if rollout.step_started_at is None and on_target and canary.weight == rollout.weight:
        return rollout.model_copy(update={"step_started_at": now, "progressed_at": now})
    return rollout


def advance(
    rollout: RolloutStatus,
    steps: Sequence[Step],
    *,
    replicas: int,
    canary: Canary,
    paused: bool,
    now: datetime,
) -> RolloutStatus:
    """One look at the rollout.

    The weight falls to 0 when no pod of the canary is ready, rises to the step's weight when enough pods are ready and
    known to every router, and the next step comes when the hold is over. A paused rollout never rises.
    """
    bounded = {"steps": len(steps), "step": min(rollout.step, len(steps))}
    rollout = rollout.model_copy(update=bounded)
    if canary.ready == 0:
        lost = rollout.weight > 0
        # The deadline counts from the loss: before it, the rollout was where it should be.
        since = {"progressed_at": now} if lost else {}
        return rollout.model_copy(update={"weight": 0, "step_started_at": None} | since)
    rollout = _settle(rollout, steps, canary, now)
    if paused:
        return rollout
    if hold_left(rollout, steps, now) == timedelta(0):
        rollout = rollout.model_copy(update={"step": rollout.step + 1, "step_started_at": None, "progressed_at": now})
    target = weight_at(steps, rollout.step)
    if canary.ready >= pods_for(replicas, target) and canary.known and rollout.weight != target:
        rollout = rollout.model_copy(update={"weight": target, "step_started_at": None})
    # A last step of 100 % and the promotion have one weight: no router has to be waited for.
    return _settle(rollout, steps, canary, now)


def finished(rollout: RolloutStatus, canary: Canary) -> bool:
    """True when every router gives everything to the new revision and no step is left."""
    past_steps = rollout.step >= rollout.steps
    return past_steps and rollout.step_started_at is not None and rollout.weight == canary.weight == FULL
