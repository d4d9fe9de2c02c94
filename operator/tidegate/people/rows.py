"""The tables of ``get`` and ``history``, as rows."""

from dataclasses import dataclass
from datetime import datetime

from tidegate.people.model import Model


@dataclass(frozen=True)
class ModelRow:
    """One ModelDeployment; ``weight`` is the share of a rollout's revision, in percent, None where there is none."""

    namespace: str
    name: str
    model: str
    phase: str
    ready: str
    weight: int | None
    revision: str
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class RevisionRow:
    """One revision that served, serves or takes over. ``role`` is stable, canary, warm or empty."""

    revision: str
    role: str
    digest: str
    uri: str
    promoted_at: datetime | None


def model_row(model: Model) -> ModelRow:
    """The row of ``get``."""
    status, ready = model.status, model.condition("Ready")
    return ModelRow(
        namespace=model.namespace,
        name=model.name,
        model=model.uri,
        phase=status.phase.value if status.phase else "Unknown",
        ready=status.ready or "",
        weight=status.rollout.weight if status.rollout else None,
        revision=status.stable.revision if status.stable else "",
        reason=ready.reason if ready else "",
        created_at=model.created,
    )


def revision_rows(model: Model) -> list[RevisionRow]:
    """The rows of ``history``: the revision that takes over, and those that had all traffic, newest first."""
    status = model.status
    roles = {status.bake.former: "warm"} if status.bake else {}
    # What is kept of a promoted revision that failed is in stable alone until the former one has everything.
    running = {r.revision: r for r in (status.canary, status.stable) if r}
    roles |= {r.revision: role for role, r in (("canary", status.canary), ("stable", status.stable)) if r}
    told = {entry.revision for entry in status.revisions}
    new = [RevisionRow(n, roles[n], r.digest, r.uri, None) for n, r in running.items() if n not in told]
    served = [
        RevisionRow(e.revision, roles.get(e.revision, ""), e.digest, e.uri, e.promoted_at) for e in status.revisions
    ]
    return [*new, *served]
