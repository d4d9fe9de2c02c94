"""One size for two revisions: how the replicas of a ModelDeployment are shared while a rollout goes on."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Shares:
    """Replicas of the stable and of the new revision."""

    stable: int
    canary: int


def shares(desired: int, weight: int, next_weight: int, *, stable_now: int, canary_now: int, settled: bool) -> Shares:
    """Share ``desired`` replicas by the canary's ``weight``, in percent.

    ``next_weight`` is the weight of the step that comes: its capacity has to be there before the weight moves, so the
    canary starts at the size that it needs. While weights move (``settled`` False: not every router has them) neither
    revision is made smaller, so abort and promote lose no capacity. A revision with weight keeps at least one replica.
    """
    canary = ceil(desired * max(weight, next_weight) / 100)
    stable = ceil(desired * (100 - weight) / 100)
    if not settled:
        canary, stable = max(canary, canary_now), max(stable, stable_now)
    return Shares(stable, canary)
