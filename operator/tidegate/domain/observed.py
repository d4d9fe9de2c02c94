"""What was seen: one snapshot of everything a decision needs, as the API server and the routers gave it.

The snapshot holds raw Kubernetes objects so that it can be written to a file and decided again; the views below are
how decisions read them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from pydantic import ValidationError

from tidegate.domain.capacity import CapacityFacts
from tidegate.domain.checks.windows import Window
from tidegate.domain.labels import ATTEMPT, COMPONENT, KEY, MANAGED, MANAGER, MODEL, PARITY, REVISION, ROUTE, SHARD
from tidegate.domain.revision import Pins, Revision, StoredRevision
from tidegate.domain.routing import Route, RouterReport, Table, shard_of
from tidegate.domain.scaling.load import Live
from tidegate.domain.watching import Watching

Raw = Mapping[str, Any]
TABLE_KEY = "table.json"
WATCHING_KEY = "watching.json"
ROUTE_KINDS = ("HTTPRoute", "GRPCRoute")
"""Kinds of the Gateway API that a model has one of each of, under its own name."""


@dataclass(frozen=True)
class Subject:
    """The ModelDeployment that is decided about."""

    name: str
    namespace: str
    uid: str
    generation: int


@dataclass(frozen=True)
class Owner:
    """A ModelDeployment that exists in the namespace."""

    name: str
    uid: str


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time as Kubernetes writes it."""
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True)
class PodView:
    """The parts of a pod that decisions read; ``log`` is the end of a failed server's log where it was asked for."""

    raw: Raw
    log: str = ""

    @property
    def name(self) -> str:
        return str(self.raw["metadata"]["name"])

    @property
    def revision(self) -> str:
        return str(self.raw["metadata"].get("labels", {}).get(REVISION, ""))

    @property
    def serves(self) -> bool:
        """True for a pod of the model's servers, not of its Jobs."""
        return bool(self.raw["metadata"].get("labels", {}).get(COMPONENT) == "server")

    @property
    def address(self) -> str:
        return str(self.raw.get("status", {}).get("podIP", ""))

    @property
    def leaving(self) -> bool:
        return "deletionTimestamp" in self.raw["metadata"]

    @property
    def ended(self) -> bool:
        """True for a pod that will never run again, such as an evicted one; it stays listed, and counts for nothing."""
        return self.raw.get("status", {}).get("phase") in ("Succeeded", "Failed")

    @property
    def conditions(self) -> Mapping[str, Raw]:
        return {c["type"]: c for c in self.raw.get("status", {}).get("conditions", [])}

    @property
    def ready(self) -> bool:
        return not self.leaving and self.conditions.get("Ready", {}).get("status") == "True"

    def ready_for(self, time: timedelta, now: datetime | None) -> bool:
        """True for a pod that has been ready for so long."""
        since = parse_time(self.conditions.get("Ready", {}).get("lastTransitionTime"))
        return self.ready and since is not None and now is not None and now - since >= time

    @property
    def annotations(self) -> Mapping[str, str]:
        return dict(self.raw["metadata"].get("annotations", {}))

    def containers(self) -> Iterable[Raw]:
        """Statuses of init containers first, then of the containers."""
        status = self.raw.get("status", {})
        return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


@dataclass(frozen=True)
class JobView:
    """A Job of the packager, with its pods: it resolves an address, or replays golden cases."""

    raw: Raw
    pods: tuple[PodView, ...]

    @property
    def name(self) -> str:
        return str(self.raw["metadata"]["name"])

    @property
    def labels(self) -> Mapping[str, str]:
        return dict(self.raw["metadata"].get("labels", {}))

    @property
    def key(self) -> str:
        return self.labels.get(KEY, "")

    @property
    def leaving(self) -> bool:
        return "deletionTimestamp" in self.raw["metadata"]

    @property
    def attempt(self) -> int:
        text = self.labels.get(ATTEMPT, "0")
        return int(text) if text.isdecimal() else 0

    @property
    def conditions(self) -> Mapping[str, Raw]:
        return {c["type"]: c for c in self.raw.get("status", {}).get("conditions", []) if c.get("status") == "True"}

    @property
    def ended_at(self) -> datetime | None:
        """When the Job failed or completed; None while it runs."""
        ended = self.conditions.get("Failed") or self.conditions.get("Complete")
        return parse_time(ended.get("lastTransitionTime")) if ended else None

    def result(self, name: str) -> Raw | None:
        """What the container of this name reported, once it has ended and said anything.

        An answer goes before failures: of several pods of one Job, one may have come to its end.
        """
        reports = []
        for pod in self.pods:
            for container in pod.containers():
                ended = container.get("state", {}).get("terminated")
                if ended and ended.get("message") and container["name"] == name:
                    reports.append(read_report(ended["message"]))
        return next((r for r in reports if "reason" not in r), reports[-1] if reports else None)


