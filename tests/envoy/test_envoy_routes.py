"""Promises to clients, kept by a real Envoy: what may be called, who answers, and what an answer says."""

import time
from collections import Counter

import grpc
import pytest
from envoy_router import eventually
from envoy_stage import CANARY, DIGESTS, PORT, STABLE, Stage, route

from tidegate.resources.envoy import READY_PORT

ALLOWED = [
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/digits"),
    ("GET", "/v2/models/digits/ready"),
    ("GET", "/v2/models/digits/config"),
    ("GET", "/v2/models/digits/stats"),
    ("POST", "/v2/models/digits/infer"),
    ("POST", "/v2/models/digits/versions/1/infer"),
    ("POST", "/v2/models/digits/generate"),
    ("POST", "/v2/models/digits/versions/1/generate_stream"),
    ("GET", "/v2/models/digits/versions/1"),
    ("GET", "/v2/models/digits/versions/1/ready?x=1"),
]
REFUSED = [
    "/",
    "/v2/",
    "/metrics",
    "/v2/health",
    "/v2/repository/index",
    "/v2/repository/models/digits/load",
    "/v2/repository/models/digits/unload",
    "/v2/systemsharedmemory/status",
    "/v2/systemsharedmemory/region/a/register",
    "/v2/cudasharedmemory/status",
    "/v2/models/digits/trace/setting",
    "/v2/trace/setting",
    "/v2/logging",
    "/v2/models/stats/../../repository/index",
    "/v2/models/../repository/index",
    "/v2/models/digits/infer/../../../repository/index",
    "/v2/models/digits/infer/",
    "//v2/models/digits/infer",
]
SERVICE = "/inference.GRPCInferenceService/"
METHODS_ALLOWED = [
    SERVICE + "ServerLive",
    SERVICE + "ServerReady",
    SERVICE + "ServerMetadata",
    SERVICE + "ModelReady",
    SERVICE + "ModelMetadata",
    SERVICE + "ModelConfig",
    SERVICE + "ModelStatistics",
    SERVICE + "ModelInfer",
    SERVICE + "ModelStreamInfer",
    "/grpc.health.v1.Health/Check",
]
METHODS_REFUSED = [
    SERVICE + "RepositoryIndex",
    SERVICE + "RepositoryModelLoad",
    SERVICE + "RepositoryModelUnload",
    SERVICE + "SystemSharedMemoryRegister",
    SERVICE + "CudaSharedMemoryRegister",
    SERVICE + "TraceSetting",
    SERVICE + "LogSettings",
    SERVICE + "ModelInferAndMore",
    "/other.Service/ModelInfer",
]


@pytest.fixture
def digits(stage: Stage) -> Stage:
    stage.serve(route((STABLE, 100)))
    return stage


def call(stage: Stage, method: str) -> tuple[bytes, dict[str, str]]:
    """One gRPC call on a channel of its own: the answer and the headers."""
    with grpc.insecure_channel(f"{stage.router.address}:{PORT}") as channel:
        answer, done = channel.unary_unary(method).with_call(b"", timeout=10)
        return answer, {key: str(value) for key, value in done.initial_metadata()}


@pytest.mark.parametrize(("method", "path"), ALLOWED)
def test_inference_metadata_and_health_reach_the_model(digits: Stage, method: str, path: str) -> None:
    answer = digits.router.ask(PORT, path, method)
    assert (answer.status, answer.text) == (200, STABLE)
    assert digits.servers[STABLE].asked == [(method, path)]


@pytest.mark.parametrize("path", REFUSED)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_other_path_reaches_triton(digits: Stage, method: str, path: str) -> None:
    answer = digits.router.ask(PORT, path, method)
    assert answer.status == 404
    assert answer.text == "Tidegate serves inference, metadata and health under /v2 only.\n"
    assert digits.servers[STABLE].asked == []


@pytest.mark.parametrize("method", METHODS_ALLOWED)
def test_grpc_inference_metadata_and_health_reach_the_model(digits: Stage, method: str) -> None:
    answer, _ = call(digits, method)
    assert answer.decode() == STABLE
    assert digits.servers[STABLE].called == [method]


