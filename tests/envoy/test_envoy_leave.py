"""Promises of a router that is told to go: clients move, and what they still ask is answered."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from envoy_router import eventually
from envoy_stage import PORT, STABLE, Stage, route, standing, table

from tidegate.resources.router import LEAVE

INFER = "/v2/models/digits/infer"
RPC = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A router of one test: it cannot be told to stay."""
    with standing(tmp_path, table(route((STABLE, 100))), (STABLE,), STABLE) as found:
        yield found


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as found:
        yield found


def leaving(stage: Stage) -> subprocess.Popen[bytes]:
    """The script of the container's preStop hook; clients have a second to move."""
    return subprocess.Popen(["/bin/bash", "-c", LEAVE.replace("127.0.0.1", stage.router.address), "leave", "1"])


def rpc(stage: Stage) -> bytes:
    with grpc.insecure_channel(f"{stage.router.address}:{PORT}") as channel:
        return bytes(channel.unary_unary(RPC, lambda b: b, lambda b: b)(b"{}", timeout=30))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_router_does_not_stop_before_its_last_request_is_answered(
    stage: Stage, threads: ThreadPoolExecutor, protocol: str
) -> None:
    server = stage.servers[STABLE]
    server.delay = 4.0
    asked: Future[object] = (
        threads.submit(lambda: stage.router.ask(PORT, INFER, "POST").text)
        if protocol == "http"
        else threads.submit(lambda: rpc(stage).decode())
    )
    eventually("the request is under way", lambda: stage.router.stat("http.digits.downstream_rq_active") == 1)
    script = leaving(stage)
    with pytest.raises(subprocess.TimeoutExpired):
        script.wait(2.0)
    assert not asked.done()
    assert asked.result(30) == STABLE
    assert script.wait(10) == 0


def test_a_router_without_requests_stops_when_clients_had_their_time(stage: Stage) -> None:
    assert leaving(stage).wait(20) == 0
    answer = stage.router.ask(PORT, INFER, "POST")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
