"""No request fails, whatever is done to a model, its pods, its routers or the operator.

Every test sends about 180 requests a second over HTTP and gRPC without a retry, and checks every answer against what
the bundle that gave it must say.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from e2e_load import Load, unharmed
from e2e_rollout import MODEL, Serving, check_shares, watch
from e2e_world import STORE_NAMESPACE, Raw, Space, World

from devcluster.progress import Progress
from examples.digits.installation import install
from tidegate.adapters.errors import Unavailable

KILL_SERVER = (
    'for p in /proc/[0-9]*; do if [ "$(cat $p/comm 2>/dev/null)" = tritonserver ]; then kill -9 ${p#/proc/}; fi; done'
)


class Traffic(Serving):
    """A model of two pods that serves, and loads upon it."""

    @property
    def world(self) -> World:
        return self.space.world

    def load(self) -> AbstractContextManager[Load]:
        """A load that must not lose a request."""
        plan = {
            "http": self.space.address(MODEL),
            "grpc": self.space.address(MODEL, 8001),
            "model": MODEL,
            "offsets": self.world.offsets,
        }
        return unharmed(Load(plan, self.next_file()), self.space.say, self.space.explain)

    def weight(self) -> int:
        """Share of the revision that takes over."""
        return int(self.status().get("rollout", {}).get("weight", 0))


@pytest.fixture(scope="module")
def traffic(world: World, make_space: Callable[[str], Space], tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    """One model of two pods for all tests here; each test takes it as the one before left it."""
    space = make_space("traffic")
    # Without a history no version is known to be good, so that every rollout here takes its steps.
    space.deploy(MODEL, world.bundles["adder:1"], replicas=2, revisionHistoryLimit=0)
    space.wait_ready(MODEL)
    return Traffic(space, tmp_path_factory.mktemp("traffic"))


@pytest.fixture
def quiet(traffic: Traffic) -> Traffic:
    """The model as every test begins: Ready with two pods."""
    traffic.settle()
    return traffic


def test_a_rollout_loses_no_request_and_its_weights_are_true(quiet: Traffic) -> None:
    target = quiet.other()
    quiet.space.patch(MODEL, {"rollout": {"steps": [{"weight": 20, "hold": "6s"}, {"weight": 60, "hold": "6s"}]}})
    quiet.settle()
    with quiet.load() as load:
        quiet.space.point_to(MODEL, target)
        quiet.until(lambda: quiet.status().get("canary"), "the new revision has pods")
        revision = quiet.status()["canary"]["revision"]
        seen = watch(quiet)
        quiet.settle()
    check_shares(quiet.space, load, seen, revision, hold=6)
    assert quiet.stable() == target.version
    assert len(seen.pods) == 2
    assert quiet.space.ready_servers(MODEL) == seen.pods, "promotion restarted a pod"


def test_an_edit_back_in_mid_rollout_is_an_instant_rollback(quiet: Traffic) -> None:
    stable, before = quiet.world.bundles[f"adder:{quiet.stable()}"], quiet.space.ready_servers(MODEL)
    with quiet.load() as load:
        quiet.space.point_to(MODEL, quiet.other())
        quiet.until(lambda: quiet.weight() >= 20, "the new revision has a share")
        revision = quiet.status()["canary"]["revision"]
        quiet.until(lambda: any(r.revision == revision for r in load.requests()), "it answers")
        quiet.space.point_to(MODEL, stable)
        quiet.space.wait_ready(MODEL, seconds=30)
        last = load.requests()[-1].at
        quiet.settle()
        quiet.until(lambda: load.requests()[-1].at > last + 2, "requests after the rollback")
    assert load.shares(last, math.inf)[revision] == 0
    assert quiet.space.ready_servers(MODEL) == before, "the rollback restarted a pod"
    assert "RolledBack" in [reason for reason, _ in quiet.space.events(MODEL)]


def test_a_rollout_that_is_superseded_loses_no_request(quiet: Traffic) -> None:
    with quiet.load() as load:
        steps = [{"weight": 30, "hold": "4s"}]
        quiet.space.patch(MODEL, {"model": {"uri": quiet.other().uri}, "rollout": {"steps": steps}})
        quiet.until(lambda: quiet.weight() >= 30, "the second revision has a share")
        quiet.space.point_to(MODEL, quiet.world.bundles["adder:3"])
        quiet.space.wait_ready(MODEL)
        stable = quiet.status()["stable"]
        quiet.settle()
        ended = load.requests()[-1].at
        quiet.until(lambda: load.requests()[-1].at > ended + 1, "requests after the rollout")
    assert stable["version"] == "3"
    assert set(load.shares(ended, math.inf)) == {stable["revision"]}


def test_scaling_loses_no_request(quiet: Traffic) -> None:
    with quiet.load():
        for pods in (3, 1, 2):
            quiet.space.kubectl("scale", "md", MODEL, f"--replicas={pods}")
            quiet.settle(pods)


def test_a_deleted_pod_and_a_killed_server_lose_no_request(quiet: Traffic) -> None:
    first, second = quiet.space.ready_servers(MODEL)
    with quiet.load():
        quiet.space.kubectl("delete", "pod", first, "--wait=false")
        quiet.settle()
        quiet.space.kubectl("exec", second, "-c", "triton", "--", "sh", "-c", KILL_SERVER)

        def restarted() -> bool:
            pod = next(p for p in quiet.space.servers(MODEL) if p["metadata"]["name"] == second)
            return any(c["restartCount"] > 0 and c["ready"] for c in pod["status"]["containerStatuses"])

        quiet.until(restarted, "the killed server serves again")
        quiet.settle()


def test_a_rolling_restart_of_the_routers_loses_no_request(quiet: Traffic) -> None:
    with quiet.load():
        quiet.space.kubectl("rollout", "restart", "deployment/tidegate-router")
        quiet.space.kubectl("rollout", "status", "deployment/tidegate-router", "--timeout=120s", timeout=130)

        def gone() -> bool:
            return len(quiet.space.objects("pods", "tidegate.dev/component=router")) == 2

        quiet.until(gone, "the old routers have gone")
        quiet.settle()


def test_evictions_as_of_a_node_that_is_drained_lose_no_request(quiet: Traffic) -> None:
    """The one node of this cluster cannot be cordoned, so pods are evicted as a drain does, and find a place again."""
    leaving = [p["metadata"]["name"] for p in quiet.space.servers(MODEL)]
    leaving += [p["metadata"]["name"] for p in quiet.space.objects("pods", "tidegate.dev/component=router")]
    refused = 0
    with quiet.load():
        for name in leaving:
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}

            def evicted(name: str = name, body: Raw = body) -> bool:
                nonlocal refused
                path = f"/api/v1/namespaces/{quiet.space.name}/pods/{name}/eviction"
                try:
                    quiet.world.api.request("POST", path, content_type="application/json", body=body)
                except Unavailable:
                    refused += 1  # the disruption budget: a drain asks again, too
                    return False
                return True

            quiet.until(evicted, f"{name} may go")
        quiet.settle()
    quiet.space.say(f"{len(leaving)} pods evicted, {refused} times told to wait")
    assert refused, "every pod went at once: no disruption budget held"


def test_a_store_that_is_gone_costs_running_models_nothing(quiet: Traffic) -> None:
    with quiet.load() as load:
        quiet.world.kubectl("-n", STORE_NAMESPACE, "patch", "svc", "store", "-p", '{"spec":{"selector":{"cut":"off"}}}')
        try:
            sent = len(load.requests())
            quiet.until(lambda: len(load.requests()) > sent + 300, "300 requests without a store")
        finally:
            selector = '{"spec":{"selector":{"cut":null}}}'
            quiet.world.kubectl("-n", STORE_NAMESPACE, "patch", "svc", "store", "-p", selector)


EVERY_PHASE = {
    "steps": [{"parity": {}}, {"shadow": {"hold": "4s"}}, {"weight": 20, "hold": "4s"}, {"weight": 60, "hold": "4s"}],
    # The versions differ in what they predict. Without a check of predictions a shadow step would have the default one.
    "analysis": {
        "checks": [{"name": "errors", "maxPercent": 1}, {"name": "predictions", "minAgreementPercent": 0}],
        "minRequests": 0,
    },
    "bake": {"duration": "20s"},
}


def test_an_operator_that_is_killed_at_any_phase_loses_no_request(quiet: Traffic) -> None:
    target = quiet.other()
    quiet.space.patch(MODEL, {"rollout": EVERY_PHASE})

    def holds(step: int) -> bool:
        rollout = quiet.status().get("rollout") or {}
        return rollout.get("step") == step and "stepStartedAt" in rollout

    phases: dict[str, Callable[[], object]] = {
        "the bundle is resolved": lambda: quiet.space.objects("jobs", f"tidegate.dev/model={MODEL}"),
        "pods start": lambda: quiet.status().get("canary"),
        "golden cases": lambda: holds(0),
        "copies are compared": lambda: holds(1),
        "first share": lambda: holds(2),
        "second share": lambda: holds(3),
        "promoted, the former revision is warm": lambda: "bake" in quiet.status(),
    }
    quiet.settle()
    pods: dict[str, str] = {}
    with quiet.load():
        quiet.space.point_to(MODEL, target)
        for phase, reached in phases.items():
            quiet.until(reached, phase)
            if phase == "second share":
                pods = quiet.space.ready_servers(MODEL, quiet.status()["canary"]["revision"])
            kill_operator(quiet, phase)
        quiet.settle()
    assert quiet.stable() == target.version
    assert len(pods) == 2
    assert quiet.space.ready_servers(MODEL) == pods, "a pod was restarted"


def test_an_operator_that_is_killed_on_the_way_back_loses_no_request(quiet: Traffic) -> None:
    before = quiet.space.ready_servers(MODEL)
    quiet.space.patch(MODEL, {"rollout": {"steps": [{"weight": 50, "hold": "10m"}]}})
    quiet.settle()
    with quiet.load():
        quiet.space.point_to(MODEL, quiet.other())
        quiet.until(lambda: quiet.weight() == 50, "the new revision has half")
        quiet.space.kubectl("annotate", "md", MODEL, "tidegate.dev/abort=now", "--overwrite")
        kill_operator(quiet, "told to give up")
        quiet.until(lambda: quiet.space.condition(MODEL, "RolledBack").get("status") == "True", "given up")
        quiet.until(lambda: len(quiet.space.servers(MODEL)) == 2, "the canary's pods are gone")
    assert quiet.space.ready_servers(MODEL) == before, "going back restarted a pod"
    quiet.space.point_to(MODEL, quiet.world.bundles[f"adder:{quiet.stable()}"])


def kill_operator(traffic: Traffic, phase: str) -> None:
    """End the leader at once, and wait for the next one."""
    killed = traffic.world.kill_leader()
    traffic.until(lambda: traffic.world.leader() not in ("", killed), "another operator leads", 60)
    traffic.space.say(f"operator killed: {phase}")


def test_an_upgrade_restarts_no_pod_and_the_default_drain_loses_no_request(quiet: Traffic, progress: Progress) -> None:
    """The last test: the shorter drain time that the others run with does not come back."""
    before, operators = quiet.space.ready_servers(MODEL), {p["metadata"]["name"] for p in quiet.world.operator_pods()}
    values = {key: value for key, value in quiet.world.chart_values.items() if key != "drainSeconds"}
    with quiet.load():
        install(quiet.world.platform, progress, values | {"podAnnotations.upgraded": "once"})
        assert not operators & {p["metadata"]["name"] for p in quiet.world.operator_pods() if running(p)}
        quiet.settle()
        assert quiet.space.ready_servers(MODEL) == before, "the upgrade restarted a pod"
        # A revision keeps the drain time it was made with, so a new one is needed to see the new time.
        quiet.space.patch(MODEL, {"server": {"args": ["--log-verbose=0"]}, "rollout": {"steps": []}})
        quiet.space.wait_ready(MODEL)
        revision = quiet.status()["stable"]["revision"]
        pods = [p for p in quiet.space.servers(MODEL) if p["metadata"]["labels"]["tidegate.dev/revision"] == revision]
        drains = {p["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] for p in pods}
        assert drains == {40}
        quiet.space.kubectl("delete", "pod", pods[0]["metadata"]["name"], "--wait=false")
        quiet.settle()


def running(pod: Raw) -> bool:
    """True for a pod that was not told to go."""
    return "deletionTimestamp" not in pod["metadata"]
