"""The size of a model with ``spec.autoscaling``: everything else reads it as if somebody had written ``spec.replicas``.

One size for stable and the canary together: how they share it is the rollout's affair. Down to zero goes in two steps:
first every router holds requests, then the last pod ends; and up from zero the other way round.
"""

from dataclasses import dataclass
from datetime import datetime

from tidegate.api.autoscaling import ScalingStatus
from tidegate.api.status import ModelDeploymentStatus
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.observed import Observed
from tidegate.domain.revision import StoredRevision
from tidegate.domain.scaling import spec as words
from tidegate.domain.scaling.memory import recalled
from tidegate.domain.scaling.policy import Policy, ScalingReason, State, decide
from tidegate.domain.scaling.window import Window
from tidegate.domain.traffic import all_up_to_date, fleet, served

STALE_SECONDS = 10.0
"""How long a decision stands without a new measurement before status says that there is none."""


@dataclass(frozen=True)
class Size:
    """``spec`` has the size as its replicas. ``hold`` is what the route should say; ``state`` is for the next look."""

    spec: ModelDeploymentSpec
    status: ScalingStatus | None = None
    state: State | None = None
    can_hold: bool = False
    hold: bool = False


def autoscale(
    spec: ModelDeploymentSpec,
    status: ModelDeploymentStatus,
    observed: Observed,
    stable: StoredRevision | None,
    target: StoredRevision | None,
    now: datetime,
) -> Size:
    """The size now, and what was decided. Without ``spec.autoscaling`` nothing is decided."""
    if spec.autoscaling is None:
        return Size(spec)
    if spec.suspend:
        return Size(spec, status.scaling, observed.scaling.state)
    asked = words.policy(spec.autoscaling)
    told, state = _decided(asked, spec.replicas, status, observed, stable or target, now.timestamp())
    least = _least(spec, status, stable, target, before=status.scaling.desired if status.scaling else told.desired)
    told = told.model_copy(update={"desired": max(told.desired, least)})
    can_hold = asked.limits.least == 0
    hold = can_hold and _holds(observed, stable, told.desired)
    replicas = told.desired if told.desired or not can_hold else 0 if _held(observed) else 1
    return Size(spec.model_copy(update={"replicas": replicas}), told, state, can_hold, hold)


def _decided(
    asked: Policy,
    replicas: int,
    status: ModelDeploymentStatus,
    observed: Observed,
    measured: StoredRevision | None,
    now: float,
) -> tuple[ScalingStatus, State]:
    """The policy's answer to what was measured since the last look; what was decided before where there is nothing."""
    before, live = status.scaling, observed.scaling
    least, most = asked.limits.least, asked.limits.most
    # A model begins with a pod: whether it serves at all must be seen once.
    wanted = before.desired if before else min(max(replicas, least, 1), most)
    state = live.state or recalled(before.memory if before else None)
    seen = state.seen
    if live.sample is None and before and seen is not None and now - seen < STALE_SECONDS:
        return before.model_copy(update={"desired": min(max(wanted, least), most)}), state
    window = Window(
        samples=(live.sample,) if live.sample else (),
        wanted=wanted,
        startup_seconds=status.startup.total_seconds if status.startup else None,
        profile_rate=measured.revision.profiled_rate if measured else None,
        max_batch=max(measured.revision.max_batch_size or 1, 1) if measured else 1,
    )
    decision, state = decide(asked, window, state, now)
    if decision.reason == ScalingReason.NO_DATA and before:
        # What is remembered, and the numbers of the last decision, are worth more than nothing.
        kept = {"desired": decision.replicas, "reason": decision.reason.value, "message": decision.message}
        return before.model_copy(update=kept), state
    return words.status(decision, state), state


def _least(
    spec: ModelDeploymentSpec,
    status: ModelDeploymentStatus,
    stable: StoredRevision | None,
    target: StoredRevision | None,
    *,
    before: int,
) -> int:
    """The fewest pods while a revision takes over: one, to see it serve, and no fewer than there were.

    A size that goes down and up again would begin the hold of a step anew each time. A rollout that a person holds may
    last for days: that one follows demand.
    """
    rollout = status.rollout
    given_up = status.override is not None or (rollout is not None and rollout.aborted is not None)
    moving = target is not None and (stable is None or (target.name != stable.name and not given_up))
    if not moving:
        return 0
    return 1 if spec.paused or stable is None else max(before, 1)


def _holds(observed: Observed, stable: StoredRevision | None, desired: int) -> bool:
    """Whether requests should wait at the routers: while there shall be no pod, and until the first one is known."""
    route = served(observed).route
    holding = route is not None and route.hold
    if desired == 0:
        # Every router must know where to hold them first.
        return holding or (route is not None and route.can_hold and all_up_to_date(observed, observed.table()))
    pods = fleet(observed, stable.name) if stable else None
    return holding and not (pods and pods.ready and pods.known)


def _held(observed: Observed) -> bool:
    """True when every router holds requests, so that the last pod may go."""
    now = served(observed)
    return now.verified and now.route is not None and now.route.hold
