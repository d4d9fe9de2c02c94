"""One reconcile against a cluster that changes while it is looked at."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from domain_objects import make_spec

from tidegate.api.status import ModelDeploymentStatus
from tidegate.domain.observed import Observed, Owner, Subject
from tidegate.domain.revision import Pins
from tidegate.ports import Clock, Cluster, Found, Telemetry
from tidegate.resources.settings import Settings
from tidegate.runtime.reconcile import Reconciler

SUBJECT = Subject(name="digits", namespace="vision", uid="uid-1", generation=1)
SETTINGS = Settings(packager_image="tidegate/packager:1", router_image="tidegate/envoy:1")


class Recorder:
    """A cluster that notes every write."""

    def __init__(self, owners: tuple[Owner, ...]) -> None:
        self.owners = owners
        self.writes: list[str] = []

    def find(self, namespace: str, name: str) -> Found:
        return Found(SUBJECT, "1", make_spec(1), ModelDeploymentStatus(), {"metadata": {}})

    def observe(self, subject: Subject) -> Observed:
        return Observed(subject=subject, pins=Pins(packager_image="tidegate/packager:1"), owners=self.owners)

    def __getattr__(self, verb: str) -> Any:
        return lambda *_, **__: self.writes.append(verb)


def reconcile(owners: tuple[Owner, ...]) -> tuple[Recorder, object]:
    cluster = Recorder(owners)
    telemetry = SimpleNamespace(reports=lambda routers, table, revisions, sized: ())
    clock = SimpleNamespace(now=lambda: datetime(2030, 1, 1, tzinfo=UTC))
    work = Reconciler(cast(Cluster, cluster), cast(Telemetry, telemetry), cast(Clock, clock), SETTINGS)
    return cluster, work("vision", "digits")


def test_a_model_that_exists_is_worked_on() -> None:
    cluster, again = reconcile((Owner("digits", "uid-1"),))
    assert "apply" in cluster.writes
    assert again is not None


def test_a_model_deleted_while_it_is_looked_at_leaves_no_router_behind() -> None:
    for owners in ((), (Owner("digits", "uid-2"),), (Owner("other", "uid-3"),)):
        cluster, again = reconcile(owners)
        assert cluster.writes == [], "a router written now would have no owner to go with"
        assert again is None
