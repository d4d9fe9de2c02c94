"""Models that a Gateway routes, with the real kinds of the Gateway API in a real API server."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import cluster_server
import gateway_stage
import pytest
from cluster_nodes import Kubelet
from cluster_server import eventually
from cluster_stage import NO_BAKE, SETTINGS, STEPS, Stage
from domain_objects import uri, wire_time
from gateway_status import parent_status
from kubernetes.client import ApiClient

from charts import generate
from devcluster.gotools import ensure_tools
from devcluster.progress import Progress
from tidegate.adapters.api import ApiServer
from tidegate.adapters.kube import GATEWAY_PATHS, KubeCluster
from tidegate.domain.checks.queries import QueryAnswer
from tidegate.domain.labels import MANAGED, MANAGER, MODEL
from tidegate.runtime.reconcile import Reconciler

ACCOUNT = "gateway-tidegate-operator"
SYSTEM = "gateway-system"
GONE = 90.0
"""Seconds: the garbage collector learns of a new kind within half a minute, and then works at once."""
Raw = dict[str, Any]
TRAFFIC = {
    "router": "GatewayAPI",
    "gateway": {"name": "models", "hostname": "digits.example.com", "grpcHostname": "digits-grpc.example.com"},
    "timeout": "5s",
}
CHECKS = [{"name": "errors", "prometheus": {"query": "vector(0)", "max": 0.1}}]
BY_WEIGHT = {"steps": STEPS, "bake": NO_BAKE, "analysis": {"checks": CHECKS}}
ROLLOUT = {"strategy": "BlueGreen", "steps": [], "bake": {"duration": "0s"}}


class Good:
    """A Prometheus whose every answer is 0."""

    def values(self, queries: Mapping[str, str]) -> Mapping[str, QueryAnswer]:
        return {name: QueryAnswer(0.0) for name in queries}


class TimedKubelet(Kubelet):
    """Tells when a pod became ready, by the clock of its stage, as a real one does."""

    now: Callable[[], datetime]

    def patch(self, name: str, status: Raw) -> None:
        since = {"lastTransitionTime": wire_time(self.now())}
        timed = {"conditions": [c | since for c in status["conditions"]]} if "conditions" in status else {}
        super().patch(name, status | timed)


class GatewayStage(Stage):
    """A stage whose operator may use the Gateway API; ``accept`` plays the controller of the Gateway."""

    def __init__(self, connection: ApiClient, namespace: str, operator: ApiClient) -> None:
        super().__init__(connection, namespace, operator=operator)
        self.kubelet = TimedKubelet(self.api, namespace)
        self.kubelet.now = self.clock.now

    def restart(self) -> None:
        cluster = KubeCluster(self.client.api(), SETTINGS.pins, "operator-test", gateway_api=True)
        self.reconcile = Reconciler(cluster, self.routers, self.clock, SETTINGS, queries=Good())
        self.seen: list[tuple[int, ...]] = []

    def routes(self) -> list[Raw]:
        """The HTTPRoute and the GRPCRoute of the namespace, as far as they are there."""
        found: list[Raw] = []
        for kind, (group, plural) in GATEWAY_PATHS.items():
            items = self.api.request("GET", f"{group}/namespaces/{self.namespace}/{plural}")["items"]
            found += [{"kind": kind, **o} for o in items]
        return found

    def accept(self, _: Stage | None = None) -> bool:
        """Accept every route as it is now; False, so that time runs on."""
        for item in (o for o in self.routes() if o["spec"].get("parentRefs")):
            status = parent_status(item, self.clock.now())
            if item.get("status") != status and not _current(item):
                group, plural = GATEWAY_PATHS[item["kind"]]
                path = f"{group}/namespaces/{self.namespace}/{plural}/{item['metadata']['name']}/status"
                kind = "application/merge-patch+json"
                self.api.request("PATCH", path, content_type=kind, body={"status": status})
        weights = self.split()
        if weights and (not self.seen or self.seen[-1] != weights):
            self.seen.append(weights)
        return False

    def split(self) -> tuple[int, ...]:
        """Weights of the HTTPRoute."""
        found = [o for o in self.routes() if o["kind"] == "HTTPRoute"]
        return tuple(ref["weight"] for o in found for ref in o["spec"]["rules"][-1]["backendRefs"] if ref["weight"])


def _current(item: Raw) -> bool:
    parents = item.get("status", {}).get("parents", ())
    generations = {c["observedGeneration"] for p in parents for c in p["conditions"]}
    return generations == {item["metadata"]["generation"]}


@pytest.fixture(scope="module")
def gateway_api(api: ApiClient) -> Iterator[ApiClient]:
    """The API server with both kinds of routes."""
    gateway_stage.install(api)
    yield api
    gateway_stage.uninstall(api)


@pytest.fixture(scope="module")
def roles(api: ApiClient) -> list[Raw]:
    """What the chart grants with gatewayAPI.enabled, as an installation of its own."""
    helm = ensure_tools(["helm"], Progress())["helm"]
    found = generate.render(helm, "--set", "gatewayAPI.enabled=true")
    renamed = [_renamed(o) for o in found if o["kind"] in cluster_server.FOLDERS]
    cluster_server.install(ApiServer(api), SYSTEM, renamed)
    return renamed


def _renamed(item: Raw) -> Raw:
    """The object under another name: the chart's default roles are there for other tests."""
    text = generate.dump(item).replace("tidegate-operator", ACCOUNT).replace(generate.NAMESPACE, SYSTEM)
    loaded: Raw = generate.yaml.safe_load(text)
    return loaded