def read_report(text: str) -> Raw:
    """A termination message of the packager; text that is no report becomes a failure that quotes it."""
    try:
        report = json.loads(text)
    except ValueError:
        report = None
    return report if isinstance(report, dict) else {"reason": "FetchFailed", "message": text.strip()[-512:]}


def belongs(item: Raw, subject: Subject) -> bool:
    """True for the subject's own objects, and for those that lost their owner, as after a restore from a backup.

    One label is soon copied by somebody who made the object for something else, so it does not count.
    """
    owners = item["metadata"].get("ownerReferences", [])
    if owners:
        return any(owner.get("uid") == subject.uid for owner in owners)
    labels = item["metadata"].get("labels", {})
    return (labels.get(MODEL), labels.get(MANAGED)) == (subject.name, MANAGER)


def route_in(item: Raw) -> Route | None:
    """The route that an object was written from; None where it does not say, or says what cannot be read."""
    try:
        return Route.model_validate_json(item["metadata"].get("annotations", {}).get(ROUTE, ""))
    except ValidationError:
        return None


def shard_label(item: Raw) -> int | None:
    """Number of the router that an object belongs or leads to; None where it does not say."""
    text = item["metadata"].get("labels", {}).get(SHARD, "")
    return int(text) if text.isdecimal() else None


def _table(item: Raw) -> Table:
    try:
        return Table.model_validate_json(item.get("data", {}).get(TABLE_KEY, "{}"))
    except ValidationError:
        return Table()


