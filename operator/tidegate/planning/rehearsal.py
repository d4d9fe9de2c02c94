"""The operator's own decision and writes over a snapshot: what would be written is kept, and nothing is sent."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tidegate.api.status import ModelDeploymentStatus
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.compute import compute
from tidegate.domain.observed import Observed, Owner, Raw
from tidegate.domain.plan import Plan, Poke
from tidegate.resources.settings import Settings
from tidegate.runtime.writes import carry_out, key

SETTINGS = Settings(packager_image="unknown", router_image="unknown")
"""Whoever plans need not know how the operator is installed: only writes that the change brings about are told."""


@dataclass(frozen=True)
class Write:
    """A write to the API server. ``content`` tells two writes of one object apart."""

    action: str
    kind: str
    name: str
    content: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """One decision and the writes that follow from it."""

    plan: Plan
    status: ModelDeploymentStatus
    writes: tuple[Write, ...]


@dataclass
class _Kept:
    """Keeps the writes of a decision instead of sending them."""

    observed: Observed
    writes: list[Write] = field(default_factory=list)

    def apply(self, manifest: dict[str, Any], *, force: bool) -> None:
        seen = {key(o) for o in (*self.observed.objects, *self.observed.router)}
        seen |= {key(self.observed.service)} if self.observed.service else set()
        action = "change" if key(manifest) in seen else "create"
        self.writes.append(Write(action, *key(manifest), content=json.dumps(manifest, sort_keys=True)))

    def delete(self, existing: Raw) -> None:
        self.writes.append(Write("delete", *key(existing)))

    def poke(self, namespace: str, poke: Poke) -> None:
        """That routers read their configuration follows from its change, and is no news."""


def rehearse(spec: ModelDeploymentSpec, status: ModelDeploymentStatus, observed: Observed, now: datetime) -> Rehearsal:
    """The decision that the operator would make of these, and what it would write."""
    subject = observed.subject
    own = Owner(subject.name, subject.uid)
    if own not in observed.owners:
        observed = replace(observed, owners=tuple(sorted((*observed.owners, own), key=lambda o: o.name)))
    plan, after = compute(spec, status, observed, now)
    kept = _Kept(observed)
    carry_out(kept, observed, plan, SETTINGS)
    return Rehearsal(plan, after, tuple(kept.writes))
