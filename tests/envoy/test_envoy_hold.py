"""Promises of a model at zero: its requests wait at the router for the first pod, HTTP and gRPC alike."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from envoy_router import eventually
from envoy_stage import CANARY, PORT, STABLE, Stage, route, standing, table

from tidegate.domain.routing import Route, clusters_version, split_version
from tidegate.domain.scaling.load import Load

INFER = "/v2/models/digits/infer"
RPC = "/inference.GRPCInferenceService/ModelInfer"
EACH = 20


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A router that finds no pod of the stable revision."""
    with standing(tmp_path, table(held(False)), (STABLE, CANARY), CANARY, absent=[STABLE]) as found:
        yield found


def held(hold: bool, timeout: int = 30) -> Route:
    return route((STABLE, 100), timeout=timeout).model_copy(update={"can_hold": True, "hold": hold})


def pods_come(stage: Stage) -> None:
    """The name of the revision's pods gets an address."""
    stage.router._hosts[STABLE] = stage.servers[STABLE].address
    stage.router.write(table(held(True)))


def load(stage: Stage) -> Load:
    (report,) = stage.telemetry.reports([stage.router.pod], table(held(True)), sized="digits")
    return report.loads.get(STABLE, Load())


def rpc(stage: Stage) -> str:
    with grpc.insecure_channel(f"{stage.router.address}:{PORT}") as channel:
        call = channel.unary_unary(RPC, lambda b: b, lambda b: b)
        try:
            call(b"{}", timeout=40)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def test_requests_wait_for_the_first_pod_and_are_answered_by_it(stage: Stage) -> None:
    stage.serve(held(True))
    with ThreadPoolExecutor(2 * EACH) as threads:
        asked: list[Future[int]] = [
            threads.submit(lambda: stage.router.ask(PORT, INFER, "POST").status) for _ in range(EACH)
        ]
        called = [threads.submit(rpc, stage) for _ in range(EACH)]
        eventually("all requests are held", lambda: load(stage).waiting == 2 * EACH)
        assert not any(f.done() for f in (*asked, *called))
        pods_come(stage)
        assert {f.result() for f in asked} == {200}
        assert {f.result() for f in called} == {"OK"}
    eventually("nothing waits any more", lambda: load(stage).waiting == 0)
    eventually("every answer is counted once", lambda: load(stage).answered.requests == 2 * EACH)


def test_a_request_that_waits_too_long_is_told_so(stage: Stage) -> None:
    stage.serve(held(True, timeout=2))
    assert stage.router.ask(PORT, INFER, "POST").status == 504


def test_a_model_that_may_hold_and_does_not_refuses_as_ever(stage: Stage) -> None:
    stage.serve(held(False))
    assert stage.router.ask(PORT, INFER, "POST").status == 503
    assert load(stage).waiting == 0


def test_requests_go_straight_to_pods_while_there_are_some(stage: Stage) -> None:
    stage.serve(held(True))
    pods_come(stage)
    eventually("the pod answers", lambda: stage.router.ask(PORT, INFER, "POST").status == 200)
    assert stage.router.ask(PORT, INFER, "POST").headers["x-tidegate-revision"] == STABLE


def test_a_router_is_seen_to_hold_before_anything_rests_on_it() -> None:
    assert split_version(held(True)) != split_version(held(False))
    assert clusters_version(table(held(False))) != clusters_version(table(route((STABLE, 100))))