@pytest.fixture
def stage(gateway_api: ApiClient, roles: list[Raw], namespace: str) -> GatewayStage:
    """A namespace, and an operator with the rights that the chart gives and no others."""
    assert roles
    account = cluster_server.account_client(gateway_api, SYSTEM, ACCOUNT)
    return GatewayStage(gateway_api, namespace, operator=account)


def test_a_rollout_moves_both_routes_and_needs_exactly_the_rights_of_the_chart(
    stage: GatewayStage, roles: list[Raw]
) -> None:
    # What is left of a model of that name that another router served before a restore.
    meta = {"name": "letters-grpc", "labels": {MODEL: "letters", MANAGED: MANAGER}}
    group, plural = GATEWAY_PATHS["GRPCRoute"]
    left: Raw = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute", "metadata": meta, "spec": {}}
    path = f"{group}/namespaces/{stage.namespace}/{plural}"
    stage.api.request("POST", path, content_type="application/json", body=left)
    stage.create("letters", 3, replicas=1)
    stage.create(replicas=1, rollout=BY_WEIGHT, traffic=TRAFFIC)
    stage.settle(stage.accept)
    assert stage.ready()
    assert [o["metadata"]["name"] for o in stage.routes()] == ["digits-http", "digits-grpc"]
    assert stage.get("Service", "digits") is None, "nothing leads past the Gateway"
    stage.edit(model={"uri": uri(2)})
    stage.settle(stage.accept)
    assert stage.ready()
    assert stage.status()["stable"]["version"] == "2"
    assert stage.seen == [(100,), (50, 50), (100,)]
    assert stage.errors == []
    group = "gateway.networking.k8s.io"
    rules = [rule for role in roles for rule in role.get("rules", ()) if group in rule["apiGroups"]]
    granted = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    used = {(r.resource, verb) for r in stage.client.requests if r.group == group for verb in r.verbs}
    assert used - granted == set()
    # A route of each kind is deleted by the same line.
    assert granted - used <= {("httproutes", "delete")}


def test_weights_rise_only_as_the_routes_are_accepted(stage: GatewayStage) -> None:
    stage.create(replicas=1, rollout=BY_WEIGHT, traffic=TRAFFIC)
    stage.settle(lambda now: now.status().get("stable") or (now.routes() and now.status().get("rollout")))  # type: ignore[attr-defined]
    assert stage.split() == ()
    assert not stage.ready()
    stage.settle(stage.accept)
    assert stage.split() == (100,)
    assert stage.ready()
    assert stage.objects("ConfigMap") == [], "no router of ours is there, and none counts"
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda _: len(stage.split()) == 2 or stage.accept())
    for _ in range(15):
        stage.look()
        stage.clock.advance(timedelta(seconds=2))
    assert stage.split() == (50, 50), "a share that nobody accepted is no beginning of its hold"
    assert not stage.ready()
    stage.settle(stage.accept)
    assert stage.split() == (100,)
    assert stage.ready()


def test_the_routes_say_what_was_asked_for(stage: GatewayStage) -> None:
    stage.create(replicas=1, rollout=ROLLOUT, traffic=TRAFFIC)
    stage.settle(stage.accept)
    http, grpc = stage.routes()
    assert http["spec"]["hostnames"] == ["digits.example.com"]
    assert grpc["spec"]["hostnames"] == ["digits-grpc.example.com"]
    assert {rule["timeouts"]["request"] for rule in http["spec"]["rules"]} == {"5s"}
    with stage.silence():
        stage.restart()
        stage.look()


def test_deletion_leaves_neither_routes_nor_services(stage: GatewayStage) -> None:
    stage.create(replicas=1, rollout=ROLLOUT, traffic=TRAFFIC)
    stage.settle(stage.accept)
    assert len(stage.routes()) == 2
    stage.delete()

    def gone() -> bool:
        stage.look()
        return stage.left() == stage.routes() == []

    eventually(gone, "nothing is left", GONE)
    assert stage.errors == []


def test_a_model_without_the_right_installation_says_what_to_do(api: ApiClient, namespace: str) -> None:
    plain = Stage(api, namespace)
    plain.create(replicas=1, rollout=ROLLOUT, traffic=TRAFFIC)
    plain.look()
    assert plain.condition("Ready") == ("False", "GatewayAPIMissing")
    assert plain.objects("Deployment") == []


@pytest.mark.parametrize(
    ("before", "after"), [(None, TRAFFIC), (TRAFFIC, {"router": "Envoy", "gateway": None}), (TRAFFIC, None)]
)
def test_the_router_of_a_model_cannot_be_changed(
    api: ApiClient, namespace: str, before: Raw | None, after: Raw | None
) -> None:
    plain = Stage(api, namespace)
    plain.create(replicas=1, rollout=ROLLOUT, **({"traffic": before} if before else {}))
    with pytest.raises(Exception, match=r"spec\.traffic\.router.*cannot be changed"):
        plain.edit(traffic=after)
    plain.edit(traffic=before, replicas=2)
