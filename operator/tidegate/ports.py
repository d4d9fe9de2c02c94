"""What the operator needs of the world. The runtime is written against these; the adapters are the real ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tidegate.api.status import ModelDeploymentStatus
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.capacity import CapacityFacts
from tidegate.domain.checks.comparisons import Comparisons
from tidegate.domain.checks.queries import QueryAnswer
from tidegate.domain.observed import Observed, PodView, Raw, Subject
from tidegate.domain.plan import Event, Poke
from tidegate.domain.routing import RouterReport, Table
from tidegate.domain.scaling.load import Served


@dataclass(frozen=True)
class Found:
    """A ModelDeployment as read, with the version that a status write must still find."""

    subject: Subject
    resource_version: str
    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus
    raw: Raw


class Writes(Protocol):
    """Writes of objects. Every method has a time-out and raises an :class:`tidegate.adapters.errors.ApiError`."""

    def apply(self, manifest: dict[str, Any], *, force: bool) -> None:
        """Server-side apply. Without ``force`` a field that somebody else set otherwise is a Conflict."""
        ...

    def delete(self, existing: Raw) -> None:
        """Delete exactly this object: another one that got its name since is left alone."""
        ...

    def poke(self, namespace: str, poke: Poke) -> None:
        """Tell a router pod to read its configuration now."""
        ...


class Cluster(Writes, Protocol):
    """The API server. Every method has a time-out and raises an :class:`tidegate.adapters.errors.ApiError`."""

    def find(self, namespace: str, name: str) -> Found | None:
        """The ModelDeployment; None when it does not exist or is on its way out."""
        ...

    def observe(self, subject: Subject) -> Observed:
        """A fresh snapshot, without the routers' reports."""
        ...

    def capacity(self, namespace: str) -> CapacityFacts:
        """What is known of the room for pods of a namespace.

        It reads every node and every pod of the cluster: to be asked while a plan is made, not at every look.
        """
        ...

    def write_status(self, found: Found, status: ModelDeploymentStatus) -> None:
        """Write status, unless the object changed since it was read."""
        ...

    def record(self, found: Found, event: Event, now: datetime) -> None:
        """Write one event."""
        ...


class Telemetry(Protocol):
    """The routers' own view."""

    def reports(
        self, routers: Sequence[PodView], table: Table, revisions: Sequence[str] = (), sized: str = ""
    ) -> tuple[RouterReport, ...]:
        """One report a router; a router that does not answer in time is reported as unreachable.

        Only the requests of ``revisions`` are counted, and only the load of the model ``sized`` is read.
        """
        ...


class Observers(Protocol):
    """What observers have compared."""

    def comparisons(self, observers: Sequence[PodView]) -> Mapping[str, Comparisons]:
        """Everything counted since each observer started, by its pod; one that does not answer is left out."""
        ...


class Servers(Protocol):
    """What Triton servers have counted."""

    def served(self, servers: Sequence[PodView]) -> Mapping[str, Served]:
        """Everything counted since each server started, by its pod; one that does not answer is left out."""
        ...


class Queries(Protocol):
    """PromQL. It raises nothing: a query that has no answer says why."""

    def values(self, queries: Mapping[str, str]) -> Mapping[str, QueryAnswer]:
        """One answer a query, by the same names, all as of now and within a few seconds."""
        ...


class Clock(Protocol):
    """The time, in UTC."""

    def now(self) -> datetime: ...
