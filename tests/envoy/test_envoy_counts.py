"""Promises about what is counted of a revision: answers as clients got them, over both protocols, and their latencies.

These tests have a router of their own, and every one waits until all it asked for is counted: latencies come a second
late, and those of another test would be taken for its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from envoy_router import eventually
from envoy_stage import CANARY, PORT, STABLE, Stage, known, route, standing, table

from tidegate.domain.checks.meter import window
from tidegate.domain.checks.windows import Traffic
from tidegate.domain.routing import RouterReport
from tidegate.resources.envoy import PIN

INFER = "/v2/models/digits/infer"
RPC = "/inference.GRPCInferenceService/ModelInfer"
BOTH = (STABLE, CANARY)
HALVES = table(route((STABLE, 50), (CANARY, 50)))
FAILED = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
STATUSES = [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK]


def read(stage: Stage) -> RouterReport:
    report = stage.report(table(), BOTH)
    assert set(report.traffic) == set(BOTH)
    return report


def added(stage: Stage, ask: Callable[[], object], times: int) -> tuple[Traffic, Traffic]:
    """What stable and the canary had while ``ask`` ran, once ``times`` latencies were counted."""
    before = read(stage)
    ask()

    def since() -> tuple[Traffic, Traffic] | None:
        found = window({"r": before}, {"r": read(stage)}, *BOTH, seconds=1)
        assert found.stable is not None
        assert found.canary is not None
        both = (found.stable, found.canary)
        return both if sum(part.latency.total for part in both) >= times else None

    both: tuple[Traffic, Traffic] = eventually(f"{times} latencies are counted", since)
    return both


def counts(part: Traffic) -> tuple[int, int, int]:
    return part.requests, part.errors, part.latency.total


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with standing(tmp_path_factory.mktemp("router"), HALVES, BOTH, "127.9.9.9") as found:
        yield found


@pytest.fixture
def halves(stage: Stage) -> Stage:
    """Half of the requests to each, whose pods are known."""
    return prepared(stage)


def prepared(stage: Stage) -> Stage:
    stage.serve(route((STABLE, 50), (CANARY, 50)))
    known(stage, *BOTH)
    return stage


@pytest.fixture
def only_canary(stage: Stage) -> Stage:
    prepared(stage)
    stage.serve(route((STABLE, 0), (CANARY, 100)))
    return stage


def rpc(stage: Stage, times: int = 1, metadata: tuple[tuple[str, str], ...] = ()) -> None:
    """gRPC calls, whatever comes of them."""
    with grpc.insecure_channel(f"{stage.router.address}:{PORT}") as channel:
        infer = channel.unary_unary(RPC)
        for _ in range(times):
            try:
                infer(b"", timeout=10, metadata=metadata)
            except grpc.RpcError:
                continue


def http(stage: Stage, times: int = 1) -> None:
    for _ in range(times):
        stage.router.ask(PORT, INFER, "POST")


def test_every_request_is_counted_once_for_the_revision_that_answered_it(halves: Stage) -> None:
    def ask() -> None:
        http(halves, 40)
        rpc(halves, 60)

    seen = added(halves, ask, 100)
    for name, part in zip(BOTH, seen, strict=True):
        answered = len(halves.servers[name].asked) + len(halves.servers[name].called)
        assert counts(part) == (answered, 0, answered)
    assert sum(part.requests for part in seen) == 100


@pytest.mark.parametrize(("status", "errors"), [(200, 0), (302, 0), (400, 0), (404, 0), (429, 0), (500, 3), (503, 3)])
def test_an_http_answer_is_an_error_from_500_on(only_canary: Stage, status: int, errors: int) -> None:
    only_canary.servers[CANARY].status = status
    stable, canary = added(only_canary, lambda: http(only_canary, 3), 3)
    assert counts(canary) == (3, errors, 3)
    assert counts(stable) == (0, 0, 0)


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.name)
def test_a_grpc_answer_is_an_error_where_http_would_say_5xx(only_canary: Stage, status: grpc.StatusCode) -> None:
    only_canary.servers[CANARY].rpc_status = status
    _, canary = added(only_canary, lambda: rpc(only_canary, 2), 2)
    assert counts(canary) == (2, 2 if status.name in FAILED else 0, 2)


def test_a_try_that_was_repeated_is_not_counted_and_its_time_is_the_requests(only_canary: Stage) -> None:
    server = only_canary.servers[CANARY]
    server.hang_ups = 2
    server.rpc_status, server.rpc_failures = grpc.StatusCode.UNAVAILABLE, 2

    def ask() -> None:
        http(only_canary)
        rpc(only_canary)

    _, canary = added(only_canary, ask, 2)
    assert len(server.asked) == len(server.called) == 3
    assert counts(canary) == (2, 0, 2)


def test_a_time_out_is_an_error_without_a_latency(only_canary: Stage) -> None:
    only_canary.serve(route((STABLE, 0), (CANARY, 100), timeout=1))
    only_canary.servers[CANARY].delay = 3

    def ask() -> None:
        http(only_canary)
        rpc(only_canary)
        only_canary.servers[CANARY].delay = 0
        only_canary.serve(route((STABLE, 0), (CANARY, 100)))
        http(only_canary)

    _, canary = added(only_canary, ask, 1)
    assert counts(canary) == (3, 2, 1)


def test_latencies_are_milliseconds_and_none_is_shorter_than_the_server_took(only_canary: Stage) -> None:
    only_canary.servers[CANARY].delay = 0.12

    def ask() -> None:
        http(only_canary, 2)
        rpc(only_canary, 2)

    _, canary = added(only_canary, ask, 4)
    assert canary.latency.above(120) == 4
    assert canary.latency.above(30_000) == 0
    assert all(bucket.upper - bucket.lower <= bucket.lower / 10 for bucket in canary.latency.buckets)


def test_requests_that_name_a_revision_are_not_counted(stage: Stage) -> None:
    prepared(stage)
    stage.serve(route((STABLE, 100), (CANARY, 0)))
    stage.servers[CANARY].status, stage.servers[CANARY].rpc_status = 500, grpc.StatusCode.INTERNAL

    def ask() -> None:
        for name in BOTH * 3:
            assert stage.router.ask(PORT, INFER, "POST", {PIN: name}).headers[PIN] == name
            rpc(stage, 1, ((PIN, name),))
        http(stage, 4)

    stable, canary = added(stage, ask, 4)
    assert counts(stable) == (4, 0, 4)
    assert counts(canary) == (0, 0, 0)
    assert len(stage.servers[CANARY].asked) == len(stage.servers[CANARY].called) == 3


def test_a_router_is_asked_for_the_revisions_that_are_compared_and_for_no_other(halves: Stage) -> None:
    wanted = table()
    assert halves.report(wanted).traffic == {}
    assert set(halves.report(wanted, (CANARY,)).traffic) == {CANARY}
    assert halves.report(wanted, ("digits-cccc3333",)).traffic == {"digits-cccc3333": Traffic()}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stage]:
    """A router that may be restarted."""
    with standing(tmp_path, HALVES, BOTH, "127.9.9.9") as found:
        yield found


def test_a_router_that_restarted_counts_from_0_for_both_revisions(own: Stage) -> None:
    prepared(own)
    added(own, lambda: http(own, 20), 20)
    before = read(own)
    own.router.stop()
    own.router.start()
    prepared(own)
    for server in own.servers.values():
        server.reset()
    http(own, 6)
    after = eventually("latencies", lambda: _complete(read(own), 6))
    found = window({"r": before}, {"r": after}, *BOTH, seconds=1)
    expected = [len(own.servers[name].asked) for name in BOTH]
    assert [found.stable and found.stable.requests, found.canary and found.canary.requests] == expected


def _complete(report: RouterReport, latencies: int) -> RouterReport | None:
    return report if sum(t.latency.total for t in report.traffic.values()) >= latencies else None


def test_a_router_that_is_gone_counts_nothing_and_says_nothing_of_its_requests(own: Stage) -> None:
    before = read(own)
    own.router.stop()
    gone = own.report(table(), BOTH)
    assert (gone.reachable, gone.traffic) == (False, {})
    assert window({"r": before}, {"r": replace(gone, pod="r")}, *BOTH, seconds=1).stable is None