@pytest.mark.parametrize("method", METHODS_REFUSED)
def test_no_other_grpc_method_reaches_triton(digits: Stage, method: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(digits, method)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert digits.servers[STABLE].called == []


def test_every_answer_names_the_revision_the_bundle_and_the_router(digits: Stage) -> None:
    wanted = {
        "x-tidegate-revision": STABLE,
        "x-model-digest": DIGESTS[STABLE],
        "x-tidegate-router": digits.router.pod.name,
    }
    assert wanted.items() <= digits.router.ask(PORT, "/v2").headers.items()
    assert wanted.items() <= call(digits, SERVICE + "ModelInfer")[1].items()


def test_requests_are_split_by_weight_for_http_and_grpc_alike(stage: Stage) -> None:
    stage.serve(route((STABLE, 75), (CANARY, 25)))
    total = 100
    http = Counter(stage.router.ask_often(PORT, "/v2/models/digits/ready", total))
    with grpc.insecure_channel(f"{stage.router.address}:{PORT}") as channel:
        infer = channel.unary_unary(SERVICE + "ModelInfer")
        rpc = Counter(infer(b"", timeout=10).decode() for _ in range(total))
    for seen in (http, rpc):
        # 25 on average; the limits are five standard deviations away.
        assert 4 <= seen[CANARY] <= 46, seen
        assert seen.total() == total
        assert set(seen) == {STABLE, CANARY}


def test_a_revision_with_weight_0_gets_no_request_though_the_router_knows_its_pods(stage: Stage) -> None:
    stage.serve(route((STABLE, 100), (CANARY, 0)))
    assert set(stage.router.ask_often(PORT, "/v2", 50)) == {STABLE}


def test_an_open_connection_gets_the_new_split_at_its_next_request(stage: Stage) -> None:
    stage.serve(route((STABLE, 100)))
    with grpc.insecure_channel(f"{stage.router.address}:{PORT}") as channel:
        infer = channel.unary_unary(SERVICE + "ModelInfer")
        assert infer(b"", timeout=10).decode() == STABLE
        stage.serve(route((CANARY, 100)))
        assert infer(b"", timeout=10).decode() == CANARY


def test_a_model_without_any_weight_answers_503_with_a_sentence_not_a_refused_connection(stage: Stage) -> None:
    stage.serve(route((STABLE, 0)))
    answer = stage.router.ask(PORT, "/v2/models/digits/infer", "POST")
    assert (answer.status, answer.text) == (503, "digits is not ready yet.\n")
    with pytest.raises(grpc.RpcError) as refused:
        call(stage, SERVICE + "ModelInfer")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert stage.router.ask(PORT, "/v2/repository/index").status == 404


def test_a_request_may_not_take_longer_than_the_models_time_out(stage: Stage) -> None:
    stage.serve(route((STABLE, 100), timeout=1))
    stage.servers[STABLE].delay = 30
    started = time.monotonic()
    answer = stage.router.ask(PORT, "/v2/models/digits/infer", "POST")
    assert answer.status == 504
    assert time.monotonic() - started < 5


def test_a_pod_that_hangs_up_costs_the_client_nothing(digits: Stage) -> None:
    digits.servers[STABLE].hang_ups = 2
    assert digits.router.ask(PORT, "/v2/models/digits/infer", "POST").status == 200
    assert len(digits.servers[STABLE].asked) == 3


def test_an_answer_with_an_error_is_the_clients_and_is_not_asked_for_again(digits: Stage) -> None:
    digits.servers[STABLE].status = 500
    assert digits.router.ask(PORT, "/v2/models/digits/infer", "POST").status == 500
    assert len(digits.servers[STABLE].asked) == 1


def test_a_client_cannot_lift_the_time_out_by_a_header(stage: Stage) -> None:
    stage.serve(route((STABLE, 100), timeout=1))
    stage.servers[STABLE].delay = 3
    wishes = {"x-envoy-upstream-rq-timeout-ms": "60000", "x-forwarded-for": "10.0.0.1", "x-envoy-internal": "true"}
    assert stage.router.ask(PORT, "/v2/models/digits/infer", "POST", wishes).status == 504


def test_every_request_leaves_one_line_that_says_who_answered(digits: Stage) -> None:
    digits.router.ask(PORT, "/v2/models/digits/infer", "POST", {"x-request-id": "order-66"})

    def line() -> dict[str, object] | None:
        return next((entry for entry in digits.router.access_log() if entry["requestId"] == "order-66"), None)

    found = eventually("the access log has the request", line)
    wanted = {"model": "digits", "revision": STABLE, "digest": DIGESTS[STABLE], "code": 200, "method": "POST"}
    assert wanted.items() <= found.items()
    assert found["path"] == "/v2/models/digits/infer"
    assert isinstance(found["durationMs"], int)


def test_a_router_is_ready_by_a_listener_that_its_configuration_brings(digits: Stage) -> None:
    assert digits.router.ask(READY_PORT, "/ready").status == 200
