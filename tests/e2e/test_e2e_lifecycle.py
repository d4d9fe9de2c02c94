"""Creating, holding, scaling, reaching and deleting a model: what users do with kubectl and tritonclient."""

import http.client
import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from e2e_asker import Asker
from e2e_models import LONGEST, WIDTH
from e2e_world import QUICK, SYSTEM, Space, World, ask
from tritonclient.grpc import service_pb2, service_pb2_grpc

from devcluster.gotools import kubectl as kubectl_path
from devcluster.process import bound

MODEL = "adder"
QUEUE = 800
"""Requests that keep a model busy for 40 seconds."""
SHORT_END = 25.0
"""Seconds that a pod has here to end where no request takes long."""
Make = Callable[[str], Space]
"""Makes a namespace."""


def leaves_nothing(space: Space, model: str = MODEL) -> None:
    """Delete a model and wait until nothing of it, nor of its router, is left."""
    begun = time.monotonic()
    space.kubectl("delete", "md", model, "--wait", "--timeout=30s")
    space.say(f"deleted after {time.monotonic() - begun:.1f} s")
    space.until(lambda: not space.remains(), f"nothing is left of {model}", seconds=120)
    space.say(f"nothing left after {time.monotonic() - begun:.1f} s")


def resolving(space: Space) -> object:
    return space.objects("jobs")


def pods_start(space: Space) -> object:
    return space.servers(MODEL)


def ready(space: Space) -> object:
    return space.condition(MODEL).get("status") == "True"


def mid_rollout(space: Space) -> bool:
    """Begin a rollout once version 1 serves; true when version 2 has a share."""
    status = space.status(MODEL)
    if status.get("phase") == "Ready" and status["stable"]["version"] == "1":
        space.point_to(MODEL, space.world.bundles["adder:2"])
    return bool(status.get("rollout", {}).get("weight", 0) > 0 and status.get("stable"))


MOMENTS: dict[str, Callable[[Space], object]] = {
    "at once": lambda _: True,
    "while its bundle is resolved": resolving,
    "while its pods start": pods_start,
    "when it is ready": ready,
    "in mid rollout": mid_rollout,
}


def delete_when(make: Make, moment: str) -> Space:
    space = make("gone-" + moment.replace(" ", "-"))
    space.deploy(MODEL, space.world.bundles["adder:1"])
    space.until(lambda: MOMENTS[moment](space), moment, seconds=180)
    leaves_nothing(space)
    return space


def suspend(make: Make) -> None:
    space = make("suspend")
    space.deploy(MODEL, space.world.bundles["adder:1"])
    space.wait_ready(MODEL, seconds=180)
    space.patch(MODEL, {"suspend": True})

    def freed() -> bool:
        return not space.objects("pods", "tidegate.dev/component=server")

    space.until(freed, "every pod is gone", seconds=90)
    assert space.condition(MODEL)["reason"] == "Suspended"
    assert space.status(MODEL)["phase"] == "Suspended"
    with pytest.raises(AssertionError, match="HTTP 503"):
        ask(space.address(MODEL), MODEL)
    space.patch(MODEL, {"suspend": False})
    space.wait_ready(MODEL, seconds=120)
    assert ask(space.address(MODEL), MODEL, 1.0)[0] == 2.0


def pause(make: Make) -> None:
    space = make("pause")
    bundles = space.world.bundles
    space.deploy(MODEL, bundles["adder:1"], rollout={"steps": [{"weight": 30, "hold": "1s"}], **QUICK})
    space.wait_ready(MODEL, seconds=180)
    space.patch(MODEL, {"paused": True, "model": {"uri": bundles["adder:2"].uri}})
    space.until(lambda: space.condition(MODEL, "Paused").get("status") == "True", "Paused", seconds=90)
    with Asker(space, MODEL, MODEL, rate=10) as asker:
        # The rollout would have gone on within the second of its one step.
        space.until(lambda: space.ready_servers(MODEL) and len(asker.answers) >= 40, "it is held", seconds=90)
    assert (set(asker.answers), asker.failures) == ({1.0}, [])
    assert space.status(MODEL)["rollout"]["weight"] == 0
    space.patch(MODEL, {"paused": False})
    space.wait_ready(MODEL, seconds=120)
    assert ask(space.address(MODEL), MODEL, 0.0)[0] == 2.0
    counted = Counter(space.events(MODEL))
    assert {"Paused", "Resumed", "Promoted", "Ready"} <= {reason for reason, _ in counted}


