"""What a look at the checks leaves behind, apart from decisions: evidence, which is not worth a write every 2 seconds.

It is carried in memory and written with every decision, and from time to time for an operator that begins anew. To
lose a few looks of it harms no bound: the tests only know less.
"""

from datetime import timedelta
from typing import TypeVar

from tidegate.api.status import BakeStatus, ModelDeploymentStatus, RolloutStatus

Judged = TypeVar("Judged", RolloutStatus, BakeStatus)
WRITE_AFTER = timedelta(seconds=30)
"""How much evidence an operator that ends without warning may lose."""
UNTOLD: dict[str, object] = {"reason": "", "message": "", "inputs": [], "memory": None}
"""What of a decision about the size changes at every look, while the size stays."""


def decisions(status: ModelDeploymentStatus) -> ModelDeploymentStatus:
    """The status without evidence: what must be written at once when it changes."""
    rollout = status.rollout.model_copy(update={"evidence": None}) if status.rollout else None
    bake = status.bake.model_copy(update={"evidence": None}) if status.bake else None
    scaling = status.scaling.model_copy(update=UNTOLD) if status.scaling else None
    return status.model_copy(update={"rollout": rollout, "bake": bake, "analysis": [], "scaling": scaling})


def with_evidence(status: ModelDeploymentStatus, carried: ModelDeploymentStatus) -> ModelDeploymentStatus:
    """The status as read, with the evidence of a later look that belongs to the same rollout or bake."""
    rollout, bake = status.rollout, status.bake
    if status.scaling and carried.scaling and status.scaling.desired == carried.scaling.desired:
        status = status.model_copy(update={"scaling": carried.scaling})
    if rollout and carried.rollout and _same_rollout(rollout, carried.rollout):
        return status.model_copy(update={"rollout": _given(rollout, carried.rollout), "analysis": carried.analysis})
    if bake and carried.bake and (bake.revision, bake.started_at) == (carried.bake.revision, carried.bake.started_at):
        return status.model_copy(update={"bake": _given(bake, carried.bake), "analysis": carried.analysis})
    return status


def _same_rollout(one: RolloutStatus, other: RolloutStatus) -> bool:
    return (one.revision, one.started_at, one.step, one.weight) == (
        other.revision,
        other.started_at,
        other.step,
        other.weight,
    )


def _given(status: Judged, carried: Judged) -> Judged:
    return status.model_copy(update={"evidence": carried.evidence})
