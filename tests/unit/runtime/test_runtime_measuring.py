"""What the running operator measures for a decision, and what it remembers between two looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from domain_objects import make_spec

from tidegate.api.status import (
    Aborted,
    BakeStatus,
    BudgetStatus,
    CheckStatus,
    ModelDeploymentStatus,
    RevisionStatus,
    RolloutStatus,
)
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.capacity import CapacityFacts
from tidegate.domain.checks.comparisons import Comparisons, Pair
from tidegate.domain.checks.queries import QueryAnswer
from tidegate.domain.checks.windows import Bucket, Histogram, Traffic
from tidegate.domain.observed import Observed, PodView, Subject
from tidegate.domain.revision import Pins
from tidegate.domain.routing import RouterReport, Table
from tidegate.domain.scaling.load import Load, Served
from tidegate.ports import Cluster, Found
from tidegate.runtime.measuring import NO_PROMETHEUS, Measuring
from tidegate.runtime.meter import Measured, Meter

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SUBJECT = Subject("digits", "vision", "u-1", 1)
OBSERVED = Observed(subject=SUBJECT, pins=Pins(packager_image="p"))
QUERY = {"name": "business", "prometheus": {"query": 'lost{model="{{model}}",revision="{{canary}}"}', "max": 1}}


def status(**rollout: object) -> ModelDeploymentStatus:
    """A rollout from one revision to another is under way."""
    under_way = RolloutStatus(revision="digits-2", step=1, weight=5, started_at=T0, progressed_at=T0)
    return ModelDeploymentStatus(
        stable=RevisionStatus(revision="digits-1", digest="a"),
        canary=RevisionStatus(revision="digits-2", digest="b"),
        rollout=under_way.model_copy(update=rollout),
    )


def found(current: ModelDeploymentStatus | None = None, checks: Sequence[object] = ()) -> Found:
    """The object as it was read."""
    analysis = {"analysis": {"checks": list(checks)}} if checks else {}
    annotations = {"tidegate.dev/abort": "now", "example.com/other": "x"}
    spec = make_spec(2, rollout={"steps": [], **analysis})
    return Found(SUBJECT, "7", spec, current or status(), {"metadata": {"annotations": annotations}})


@dataclass
class Scene:
    """Clock, routers, cluster and Prometheus, as a test sets them."""

    at: datetime = T0
    requests: int = 0
    asked: list[Mapping[str, str]] = field(default_factory=list)
    revisions: list[Sequence[str]] = field(default_factory=list)
    capacity_reads: int = 0

    def now(self) -> datetime:
        return self.at

    def reports(
        self, routers: Sequence[PodView], table: Table, revisions: Sequence[str], sized: str = ""
    ) -> tuple[RouterReport, ...]:
        self.revisions.append(revisions)
        traffic = Traffic(self.requests, 0, Histogram((Bucket(1, 2, self.requests),)))
        loads = {"digits-1": Load(traffic)} if sized else {}
        return (RouterReport(pod="r", traffic=dict.fromkeys(revisions, traffic), loads=loads),)

    def capacity(self, namespace: str) -> CapacityFacts:
        self.capacity_reads += 1
        return CapacityFacts(namespace)

    def served(self, servers: Sequence[PodView]) -> Mapping[str, Served]:
        return {}

    def values(self, queries: Mapping[str, str]) -> Mapping[str, QueryAnswer]:
        self.asked.append(queries)
        return {name: QueryAnswer(0.5) for name in queries}

    def measuring(self, meter: Meter | None = None, *, prometheus: bool = True) -> Measuring:
        cluster = cast(Cluster, self)
        return Measuring(
            cluster, self, self, meter or Meter(), queries=self if prometheus else None, observers=None, servers=self
        )


def looks(scene: Scene, measuring: Measuring, model: Found, seconds: float = 2.0) -> Observed:
    """Two looks; what the second one sees."""
    measuring.measure(model, OBSERVED)
    scene.at += timedelta(seconds=seconds)
    scene.requests += 100
    return measuring.measure(model, OBSERVED)[0]


def test_a_window_holds_what_was_counted_since_the_last_look_of_this_process() -> None:
    scene = Scene(requests=1000)
    measuring = scene.measuring()
    first, _ = measuring.measure(found(), OBSERVED)
    assert first.window is None, "an operator that has just begun compares with nothing"
    scene.at, scene.requests = T0 + timedelta(seconds=3), 1200
    second, _ = measuring.measure(found(), OBSERVED)
    assert second.window is not None
    assert second.window.canary is not None
    assert (second.window.seconds, second.window.canary.requests) == (3.0, 200)


def test_a_window_grows_until_a_look_has_used_it() -> None:
    scene, meter = Scene(), Meter()
    measuring = scene.measuring(meter)
    looks(scene, measuring, found())
    scene.at += timedelta(seconds=2)
    seen, taken = measuring.measure(found(), OBSERVED)
    assert seen.window is not None
    assert seen.window.seconds == 4.0
    assert taken.measured is not None
    meter.use("vision", "digits", taken.measured)
    scene.at += timedelta(seconds=1)
    seen, _ = measuring.measure(found(), OBSERVED)
    assert seen.window is not None
    assert seen.window.seconds == 1.0


def test_routers_count_only_what_is_compared() -> None:
    scene = Scene()
    scene.measuring().measure(found(ModelDeploymentStatus()), OBSERVED)
    scene.measuring().measure(found(), OBSERVED)
    assert scene.revisions == [(), ("digits-1", "digits-2")]


def test_requests_by_people_are_read_from_annotations_and_no_others() -> None:
    seen, _ = Scene().measuring().measure(found(), OBSERVED)
    assert seen.requests == {"abort": "now"}


def test_a_query_is_asked_with_its_names_once_a_look() -> None:
    scene = Scene()
    seen = looks(scene, scene.measuring(), found(checks=[QUERY]))
    assert scene.asked == [{"business": 'lost{model="digits",revision="digits-2"}'}]
    assert seen.window is not None
    assert seen.window.values == {"business": 0.5}


def test_no_query_is_asked_before_a_look_is_due() -> None:
    scene = Scene()
    looks(scene, scene.measuring(), found(checks=[QUERY]), seconds=0.5)
    assert scene.asked == []


@pytest.mark.parametrize(
    ("query", "prometheus", "why"),
    [("up", False, NO_PROMETHEUS), ('x{a="{{pod}}"}', True, "{{pod}} is not known")],
)
def test_a_query_that_cannot_be_asked_says_why(query: str, prometheus: bool, why: str) -> None:
    scene = Scene()
    check = {"name": "business", "prometheus": {"query": query, "max": 1}}
    seen = looks(scene, scene.measuring(prometheus=prometheus), found(checks=[check]))
    assert seen.window is not None
    assert seen.window.values == {}
    assert why in seen.window.reasons["business"]


@pytest.mark.parametrize(
    ("current", "reads"),
    [
        (status(), 1),
        (status(plan=BudgetStatus(mode="Surge")), 0),
        (status(plan=BudgetStatus(mode="Wait")), 1),
        (status(aborted=Aborted(reason="Aborted", message="m", time=T0)), 0),
        (ModelDeploymentStatus(), 0),
    ],
)
def test_the_whole_cluster_is_read_only_while_a_plan_is_made(current: ModelDeploymentStatus, reads: int) -> None:
    scene = Scene()
    scene.measuring().measure(found(current), OBSERVED)
    assert scene.capacity_reads == reads


def test_evidence_alone_is_written_from_time_to_time_and_a_decision_at_once() -> None:
    meter, before = Meter(), status(evidence={"errors": {}})
    model = found(before)
    later = status(evidence={"errors": {"failed": True}})
    assert meter.keeps(model, later, T0)
    assert meter.keeps(model, later, T0 + timedelta(seconds=29))
    assert not meter.keeps(model, later, T0 + timedelta(seconds=31))
    assert not meter.keeps(model, status(evidence={}, weight=25), T0 + timedelta(seconds=32))


def test_evidence_that_was_not_written_is_remembered_for_its_own_rollout_only() -> None:
    meter, model = Meter(), found(status(evidence={"a": 1}))
    told = [CheckStatus(check="errors", verdict="Pass")]
    meter.keeps(model, status(evidence={"a": 2}).model_copy(update={"analysis": told}), T0)
    recalled = meter.recall(model)
    assert recalled.rollout is not None
    assert recalled.rollout.evidence == {"a": 2}
    assert recalled.analysis == told
    for other in ({"revision": "digits-3"}, {"step": 2}, {"weight": 25}, {"started_at": T0 + timedelta(seconds=1)}):
        fresh = replace(model, status=status(evidence={"a": 1}, **other))
        again = meter.recall(fresh)
        assert again.rollout is not None
        assert again.rollout.evidence == {"a": 1}, other


def test_the_evidence_of_a_bake_is_remembered() -> None:
    meter = Meter()

    def baking(evidence: dict[str, int]) -> ModelDeploymentStatus:
        bake = BakeStatus(revision="digits-2", former="digits-1", started_at=T0, evidence=evidence)
        return ModelDeploymentStatus(bake=bake)

    model = found(baking({"a": 1}))
    assert meter.keeps(model, baking({"a": 2}), T0)
    recalled = meter.recall(model)
    assert recalled.bake is not None
    assert recalled.bake.evidence == {"a": 2}


def test_routers_that_were_replaced_are_compared_from_their_first_counts_on() -> None:
    meter = Meter()

    def measured(router: str, seconds: int, requests: int) -> Measured:
        traffic = dict.fromkeys(("a", "b"), Traffic(requests, 0))
        return Measured(
            ("a", "b"), T0 + timedelta(seconds=seconds), {router: RouterReport(pod=router, traffic=traffic)}
        )

    assert meter.window("ns", "m", measured("old", 0, 500)) is None
    blind = meter.window("ns", "m", measured("new", 2, 7))
    assert blind is not None
    assert blind.canary is None
    seen = meter.window("ns", "m", measured("new", 4, 9))
    assert seen is not None
    assert seen.canary is not None
    assert (seen.seconds, seen.canary.requests) == (2.0, 2)


def test_an_observer_that_starts_during_a_step_is_compared_from_its_first_counts_on() -> None:
    meter = Meter()
    traffic = dict.fromkeys(("a", "b"), Traffic(100, 0))

    def measured(seconds: int, compared: int | None) -> Measured:
        told = {Pair("m", "a", "b"): (compared or 0, 0)}
        seen = {} if compared is None else {"observer": Comparisons(run="1", pairs=told)}
        reports = {"r": RouterReport(pod="r", traffic=traffic)}
        return Measured(("a", "b"), T0 + timedelta(seconds=seconds), reports, seen)

    assert meter.window("ns", "m", measured(0, None)) is None
    for seconds, compared in ((2, None), (4, 10)):
        window = meter.window("ns", "m", measured(seconds, compared))
        assert window is not None
        assert window.agreement is None or window.agreement.compared == 0
    window = meter.window("ns", "m", measured(6, 35))
    assert window is not None
    assert window.agreement is not None
    assert (window.seconds, window.agreement.compared, window.agreement.agreed) == (6.0, 25, 0)


AUTOSCALING = {"maxReplicas": 4, "objective": {"milliseconds": 50}}
SIZED = make_spec(1, autoscaling=AUTOSCALING)


def sized(spec: ModelDeploymentSpec = SIZED) -> Found:
    return Found(SUBJECT, "7", spec, ModelDeploymentStatus(), {"metadata": {}})


def test_the_size_is_decided_by_what_came_since_the_last_look() -> None:
    scene, meter = Scene(), Meter()
    measuring = scene.measuring(meter)
    first, taken = measuring.measure(sized(), OBSERVED)
    assert first.scaling.sample is None
    assert taken.reading is not None
    meter.size_by("vision", "digits", taken.reading, None)
    scene.at += timedelta(seconds=2)
    scene.requests += 100
    seen, taken = measuring.measure(sized(), OBSERVED)
    assert seen.scaling.sample is not None
    assert (seen.scaling.sample.arrivals, seen.scaling.sample.seconds) == (100, 2)
    assert taken.reading is not None


@pytest.mark.parametrize(("interval", "early", "due"), [("2s", 0.3, 1.6), ("2s", 1.4, 2.0), ("20s", 14.0, 16.0)])
def test_the_size_is_looked_at_once_an_interval_however_many_events_come(
    interval: str, early: float, due: float
) -> None:
    scene, meter = Scene(), Meter()
    measuring = scene.measuring(meter)
    model = sized(make_spec(1, autoscaling={**AUTOSCALING, "interval": interval}))
    _, taken = measuring.measure(model, OBSERVED)
    assert taken.reading is not None
    meter.size_by("vision", "digits", taken.reading, None)
    scene.at = T0 + timedelta(seconds=early)
    seen, taken = measuring.measure(model, OBSERVED)
    assert seen.scaling.sample is None
    assert taken.reading is None
    scene.at = T0 + timedelta(seconds=due)
    seen, taken = measuring.measure(model, OBSERVED)
    assert seen.scaling.sample is not None
    assert taken.reading is not None


def test_a_size_that_somebody_else_owns_is_not_measured_and_forgotten() -> None:
    scene, meter = Scene(), Meter()
    measuring = scene.measuring(meter)
    _, taken = measuring.measure(sized(), OBSERVED)
    assert taken.reading is not None
    meter.size_by("vision", "digits", taken.reading, None)
    measuring.measure(sized(make_spec(1)), OBSERVED)
    assert meter.sized("vision", "digits") is None