@dataclass(frozen=True)
class Observed:
    """One snapshot.

    ``objects`` belong to the subject, ``router`` to the routers of its namespace: to the subject's own one at least,
    and to all of them while it has none. ``service`` is whatever holds the Service name that the subject needs, its own
    or somebody else's. ``logs`` are the ends of failed servers' logs, by pod. ``requests`` are what people asked for by
    annotation, by verb. ``window`` is what was counted of stable and the canary since the last look at the checks; None
    when there is no earlier reading to compare with. ``capacity`` is what was read of the cluster's room, where a plan
    needs it. ``observer`` are the objects of the namespace's observer, and ``watched`` says by pod which version of
    what it watches it reported. ``scaling`` is what the size is decided by. ``trouble`` says why
    routes of the Gateway API cannot be read, and is empty where they can. ``via`` and ``now`` are spec's router and
    the time of the decision, where that router is not Envoy.
    """

    subject: Subject
    pins: Pins
    owners: tuple[Owner, ...] = ()
    objects: tuple[Raw, ...] = ()
    service: Raw | None = None
    foreign: tuple[Raw, ...] = ()
    router: tuple[Raw, ...] = ()
    reports: tuple[RouterReport, ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    window: Window | None = None
    capacity: CapacityFacts | None = None
    observer: tuple[Raw, ...] = ()
    watched: Mapping[str, str] = field(default_factory=dict)
    scaling: Live = field(default_factory=Live)
    trouble: str = ""
    via: Literal["Envoy", "GatewayAPI", "Service"] = "Envoy"
    now: datetime | None = None

    def kind(self, kind: str) -> list[Raw]:
        """The subject's objects of one kind."""
        return [o for o in self.objects if o["kind"] == kind]

    def pods(self, revision: str) -> tuple[PodView, ...]:
        """Pods of one revision that have not ended and are not on their way out."""
        views = (PodView(o, self.logs.get(o["metadata"]["name"], "")) for o in self.kind("Pod"))
        return tuple(v for v in views if v.revision == revision and not v.leaving and not v.ended)

    def deployment(self, revision: str) -> Raw | None:
        """The Deployment of one revision."""
        return next((o for o in self.kind("Deployment") if o["metadata"]["name"] == revision), None)

    def resolve(self) -> tuple[JobView, ...]:
        """The Jobs that resolve an address, newest attempt first."""
        return tuple(job for job in self._jobs() if job.labels.get(COMPONENT) != PARITY)

    def parity(self, revision: str) -> tuple[JobView, ...]:
        """The Jobs that replay the golden cases on pods of one revision, newest attempt first.

        One that is on its way out belongs to an earlier rollout, whose answers do not count.
        """
        found = (job for job in self._jobs() if job.labels.get(COMPONENT) == PARITY and not job.leaving)
        return tuple(job for job in found if job.labels.get(REVISION) == revision)

    def _jobs(self) -> list[JobView]:
        views = []
        for job in self.kind("Job"):
            name = job["metadata"]["name"]
            labelled = ((o["metadata"].get("labels", {}).get("job-name"), o) for o in self.kind("Pod"))
            views.append(JobView(job, tuple(PodView(o) for label, o in labelled if label == name)))
        return sorted(views, key=lambda v: -v.attempt)

    def revisions(self) -> dict[str, StoredRevision]:
        """The revisions kept in the cluster, by name. One that cannot be read is as good as absent."""
        found = {}
        for item in self.kind("ControllerRevision"):
            name = item["metadata"]["name"]
            try:
                revision = Revision.model_validate(item.get("data"))
            except ValidationError:
                continue
            found[name] = StoredRevision(name=name, number=item.get("revision", 1), revision=revision)
        return found

    @cached_property
    def _tables(self) -> dict[int, Table]:
        """The routes of each router as last written. A table that cannot be read is written anew."""
        return {shard_label(o) or 0: _table(o) for o in self.router if o["kind"] == "ConfigMap"}

    @cached_property
    def shard(self) -> int:
        """The router of the namespace that has the subject's route, or shall get it."""
        own = self.service if self.service and belongs(self.service, self.subject) else None
        present = {owner.name for owner in self.owners}
        return shard_of(self.subject.name, self._tables, present, shard_label(own) if own else None)

    def table(self) -> Table:
        """The routes of the subject's router as last written."""
        return self._tables.get(self.shard, Table())

    def routers(self) -> tuple[PodView, ...]:
        """Pods of the subject's router that have not ended and are not on their way out."""
        views = (PodView(o) for o in self.router if o["kind"] == "Pod" and (shard_label(o) or 0) == self.shard)
        return tuple(v for v in views if not v.leaving and not v.ended)

    def watching(self) -> Watching:
        """What the observer was told to watch. A text that cannot be read is written anew."""
        for item in self.observer:
            if item["kind"] == "ConfigMap":
                try:
                    return Watching.model_validate_json(item.get("data", {}).get(WATCHING_KEY, "{}"))
                except ValidationError:
                    return Watching()
        return Watching()

    def observers(self) -> tuple[PodView, ...]:
        """Observer pods that have not ended and are not on their way out."""
        views = (PodView(o) for o in self.observer if o["kind"] == "Pod")
        return tuple(v for v in views if not v.leaving and not v.ended)

    def watched_by(self, pod: str) -> str | None:
        """The version of what to watch that an observer reported; None while it says nothing."""
        return self.watched.get(pod)

    def name_taken(self) -> bool:
        """True when a name that the subject needs belongs to somebody else."""
        return self.usurper() is not None

    def usurper(self) -> Raw | None:
        """The first object of somebody else that holds a name that the subject needs."""
        by_gateway = self.via == "GatewayAPI"
        if self.service and not by_gateway and not belongs(self.service, self.subject):
            return self.service
        return next((o for o in self.foreign if by_gateway or o["kind"] not in ROUTE_KINDS), None)
