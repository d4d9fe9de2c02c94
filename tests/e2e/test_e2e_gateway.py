"""Models behind a Gateway that is no part of this project: Contour with its own Envoy, real Triton, and real clients.

What a Gateway makes of the routes is measured here; the promises of ``router: GatewayAPI`` about everything else are
in tests/reconcile/test_reconcile_gateway.py.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from e2e_contour import DOMAIN, Contour, contour
from e2e_load import Load, unharmed
from e2e_models import WIDTH
from e2e_rollout import MODEL, Serving, check_shares, watch
from e2e_world import Raw, Space, World, ask
from http_stub import Asked, HttpStub, Reply, stub
from tritonclient.grpc import service_pb2, service_pb2_grpc  # type: ignore[import-untyped]

from devcluster.progress import Progress
from examples.digits.installation import install

HTTP_HOST, GRPC_HOST = f"adder.{DOMAIN}", f"adder-grpc.{DOMAIN}"
PIN, DIGEST = "x-tidegate-revision", "x-model-digest"
BEHIND = 1.0
"""Seconds from a Gateway's word that it accepted weights to its data plane having them: nothing tells when it has."""
HOLD = 6
FAILED = 'failed_share("{{namespace}}_{{canary}}-gateway_")'
JUDGED: Raw = {
    "analysis": {"checks": [{"name": "errors", "prometheus": {"query": FAILED, "max": 0.01}}]},
    "bake": {"duration": "0s"},
}
TWO_STEPS = {"steps": [{"weight": w, "hold": f"{HOLD}s"} for w in (20, 60)], **JUDGED}


@dataclass
class Behind(Serving):
    """A model of two pods behind the Gateway, and clients that name its hostnames."""

    gateway: Contour = field(kw_only=True)

    def explain(self) -> str:
        return f"{self.space.explain()}\n{self.space.kubectl('get', 'httproutes,grpcroutes', '-o', 'yaml')}"

    def load(self) -> AbstractContextManager[Load]:
        """A load that must not lose a request."""
        address, offsets = self.gateway.address, self.space.world.offsets
        plan = {"http": address, "grpc": address, "http_host": HTTP_HOST, "grpc_host": GRPC_HOST}
        return unharmed(
            Load(plan | {"model": MODEL, "offsets": offsets}, self.next_file()),
            self.space.say,
            lambda: f"{self.explain()}\n{self.gateway.tail()}",
        )

    def http(self, **headers: str) -> tuple[float, dict[str, str]]:
        """One request over HTTP with these headers beside its hostname."""
        return ask(self.gateway.address, MODEL, 1.0, {"Host": HTTP_HOST} | headers)

    def grpc(self, **metadata: str) -> tuple[float, dict[str, str]]:
        """The same over gRPC."""
        request = service_pb2.ModelInferRequest(model_name=MODEL)
        request.inputs.add(name="x", datatype="FP32", shape=[1, WIDTH])
        request.raw_input_contents.append(np.ones(WIDTH, dtype=np.float32).tobytes())
        with grpc.insecure_channel(self.gateway.address, [("grpc.default_authority", GRPC_HOST)]) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            answer, call = stub.ModelInfer.with_call(request, timeout=20, metadata=list(metadata.items()))
            said = dict(call.initial_metadata())
        return float(np.frombuffer(answer.raw_output_contents[0], dtype=np.float32)[0]), said


@pytest.fixture(scope="module")
def gateway(world: World, progress: Progress) -> Iterator[Contour]:
    """A Gateway for every test here."""
    with contour(world.platform.cluster.kubeconfig, "e2e-gateway-infra", progress) as found:
        yield found


@pytest.fixture(scope="module")
def judge(gateway: Contour, world: World, progress: Progress) -> Iterator[HttpStub]:
    """In place of a Prometheus: it knows the one query of these tests, and reads the Gateway's counters for it."""

    def answer(asked: Asked) -> Reply:
        backend = asked.query["query"].split('"')[1]
        share = gateway.failed_share(backend)
        result = [] if share is None else [{"metric": {}, "value": [time.time(), str(share)]}]
        return Reply({"status": "success", "data": {"resultType": "vector", "result": result}})

    with stub(answer, world.host_address()) as found:
        install(world.platform, progress, world.chart_values | {"prometheus.url": found.url})
        yield found
        install(world.platform, progress, world.chart_values)


@pytest.fixture(scope="module")
def behind(
    judge: HttpStub,
    gateway: Contour,
    world: World,
    make_space: Callable[[str], Space],
    tmp_path_factory: pytest.TempPathFactory,
) -> Behind:
    """One model of two pods for all tests here; each takes it as the one before left it."""
    assert judge.port
    space = make_space("gateway")
    traffic = gateway.place(HTTP_HOST, GRPC_HOST)
    # Without a history no version is known to be good, so that every rollout here takes its steps.
    changes = {"replicas": 2, "revisionHistoryLimit": 0, "rollout": TWO_STEPS, "traffic": traffic}
    space.deploy(MODEL, world.bundles["adder:1"], **changes)
    space.wait_ready(MODEL)
    return Behind(space, tmp_path_factory.mktemp("gateway"), gateway=gateway)


@pytest.fixture
def quiet(behind: Behind) -> Behind:
    """The model as every test begins: Ready with two pods."""
    behind.settle()
    return behind


