"""What `up` does about what it finds: a pure decision, so that every case of a killed run has its test."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from devcluster.host.layout import Record


class Action(Enum):
    CREATE = "create"  # nothing is there
    KEEP = "keep"  # it runs and is healthy
    RECREATE = "recreate"  # remains of a run that was killed or has failed
    REFUSE = "refuse"  # a healthy cluster of the other kind, which may be in use


def decide(
    record: Record | None, *, supervisor: bool, problems: Sequence[str], control_plane_only: bool, remains: bool
) -> Action:
    """Choose the action for a cluster with ``record``, whose ``supervisor`` process is alive or not.

    ``problems`` are what its status says; ``remains`` is true where its folder or kernel objects exist.
    A full cluster serves a caller who needs a control plane only; not the other way round.
    """
    if record is None:
        return Action.RECREATE if supervisor or remains else Action.CREATE
    if not record.ready or not supervisor or problems:
        return Action.RECREATE
    if record.control_plane_only and not control_plane_only:
        return Action.REFUSE
    return Action.KEEP
