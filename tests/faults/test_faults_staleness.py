"""What is read may be old: the operator waits, or is refused, and never acts on it in a way that costs requests."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cluster_requests import Answer, Request, Send
from cluster_stage import Stage
from domain_objects import uri

from tidegate.domain.routing import RouterReport

LOOKS = 6
Distort = Callable[[tuple[RouterReport, ...]], tuple[RouterReport, ...]]


@pytest.fixture
def rolling(stage: Stage) -> Stage:
    """A rollout holds at half of the requests."""
    stage.create()
    stage.settle()
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda now: now.weights().get("2") == 50 and "stepStartedAt" in now.status()["rollout"])
    return stage


def look_on(stage: Stage, times: int = LOOKS) -> None:
    """Let the operator look again and again, as late as it asks for."""
    for _ in range(times):
        stage.kubelet.sync()
        stage.clock.advance(min(stage.look(), default=timedelta(seconds=1)))


class Frozen:
    """Routers that repeat their first answer."""

    def __init__(self) -> None:
        self.first: tuple[RouterReport, ...] | None = None

    def __call__(self, reports: tuple[RouterReport, ...]) -> tuple[RouterReport, ...]:
        self.first = self.first or reports
        return self.first


def unreachable(reports: tuple[RouterReport, ...]) -> tuple[RouterReport, ...]:
    """Routers that do not answer."""
    return tuple(RouterReport(pod=r.pod, reachable=False) for r in reports)


def one_missing(reports: tuple[RouterReport, ...]) -> tuple[RouterReport, ...]:
    """Routers of which one gives no report."""
    return reports[1:]


def empty(reports: tuple[RouterReport, ...]) -> tuple[RouterReport, ...]:
    """Routers that know no pod, as after a failure of DNS."""
    return tuple(replace(r, endpoints={}) for r in reports)


DISTORTIONS: tuple[Distort, ...] = (unreachable, one_missing, empty)


def test_no_weight_rises_while_the_routers_do_not_tell_how_they_are(stage: Stage) -> None:
    stage.create()
    stage.settle()
    stage.edit(model={"uri": uri(2)})
    for distort in (Frozen(), *DISTORTIONS):
        stage.routers.distort = distort
        look_on(stage)
        assert stage.weights() == {"1": 100}, distort
    stage.routers.distort = lambda reports: reports
    stage.settle()
    assert stage.weights() == {"2": 100}
    assert stage.ready()


def test_routers_that_fall_silent_midway_cost_no_pod_and_no_weight(rolling: Stage) -> None:
    pods = {p["metadata"]["uid"] for p in rolling.kubelet.pods()}
    for distort in DISTORTIONS:
        rolling.routers.distort = distort
        look_on(rolling)
        assert rolling.weights() == {"1": 50, "2": 50}, distort
        assert {p["metadata"]["uid"] for p in rolling.kubelet.pods()} >= pods, distort
    rolling.routers.distort = lambda reports: reports
    rolling.settle()
    assert rolling.weights() == {"2": 100}


def test_an_old_copy_of_the_model_cannot_overwrite_its_status(rolling: Stage) -> None:
    newest = rolling.status()
    old = rolling.objects("ModelDeployment")[0]
    rolling.edit(replicas=3)

    def stale(request: Request, send: Send) -> Any:
        if request.verb == "get" and request.resource == "modeldeployments":
            return Answer(200, "OK", json.dumps(old))
        return send()

    rolling.client.fault = stale
    old["status"].pop("rollout")
    look_on(rolling, 3)
    assert rolling.status() == newest
    rolling.client.fault = lambda _, send: send()
    rolling.settle()
    assert rolling.weights() == {"2": 100}
    assert rolling.ready()


def test_a_status_that_somebody_put_back_to_an_older_one_costs_no_request(rolling: Stage) -> None:
    old = rolling.status()
    rolling.settle()
    path = rolling.path("ModelDeployment", "digits") + "/status"
    rolling.api.request("PATCH", path, content_type="application/merge-patch+json", body={"status": old})
    rolling.settle()
    assert rolling.weights() == {"2": 100}
    assert rolling.ready()
