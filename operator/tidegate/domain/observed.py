"""What was seen: one snapshot of everything a decision needs, as the API server and the routers gave it.

The snapshot holds raw Kubernetes objects so that it can be written to a file and decided again; the views below are
how decisions read them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from tidegate.domain.checks.windows import Window
from tidegate.domain.labels import ATTEMPT, KEY, MANAGED, MANAGER, MODEL, REVISION
from tidegate.domain.revision import Pins, Revision, StoredRevision
from tidegate.domain.routing import RouterReport, Table

Raw = Mapping[str, Any]
TABLE_KEY = "table.json"


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

    @property
    def annotations(self) -> Mapping[str, str]:
        return dict(self.raw["metadata"].get("annotations", {}))

    def containers(self) -> Iterable[Raw]:
        """Statuses of init containers first, then of the containers."""
        status = self.raw.get("status", {})
        return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


@dataclass(frozen=True)
class ResolveView:
    """The Job that resolves an address, with its pods."""

    raw: Raw
    pods: tuple[PodView, ...]

    @property
    def key(self) -> str:
        return str(self.raw["metadata"].get("labels", {}).get(KEY, ""))

    @property
    def attempt(self) -> int:
        text = self.raw["metadata"].get("labels", {}).get(ATTEMPT, "0")
        return int(text) if text.isdecimal() else 0

    @property
    def conditions(self) -> Mapping[str, Raw]:
        return {c["type"]: c for c in self.raw.get("status", {}).get("conditions", []) if c.get("status") == "True"}

    @property
    def ended_at(self) -> datetime | None:
        """When the Job failed or completed; None while it runs."""
        ended = self.conditions.get("Failed") or self.conditions.get("Complete")
        return parse_time(ended.get("lastTransitionTime")) if ended else None

    def result(self) -> Raw | None:
        """What the Job reported, once a container of it has ended and said anything. An answer goes before failures."""
        reports = []
        for pod in self.pods:
            for container in pod.containers():
                ended = container.get("state", {}).get("terminated")
                if ended and ended.get("message"):
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


@dataclass(frozen=True)
class Observed:
    """One snapshot.

    ``objects`` belong to the subject, ``router`` to the router of its namespace; ``service`` is whatever holds the
    Service name that the subject needs, its own or somebody else's. ``logs`` are the ends of failed servers' logs, by
    pod. ``requests`` are what people asked for by annotation, by verb. ``window`` is what was counted of stable and the
    canary since the last look at the checks; None when there is no earlier reading to compare with.
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

    def resolve(self) -> tuple[ResolveView, ...]:
        """The resolve Jobs, newest attempt first."""
        views = []
        for job in self.kind("Job"):
            name = job["metadata"]["name"]
            labelled = ((o["metadata"].get("labels", {}).get("job-name"), o) for o in self.kind("Pod"))
            views.append(ResolveView(job, tuple(PodView(o) for label, o in labelled if label == name)))
        return tuple(sorted(views, key=lambda v: -v.attempt))

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

    def table(self) -> Table:
        """The routes as last written. A table that cannot be read is written anew."""
        for item in self.router:
            if item["kind"] == "ConfigMap":
                try:
                    return Table.model_validate_json(item.get("data", {}).get(TABLE_KEY, "{}"))
                except ValidationError:
                    return Table()
        return Table()

    def routers(self) -> tuple[PodView, ...]:
        """Router pods that have not ended and are not on their way out."""
        views = (PodView(o) for o in self.router if o["kind"] == "Pod")
        return tuple(v for v in views if not v.leaving and not v.ended)

    def name_taken(self) -> bool:
        """True when a name that the subject needs belongs to somebody else."""
        return self.usurper() is not None

    def usurper(self) -> Raw | None:
        """The first object of somebody else that holds a name that the subject needs."""
        if self.service and not belongs(self.service, self.subject):
            return self.service
        return next(iter(self.foreign), None)