def test_a_rollout_through_a_gateway_loses_no_request_and_its_shares_are_near_the_weights(quiet: Behind) -> None:
    target = quiet.other()
    with quiet.load() as load:
        quiet.space.point_to(MODEL, target)
        quiet.until(lambda: quiet.status().get("canary"), "the new revision has pods")
        revision = quiet.status()["canary"]["revision"]
        seen = watch(quiet)
        quiet.settle()
        ended = load.requests()[-1].at
        quiet.until(lambda: load.requests()[-1].at > ended + 1, "requests after the rollout")
    check_shares(quiet.space, load, seen, revision, hold=HOLD, after=BEHIND)
    assert set(load.shares(ended, math.inf)) == {revision}
    assert quiet.status()["stable"]["version"] == target.version
    assert len(seen.pods) == 2
    assert quiet.space.ready_servers(MODEL) == seen.pods, "promotion restarted a pod"


def test_a_gateway_that_hangs_holds_the_rollout_and_loses_no_request(quiet: Behind) -> None:
    target, stable = quiet.other(), quiet.status()["stable"]["revision"]
    with quiet.load() as load:
        with quiet.gateway.hung():
            quiet.space.point_to(MODEL, target)
            quiet.until(lambda: len(quiet.space.ready_servers(MODEL)) > 2, "a pod of the new revision is ready")
            quiet.until(lambda: quiet.space.condition(MODEL, "Routed").get("status") == "False", "it waits")
            asked = len(load.requests())
            quiet.until(lambda: len(load.requests()) > asked + 1000, "1000 more requests")
            assert "stepStartedAt" not in quiet.status()["rollout"]
            held = load.requests()[-1].at
            assert set(load.shares(0, held)) == {stable}
        quiet.settle()
    assert quiet.status()["stable"]["version"] == target.version


def test_an_abort_behind_a_gateway_brings_all_requests_back_and_those_that_name_a_revision_get_it(
    quiet: Behind,
) -> None:
    before, stable, target = quiet.space.ready_servers(MODEL), quiet.status()["stable"], quiet.other()
    rollout = {"steps": [{"weight": 20, "hold": "10m"}], **JUDGED}
    with quiet.load() as load:
        quiet.space.patch(MODEL, {"rollout": rollout, "model": {"uri": target.uri}})
        quiet.until(lambda: "stepStartedAt" in quiet.status().get("rollout", {}), "the new revision has a share")
        canary = quiet.status()["canary"]
        quiet.until(lambda: any(r.revision == canary["revision"] for r in load.requests()), "it answers")
        wanted = {"stable": stable, stable["revision"]: stable, "canary": canary, canary["revision"]: canary}
        for ask_it in (quiet.http, quiet.grpc):
            for name, side in wanted.items():
                for _ in range(10):
                    value, said = ask_it(**{PIN: name})
                    assert (said[PIN], said[DIGEST]) == (side["revision"], side["digest"]), name
                    assert value == 1.0 + quiet.space.world.offsets[side["digest"]]
            assert ask_it(**{PIN: "nobody"})[1][PIN] in (stable["revision"], canary["revision"])
        quiet.space.kubectl("annotate", "md", MODEL, "tidegate.dev/abort=now", "--overwrite")
        quiet.until(lambda: quiet.space.condition(MODEL, "RolledBack").get("status") == "True", "given up", 30)
        back = load.requests()[-1].at
        quiet.until(lambda: len(quiet.space.servers(MODEL)) == 2, "the canary's pods are gone")
        quiet.until(lambda: load.requests()[-1].at > back + BEHIND + 2, "requests after the way back")
    shares = load.shares(back + BEHIND, math.inf)
    quiet.space.say(f"after the abort: {dict(shares)}")
    assert set(shares) == {stable["revision"]}
    assert quiet.space.ready_servers(MODEL) == before, "going back restarted a pod"
    quiet.space.point_to(MODEL, quiet.space.world.bundles[f"adder:{stable['version']}"])
    quiet.space.patch(MODEL, {"rollout": TWO_STEPS})


def test_a_model_that_a_gateway_does_not_take_says_why_and_harms_no_other(quiet: Behind) -> None:
    space, rival = quiet.space, "rival"
    own = quiet.gateway.place(f"rival.{DOMAIN}", f"rival-grpc.{DOMAIN}")

    def told(reason: str, *words: str) -> None:
        def said() -> bool:
            ready = space.condition(rival)
            return ready.get("reason") == reason and all(word in ready["message"] for word in words)

        quiet.until(said, f"{rival} says {reason}: {words}")

    def place(traffic: Raw) -> None:
        space.patch(rival, {"traffic": traffic})

    with quiet.load():
        absent = own | {"gateway": own["gateway"] | {"name": "absent"}}
        space.deploy(rival, space.world.bundles["adder:3"], traffic=absent, rollout=TWO_STEPS)
        told("RouterNotReady", "Gateway absent")
        place(quiet.gateway.place(HTTP_HOST, GRPC_HOST))
        told("RouteRefused", f"HTTPRoute {rival}-http", "RuleMatchConflict")
        place(quiet.gateway.place("rival.elsewhere.test", "rival-grpc.elsewhere.test"))
        told("RouteRefused", "NoMatchingListenerHostname")
        place(own)
        space.wait_ready(rival)
        value, said = ask(quiet.gateway.address, MODEL, 1.0, {"Host": f"rival.{DOMAIN}"})
        stable = space.status(rival)["stable"]
        assert (value, said[PIN], said[DIGEST]) == (4.0, stable["revision"], stable["digest"])
        space.kubectl("delete", "md", rival, "--timeout=60s", timeout=70)
    assert quiet.space.condition(MODEL).get("status") == "True"