def kubectl_views(make: Make) -> None:
    """What kubectl shows and does: columns, wait, scale, events, logs, exec, port-forward."""
    space = make("kubectl")
    space.deploy(MODEL, space.world.bundles["adder:1"])
    space.kubectl("wait", "--for=condition=Ready", f"md/{MODEL}", "--timeout=180s", timeout=190)
    head, row = space.kubectl("get", "md").splitlines()
    space.say(f"{head} / {row}")
    assert head.split() == ["NAME", "MODEL", "PHASE", "READY", "WEIGHT", "REVISION", "AGE"]
    assert row.split()[:4] == [MODEL, "s3://models/adder:1", "Ready", "1/1"]
    expected = {"RolloutStarted", "Promoted", "Ready"}
    space.until(lambda: {reason for reason, _ in space.events(MODEL)} == expected, f"events {expected}", seconds=30)
    assert len(space.events(MODEL)) == len(expected), "an event was told twice"
    pod = next(iter(space.ready_servers(MODEL)))
    assert "Started HTTPService" in space.kubectl("logs", pod, "-c", "triton")
    assert "manifest.json" in space.kubectl("exec", pod, "-c", "triton", "--", "ls", "/bundle")
    assert MODEL in space.kubectl("get", "networkpolicy", "-o", "name")
    with forwarded(space, 8000) as local:
        assert ask(local, MODEL, 5.0)[0] == 6.0
    space.kubectl("scale", f"md/{MODEL}", "--replicas=2")
    space.wait_ready(MODEL, seconds=90)
    assert len(space.ready_servers(MODEL)) == 2
    path = f"/apis/tidegate.dev/v1alpha1/namespaces/{space.name}/modeldeployments/{MODEL}/scale"
    scale = json.loads(space.kubectl("get", "--raw", path))
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 2)
    assert len(space.objects("pods", scale["status"]["selector"])) == 2


@contextmanager
def forwarded(space: Space, port: int) -> Iterator[str]:
    """kubectl port-forward svc/<model>; gives host:port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        local = free.getsockname()[1]
    config = str(space.world.platform.cluster.kubeconfig)
    forward = ["port-forward", "-n", space.name, f"svc/{MODEL}", f"{local}:{port}"]
    process = subprocess.Popen(
        bound([kubectl_path(), "--kubeconfig", config, *forward]), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )

    def listens() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", local)) == 0

    try:
        space.until(listens, "port-forward listens", seconds=30)
        yield f"127.0.0.1:{local}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def long_requests(make: Make) -> None:
    """Requests that take longer than pods usually wait, while the pod and the routers on their way are replaced."""
    space = make("long")
    space.deploy(MODEL, space.world.bundles["adder:heavy"], traffic={"timeout": "2m"})
    space.wait_ready(MODEL, seconds=180)
    answers: list[float | str] = []
    sent = tritonclient.grpc.InferInput("x", [1, WIDTH], "FP32")
    sent.set_data_from_numpy(np.full((1, WIDTH), 1.0, dtype=np.float32))

    def answered(result: tritonclient.grpc.InferResult | None, error: Exception | None) -> None:
        answers.append(float(result.as_numpy("y")[0, 0]) if result else str(error))

    client = tritonclient.grpc.InferenceServerClient(space.address(MODEL, 8001))
    # The model takes 50 ms for each, one after another.
    for _ in range(QUEUE):
        client.async_infer(MODEL, [sent], callback=answered)
    space.until(lambda: len(answers) >= 10, "the model is at work", seconds=60)
    begun = time.monotonic()
    for pod in space.ready_servers(MODEL):
        space.kubectl("delete", "pod", pod, "--wait=false")
    space.kubectl("rollout", "restart", "deployment/tidegate-router")
    space.until(lambda: len(answers) == QUEUE, "every request is answered", seconds=150)
    took = time.monotonic() - begun
    space.say(f"the last of {QUEUE} requests answered {took:.1f} s after its pod and its router were told to go")
    assert Counter(answers) == {2.0: QUEUE}
    assert took > SHORT_END, "the requests did not take longer than every pod waits"
    client.close()


def neighbours(make: Make) -> None:
    """Two models behind one router, one of them with the longest name there is."""
    space = make("neighbours")
    bundles = space.world.bundles
    space.deploy(MODEL, bundles["adder:1"])
    space.deploy(LONGEST, bundles[f"{LONGEST}:1"])
    space.wait_ready(MODEL, LONGEST, seconds=180)
    assert len(space.objects("deployments", "tidegate.dev/component=router")) == 1
    data = np.full((1, WIDTH), 1.0, dtype=np.float32)
    for model, expected in ((MODEL, 2.0), (LONGEST, 201.0)):
        for module, port in ((tritonclient.http, 8000), (tritonclient.grpc, 8001)):
            sent = module.InferInput("x", list(data.shape), "FP32")
            sent.set_data_from_numpy(data)
            server = module.InferenceServerClient(space.address(model, port))
            assert server.is_server_live()
            assert server.is_model_ready(model)
            assert server.get_model_metadata(model)
            answer = server.infer(model, [sent]).as_numpy("y")
            assert answer.tolist() == [[expected] * WIDTH]
    with pytest.raises(AssertionError, match=r"unknown model|not found"):
        ask(space.address(MODEL), LONGEST)
    management_is_out_of_reach(space)
    space.kubectl("delete", "md", LONGEST, "--wait", "--timeout=30s")
    mine = f"tidegate.dev/model={LONGEST}"
    space.until(lambda: not space.objects("pods", mine), "the neighbour's pods are gone", seconds=90)
    assert ask(space.address(MODEL), MODEL)[0] == 2.0
    assert space.condition(MODEL)["status"] == "True"


CLOSED = (
    ("POST", "/v2/repository/index"),
    ("POST", f"/v2/repository/models/{MODEL}/load"),
    ("POST", f"/v2/repository/models/{MODEL}/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/systemsharedmemory/region/r/register"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("GET", "/v2/logging"),
    ("POST", "/v2/logging"),
    ("GET", "/v2/trace/setting"),
    ("GET", f"/v2/models/{MODEL}/trace/setting"),
    ("GET", "/metrics"),
    ("GET", "/stats"),
    ("POST", "/quitquitquit"),
    ("POST", f"/v2/models/{MODEL}/../../repository/index"),
    ("POST", f"/v2/models/{MODEL}/versions/../../../repository/index"),
    ("POST", "/v2/models/..%2frepository/index"),
    ("POST", "/v2/%72epository/index"),
    ("POST", "//v2/repository/index"),
    ("POST", "/v2//repository/index"),
)


def management_is_out_of_reach(space: Space) -> None:
    """Triton's management calls do not pass the router, by HTTP or gRPC, however the path is spelt."""
    host = space.address(MODEL)
    for method, path in CLOSED:
        connection = http.client.HTTPConnection(host, timeout=20)
        connection.request(method, path, "{}" if method == "POST" else None)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        assert answer.status in (400, 404), (method, path, answer.status, text)
        assert "Tidegate serves inference" in text or answer.status == 400, (method, path, text)
    with grpc.insecure_channel(space.address(MODEL, 8001)) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        calls = {
            stub.RepositoryIndex: service_pb2.RepositoryIndexRequest(),
            stub.RepositoryModelUnload: service_pb2.RepositoryModelUnloadRequest(model_name=MODEL),
            stub.SystemSharedMemoryStatus: service_pb2.SystemSharedMemoryStatusRequest(),
            stub.CudaSharedMemoryStatus: service_pb2.CudaSharedMemoryStatusRequest(),
            stub.LogSettings: service_pb2.LogSettingsRequest(),
            stub.TraceSetting: service_pb2.TraceSettingRequest(),
        }
        for call, message in calls.items():
            with pytest.raises(grpc.RpcError) as refused:
                call(message, timeout=20)
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED, refused.value
    assert ask(host, MODEL)[0] == 2.0


