"""Promises about asking routers: a bad answer means unreachable, never a wrong split; no slow one delays others."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from http_stub import Asked, HttpStub, Reply, stub

from tidegate.adapters import envoy
from tidegate.adapters.bounded import Bounds
from tidegate.adapters.envoy import EnvoyTelemetry, read_endpoints, read_versions
from tidegate.domain.checks.windows import Bucket, Histogram, Traffic
from tidegate.domain.observed import PodView
from tidegate.domain.routing import Route, Table

TABLE = Table(routes={"digits": Route(model="digits", port=20000, timeout_seconds=30)})
STATS = {
    "stats": [
        {"name": "listener_manager.lds.version_text", "value": "l1"},
        {"name": "cluster_manager.cds.version_text", "value": "c1"},
        {"name": "http.digits.rds.digits.version_text", "value": "r1"},
        {"histograms": {}},
    ]
}
CLUSTERS = {
    "cluster_statuses": [
        {
            "name": "digits-1-http",
            "host_statuses": [
                {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 8000}}},
                {"address": {"socket_address": {"address": "10.0.0.2", "port_value": 8000}}},
            ],
        },
        {"name": "digits-1-grpc"},
    ]
}


def good(asked: Asked) -> Reply:
    return Reply(STATS if asked.path == "/stats" else CLUSTERS)


def pod(name: str = "router-1", address: str = "127.0.0.1") -> PodView:
    return PodView({"metadata": {"name": name}, "status": {"podIP": address} if address else {}})


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpStub]:
    with stub(good) as found:
        monkeypatch.setattr(envoy, "VIEWS_PORT", found.port)
        yield found


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> EnvoyTelemetry:
    monkeypatch.setattr(envoy, "TIMEOUT", envoy.urllib3.Timeout(connect=0.3, read=0.3))
    monkeypatch.setattr(envoy, "BOUNDS", Bounds(seconds=0.5, size=envoy.BOUNDS.size))
    return EnvoyTelemetry()


def test_what_a_router_says_is_reported(there: HttpStub, telemetry: EnvoyTelemetry) -> None:
    (found,) = telemetry.reports([pod()], TABLE)
    assert (found.pod, found.reachable) == ("router-1", True)
    assert (found.listeners, found.clusters, found.routes) == ("l1", "c1", {"digits": "r1"})
    assert found.endpoints == {"digits-1-http": frozenset({"10.0.0.1", "10.0.0.2"}), "digits-1-grpc": frozenset()}
    assert {asked.method for asked in there.asked} == {"GET"}


def test_a_route_that_a_router_does_not_have_has_no_version(there: HttpStub, telemetry: EnvoyTelemetry) -> None:
    there.answer = lambda asked: Reply({"stats": []} if asked.path == "/stats" else {})
    (found,) = telemetry.reports([pod()], TABLE)
    assert (found.reachable, found.listeners, found.routes, found.endpoints) == (True, "", {"digits": ""}, {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"stats": [',
        {},
        [],
        None,
        "text",
        7,
        {"stats": None},
        {"stats": 1},
        {"stats": [1]},
        {"stats": [{"name": "x"}]},
    ],
)
def test_a_malformed_answer_about_versions_means_unreachable(
    there: HttpStub, telemetry: EnvoyTelemetry, body: Any
) -> None:
    there.answer = lambda asked: Reply(body) if asked.path == "/stats" else good(asked)
    (found,) = telemetry.reports([pod()], TABLE)
    assert (found.pod, found.reachable, found.routes, found.endpoints) == ("router-1", False, {}, {})


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        [],
        None,
        {"cluster_statuses": None},
        {"cluster_statuses": [{}]},
        {"cluster_statuses": [{"name": "a", "host_statuses": [{}]}]},
        {"cluster_statuses": [{"name": "a", "host_statuses": [{"address": {"pipe": {"path": "/x"}}}]}]},
        {"cluster_statuses": [{"name": "a", "host_statuses": None}]},
    ],
)
def test_a_malformed_answer_about_endpoints_means_unreachable(
    there: HttpStub, telemetry: EnvoyTelemetry, body: Any
) -> None:
    there.answer = lambda asked: Reply(body) if asked.path == "/clusters" else good(asked)
    assert not telemetry.reports([pod()], TABLE)[0].reachable


@pytest.mark.parametrize("status", [302, 403, 404, 500, 503])
def test_any_other_code_means_unreachable(there: HttpStub, telemetry: EnvoyTelemetry, status: int) -> None:
    there.answer = lambda asked: Reply(STATS, status, headers={"Location": "/stats"})
    assert not telemetry.reports([pod()], TABLE)[0].reachable
    assert len(there.asked) == 1


COUNTS = {
    "stats": [
        {"name": "cluster.digits-1-http.upstream_rq_completed", "value": 7},
        {"name": "cluster.digits-1-http.upstream_rq_5xx", "value": 1},
        {"name": "cluster.digits-1-grpc.grpc.total", "value": 3},
        {"name": "cluster.digits-1-grpc.grpc.2", "value": 1},
        {"name": "cluster.digits-1-grpc.grpc.14", "value": 1},
        {
            "histograms": {
                "supported_percentiles": [50],
                "details": [
                    {
                        "name": "cluster.digits-1-http.upstream_rq_time",
                        "totals": [
                            {"lower_bound": 0, "width": 0, "count": 1},
                            {"lower_bound": 6, "width": 0.1, "count": 2},
                            {"lower_bound": 120, "width": 10, "count": 4},
                        ],
                        "intervals": [{"lower_bound": 6, "width": 0.1, "count": 1}],
                    },
                    {
                        "name": "cluster.digits-1-grpc.upstream_rq_time",
                        "totals": [{"lower_bound": 120, "width": 10, "count": 3}],
                        "intervals": [],
                    },
                ],
            }
        },
    ]
}


def counting(asked: Asked) -> Reply:
    return Reply(COUNTS) if "histogram_buckets" in asked.query else good(asked)


def test_http_and_grpc_requests_of_a_revision_are_added(there: HttpStub, telemetry: EnvoyTelemetry) -> None:
    there.answer = counting
    (found,) = telemetry.reports([pod()], TABLE, ["digits-1", "digits-2"])
    buckets = (Bucket(0, 1, 1), Bucket(6, 7, 2), Bucket(120, 130, 7))
    assert found.traffic == {"digits-1": Traffic(10, 3, Histogram(buckets)), "digits-2": Traffic()}
    (asked,) = [asked for asked in there.asked if "histogram_buckets" in asked.query]
    assert "(digits-1|digits-2)" in asked.query["filter"]


def test_a_router_is_not_asked_for_counts_that_nobody_wants(there: HttpStub, telemetry: EnvoyTelemetry) -> None:
    there.answer = counting
    assert telemetry.reports([pod()], TABLE)[0].traffic == {}
    assert len(there.asked) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        {"stats": 1},
        {"stats": [{"name": "x"}]},
        {"stats": [{"name": "x", "value": "many"}]},
        {"stats": [{"histograms": {}}]},
        {"stats": [{"histograms": {"details": [{"name": "x", "totals": [{"lower_bound": 1}]}]}}]},
    ],
)
def test_counts_that_cannot_be_read_leave_the_routes_as_good_as_they_are(
    there: HttpStub, telemetry: EnvoyTelemetry, body: Any
) -> None:
    there.answer = lambda asked: Reply(body) if "histogram_buckets" in asked.query else good(asked)
    (found,) = telemetry.reports([pod()], TABLE, ["digits-1"])
    assert (found.reachable, found.routes, found.traffic) == (True, {"digits": "r1"}, {})


def trickle(stop: Callable[[], bool]) -> Iterator[bytes]:
    while not stop():
        yield b" "
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["hangs", "trickles", "floods"])
def test_a_router_that_never_comes_to_an_end_is_unreachable_in_time_and_delays_no_other(
    there: HttpStub, telemetry: EnvoyTelemetry, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy, "BOUNDS", Bounds(seconds=0.5, size=200_000))
    bad = {
        "hangs": there.hang,
        "trickles": lambda asked: Reply(pieces=trickle(there.over.is_set)),
        "floods": lambda asked: Reply(pieces=iter([b" " * 65536] * 1000)),
    }
    there.answer = lambda asked: bad[how](asked) if asked.headers["host"].startswith("127.0.0.1") else good(asked)
    started = time.monotonic()
    # Two addresses of one server: only the first is answered badly.
    slow, fine = telemetry.reports([pod(), pod("router-2", "localhost")], TABLE)
    assert time.monotonic() - started < 4
    assert (slow.reachable, fine.reachable) == (False, True)


def test_many_slow_routers_take_as_long_as_one(there: HttpStub, telemetry: EnvoyTelemetry) -> None:
    there.answer = there.hang
    started = time.monotonic()
    found = telemetry.reports([pod(f"router-{number}") for number in range(8)], TABLE)
    assert [report.reachable for report in found] == [False] * 8
    assert time.monotonic() - started < 2


def test_a_router_without_an_address_is_not_asked(there: HttpStub, telemetry: EnvoyTelemetry) -> None:
    assert telemetry.reports([pod(address="")], TABLE) == ()
    assert there.asked == []


def test_no_router_is_no_report(telemetry: EnvoyTelemetry) -> None:
    assert telemetry.reports([], TABLE) == ()


def test_a_router_that_refuses_the_connection_is_unreachable(
    telemetry: EnvoyTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stub() as ended:
        monkeypatch.setattr(envoy, "VIEWS_PORT", ended.port)
    assert not telemetry.reports([pod()], TABLE)[0].reachable


def test_a_router_that_was_restarted_is_asked_again_on_a_new_connection(
    there: HttpStub, telemetry: EnvoyTelemetry
) -> None:
    there.answer = lambda asked: Reply(b"", 500, headers={"Connection": "close"})
    assert not telemetry.reports([pod()], TABLE)[0].reachable
    there.answer = good
    assert telemetry.reports([pod()], TABLE)[0].reachable


def test_the_parsers_take_what_envoy_writes() -> None:
    assert read_versions(json.loads(json.dumps(STATS)))["http.digits.rds.digits.version_text"] == "r1"
    assert read_endpoints({}) == {}
