"""What the steps of a rollout ask for: weights, pods and time."""

from collections.abc import Sequence
from datetime import timedelta
from math import ceil

from tidegate.api.rollout import Rollout, Step
from tidegate.api.status import RolloutStatus

FULL = 100
Steps = Sequence[Step]


def steps_of(spec: Rollout, rollout: RolloutStatus | None) -> tuple[Step, ...]:
    """The steps of this rollout; none for a revision that had all traffic before.

    Where the old pods must end before new ones start, requests cannot be shared: steps that share them are left out.
    """
    if rollout is not None and rollout.known_good:
        return ()
    steps = spec.effective_steps
    if rollout is not None and rollout.plan is not None and rollout.plan.mode == "Recreate":
        return tuple(step for step in steps if step.weight is None and step.shadow is None)
    return steps


def weight_at(steps: Steps, index: int) -> int:
    """Weight while a step runs, in percent: that of the last weight step so far; past the last step everything."""
    if index >= len(steps):
        return FULL
    return next((step.weight for step in reversed(steps[: index + 1]) if step.weight is not None), 0)


def hold_at(steps: Steps, index: int) -> timedelta | None:
    """How long a step takes at least; None for one that ends by something else than time, and past the last step."""
    if index >= len(steps):
        return None
    step = steps[index]
    if step.shadow:
        return step.shadow.hold
    return step.pause.duration if step.pause else step.hold


def is_judged(steps: Steps, index: int) -> bool:
    """True for a step that ends only when the checks pass."""
    return index < len(steps) and (steps[index].weight is not None or steps[index].shadow is not None)


def is_parity(steps: Steps, index: int) -> bool:
    """True for a step that replays golden cases."""
    return index < len(steps) and steps[index].parity is not None


def sample_percent_at(steps: Steps, index: int) -> int:
    """Share of live requests that is copied to the observer, in percent."""
    shadow = steps[index].shadow if index < len(steps) else None
    return shadow.percent if shadow else 0


def kind_at(steps: Steps, index: int) -> str:
    """The step in one word."""
    if index >= len(steps):
        return "promotion"
    step = steps[index]
    return next(kind for kind in ("parity", "shadow", "pause", "weight") if getattr(step, kind) is not None)


def pods_for(replicas: int, weight: int) -> int:
    """Pods that a share of the requests needs when ``replicas`` pods serve all of them, at least one.

    E.g. 3 replicas at 5 % need 1 pod, at 50 % they need 2.
    """
    return max(1, ceil(replicas * weight / FULL)) if replicas else 0


def pods_wanted(spec: Rollout, rollout: RolloutStatus, replicas: int) -> int:
    """Pods that must be ready before the current step begins; all of them where everything moves at once."""
    if spec.strategy != "Canary":
        return replicas
    return pods_for(replicas, weight_at(steps_of(spec, rollout), rollout.step))
