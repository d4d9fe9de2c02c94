"""One reconcile of the operator's own code against a snapshot: what it would write is kept, and nothing is written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tidegate.api.status import ModelDeploymentStatus
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.compute import compute
from tidegate.domain.observed import Observed, Owner, PodView, Raw, Subject
from tidegate.domain.plan import Event, Plan, Poke
from tidegate.domain.routing import RouterReport, Table
from tidegate.ports import Found
from tidegate.resources.settings import Settings
from tidegate.runtime.reconcile import Reconciler, key

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
class _Nowhere:
    """Stands for the cluster, the routers and the clock of a snapshot."""

    found: Found
    observed: Observed
    at: datetime
    writes: list[Write] = field(default_factory=list)

    def find(self, namespace: str, name: str) -> Found | None:
        return self.found

    def observe(self, subject: Subject) -> Observed:
        return self.observed

    def apply(self, manifest: dict[str, Any], *, force: bool) -> None:
        seen = {key(o) for o in (*self.observed.objects, *self.observed.router)}
        seen |= {key(self.observed.service)} if self.observed.service else set()
        action = "change" if key(manifest) in seen else "create"
        self.writes.append(Write(action, *key(manifest), content=json.dumps(manifest, sort_keys=True)))

    def delete(self, existing: Raw) -> None:
        self.writes.append(Write("delete", *key(existing)))

    def poke(self, namespace: str, poke: Poke) -> None:
        """That routers read their configuration follows from its change, and is no news."""

    def write_status(self, found: Found, status: ModelDeploymentStatus) -> None:
        """Status is told by itself."""

    def record(self, found: Found, event: Event, now: datetime) -> None:
        """Events are told by themselves."""

    def reports(
        self, routers: Sequence[PodView], table: Table, revisions: Sequence[str] = ()
    ) -> tuple[RouterReport, ...]:
        return self.observed.reports

    def now(self) -> datetime:
        return self.at


def rehearse(spec: ModelDeploymentSpec, status: ModelDeploymentStatus, observed: Observed, now: datetime) -> Rehearsal:
    """The decision that the operator would make of these, and what it would write."""
    subject = observed.subject
    own = Owner(subject.name, subject.uid)
    if own not in observed.owners:
        observed = replace(observed, owners=tuple(sorted((*observed.owners, own), key=lambda o: o.name)))
    found = Found(subject=subject, resource_version="", spec=spec, status=status, raw={})
    nowhere = _Nowhere(found, observed, now)
    Reconciler(nowhere, nowhere, nowhere, SETTINGS)(subject.namespace, subject.name)
    plan, after = compute(spec, status, observed, now)
    return Rehearsal(plan, after, tuple(nowhere.writes))