STORIES: dict[str, Callable[[Make], None]] = {
    "suspending frees every pod and resuming serves again": suspend,
    "a pause holds a rollout and resuming finishes it": pause,
    "kubectl shows, waits, scales, forwards and tells each event once": kubectl_views,
    "requests that take long outlive the end of their pod and their router": long_requests,
    "neighbours share a router and triton's management stays out of reach": neighbours,
}


@dataclass(frozen=True)
class Told:
    """Stories under way, by name."""

    stories: dict[str, Future[None]]
    deletions: dict[str, Future[Space]]


@pytest.fixture(scope="module")
def told(world: World, make_space: Make) -> Iterator[Told]:
    """Every story side by side, each in a namespace of its own: most of the time is waiting."""
    with ThreadPoolExecutor(len(STORIES) + len(MOMENTS)) as pool:
        stories = {name: pool.submit(story, make_space) for name, story in STORIES.items()}
        yield Told(stories, {moment: pool.submit(delete_when, make_space, moment) for moment in MOMENTS})


@pytest.mark.parametrize("story", STORIES)
def test_a_model_lives_as_users_are_told(told: Told, story: str) -> None:
    told.stories[story].result()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_deleted_model_leaves_nothing_behind(told: Told, moment: str) -> None:
    space = told.deletions[moment].result()
    # Once more, now that the operator had time for what it had begun: nothing came back.
    space.until(lambda: not space.remains(), "nothing came back", seconds=60)


@pytest.fixture
def no_operator(world: World, told: Told) -> Iterator[Callable[[], None]]:
    """Takes every operator away for the length of a test, once no other story needs one."""
    scale = ("-n", SYSTEM, "scale", "deployment/tidegate-operator")
    wait([*told.stories.values(), *told.deletions.values()], timeout=600)
    yield lambda: world.kubectl(*scale, "--replicas=0") and None
    world.kubectl(*scale, "--replicas=2")
    world.kubectl("-n", SYSTEM, "rollout", "status", "deployment/tidegate-operator", "--timeout=90s", timeout=100)


def test_a_model_serves_and_can_be_deleted_while_no_operator_runs(
    world: World, make_space: Make, no_operator: Callable[[], None]
) -> None:
    space = make_space("no-operator")
    space.deploy(MODEL, world.bundles["adder:1"])
    space.wait_ready(MODEL)
    no_operator()
    space.until(lambda: not world.operator_pods(), "no operator runs", seconds=60)
    assert ask(space.address(MODEL), MODEL)[0] == 2.0
    leaves_nothing(space)
