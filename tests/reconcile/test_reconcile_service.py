"""Models without any router, on a real API server whose EndpointSlices the real controller makes."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
from cluster_nodes import Kubelet
from cluster_server import eventually
from cluster_stage import NO_BAKE, SETTINGS, STEPS, Stage
from domain_objects import uri, wire_time
from kubernetes.client import ApiClient

from tidegate.adapters.api import ApiServer
from tidegate.adapters.errors import NotFound
from tidegate.adapters.kube import SLICES, KubeCluster
from tidegate.domain.checks.queries import QueryAnswer
from tidegate.domain.labels import COMPONENT, REVISION, SHARD
from tidegate.runtime.reconcile import Reconciler

Raw = dict[str, Any]
NODE = "service-node"
TRAFFIC = {"router": "Service"}
CHECKS = [{"name": "errors", "prometheus": {"query": "vector(0)", "max": 0.1}}]
BY_PODS = {"steps": STEPS, "bake": NO_BAKE, "analysis": {"checks": CHECKS}}


class Good:
    """A Prometheus whose every answer is 0."""

    def values(self, queries: Mapping[str, str]) -> Mapping[str, QueryAnswer]:
        return {name: QueryAnswer(0.0) for name in queries}


class NodeKubelet(Kubelet):
    """Binds server pods to a node, without which EndpointSlices leave them out, and ends those that are deleted.

    It tells when a pod became ready, by the clock of its stage, as a real one does.
    """

    now: Callable[[], datetime]

    def sync(self) -> bool:
        changed = False
        for pod in filter(_server, self.pods()):
            name = pod["metadata"]["name"]
            if "deletionTimestamp" in pod["metadata"]:
                body: Raw = {"gracePeriodSeconds": 0}
                self._send("DELETE", f"{self._folder}/{name}", body)
                changed = True
            elif not pod["spec"].get("nodeName"):
                target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
                body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
                self._send("POST", f"{self._folder}/{name}/binding", body)
                changed = True
        return super().sync() or changed

    def _send(self, method: str, path: str, body: Raw) -> None:
        """A pod that is gone meanwhile is none of a kubelet's business."""
        with contextlib.suppress(NotFound):
            self._api.request(method, path, content_type="application/json", body=body)

    def patch(self, name: str, status: Raw) -> None:
        since = {"lastTransitionTime": wire_time(self.now())}
        timed = {"conditions": [c | since for c in status["conditions"]]} if "conditions" in status else {}
        super().patch(name, status | timed)


class ServiceStage(Stage):
    """A stage that remembers which revisions had pods in the Service's EndpointSlices, one set after the other."""

    def __init__(self, connection: ApiClient, namespace: str) -> None:
        super().__init__(connection, namespace)
        self.kubelet = NodeKubelet(self.api, namespace)
        self.kubelet.now = self.clock.now

    def restart(self) -> None:
        cluster = KubeCluster(self.client.api(), SETTINGS.pins, "operator-test")
        self.reconcile = Reconciler(cluster, self.routers, self.clock, SETTINGS, queries=Good())
        self.seen: list[dict[str, int]] = []

    def shown(self) -> dict[str, int]:
        """Ready pods in the EndpointSlices, by version."""
        group, plural = SLICES
        query = [("labelSelector", "kubernetes.io/service-name=digits")]
        slices = self.api.request("GET", f"{group}/namespaces/{self.namespace}/{plural}", query=query)["items"]
        names = [
            e["targetRef"]["name"] for o in slices for e in o.get("endpoints") or () if e["conditions"].get("ready")
        ]
        pods = {p["metadata"]["name"]: p["metadata"]["labels"][REVISION] for p in self.kubelet.pods() if _server(p)}
        versions = {o["metadata"]["name"]: o["data"]["version"] for o in self.objects("ControllerRevision")}
        found: dict[str, int] = {}
        for name in names:
            version = versions[pods[name]] if name in pods else "gone"
            found[version] = found.get(version, 0) + 1
        return found

    def watch(self, _: Stage | None = None) -> bool:
        """Remember what is shown; False, so that time runs on."""
        found = self.shown()
        if not self.seen or self.seen[-1] != found:
            self.seen.append(found)
        return False


def _server(pod: Raw) -> bool:
    return bool(pod["metadata"]["labels"].get(COMPONENT) == "server")


@pytest.fixture(scope="module")
def node(api: ApiClient) -> Iterator[None]:
    """A node for the pods of these tests; other tests share the API server."""
    connection = ApiServer(api)
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    connection.request("POST", "/api/v1/nodes", content_type="application/json", body=body)
    yield
    connection.request("DELETE", f"/api/v1/nodes/{NODE}")


@pytest.fixture
def stage(api: ApiClient, namespace: str, node: None) -> ServiceStage:
    """A namespace whose pods are on a node."""
    return ServiceStage(api, namespace)


def test_a_rollout_by_pods_shows_no_other_pod_and_is_never_without_one(stage: ServiceStage) -> None:
    stage.create(rollout=BY_PODS, traffic=TRAFFIC)
    stage.settle()
    assert stage.ready()
    assert stage.shown() == {"1": 2}
    assert stage.status()["url"] == f"http://digits.{stage.namespace}.svc:8000"
    assert stage.objects("ConfigMap") == [], "no router of ours is there, and none counts"
    stage.edit(model={"uri": uri(2)})
    stage.settle(stage.watch)
    assert stage.ready()
    assert stage.status()["stable"]["version"] == "2"
    assert stage.shown() == {"2": 2}
    assert {} not in stage.seen
    assert {"1": 2, "2": 2} in stage.seen, "half of the pods are half of the connections"
    assert stage.errors == []
    with stage.silence():
        stage.restart()
        stage.look()


def test_the_way_back_is_one_write_of_the_selector(stage: ServiceStage) -> None:
    stage.create(rollout=BY_PODS | {"steps": [{"weight": 50, "hold": "1h"}]}, traffic=TRAFFIC)
    stage.settle()
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda now: "stepStartedAt" in now.status().get("rollout", {}))
    assert (stage.status()["stable"]["weight"], stage.status()["canary"]["weight"]) == (50, 50)
    before = len(stage.client.writes)
    stage.patch("ModelDeployment", "digits", {"metadata": {"annotations": {"tidegate.dev/abort": "now"}}})
    stage.settle(stage.watch)
    written = [r for r in stage.client.writes[before:] if r.resource == "services" and r.name == "digits"]
    assert [r.verb for r in written][:1] == ["patch"]
    assert stage.shown() == {"1": 2}
    assert {} not in stage.seen
    assert stage.condition("RolledBack") == ("True", "Aborted")


@pytest.mark.parametrize("change", [{"cut": "off"}, {REVISION: "digits-00000000"}, {COMPONENT: "router"}])
def test_a_selector_that_somebody_edited_is_put_back(stage: ServiceStage, change: Raw) -> None:
    stage.create(rollout=BY_PODS, traffic=TRAFFIC)
    stage.settle()
    wanted = (stage.get("Service", "digits") or {})["spec"]["selector"]
    stage.patch("Service", "digits", {"spec": {"selector": change}})
    stage.settle()
    assert (stage.get("Service", "digits") or {})["spec"]["selector"] == wanted
    assert stage.ready()


def test_an_affinity_by_address_comes_and_goes(stage: ServiceStage) -> None:
    stage.create(rollout=BY_PODS, traffic=TRAFFIC | {"affinity": "ClientAddress"})
    stage.settle()
    assert (stage.get("Service", "digits") or {})["spec"]["sessionAffinity"] == "ClientIP"
    stage.edit(traffic={"affinity": None})
    stage.settle()
    assert (stage.get("Service", "digits") or {})["spec"]["sessionAffinity"] == "None"
    assert stage.ready()
    assert stage.errors == []


def test_what_another_router_left_of_the_service_does_not_stay(stage: ServiceStage) -> None:
    """As after a restore from a backup, where the model was routed by routers before."""
    meta = {"name": "digits", "labels": {"tidegate.dev/model": "digits", "app.kubernetes.io/managed-by": "tidegate"}}
    meta["labels"][SHARD] = "0"  # type: ignore[index]
    ports = [{"name": "http", "port": 8000, "targetPort": 20000}, {"name": "grpc", "port": 8001, "targetPort": 20000}]
    spec = {"selector": {COMPONENT: "router", SHARD: "0"}, "ports": ports}
    stage.put({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    stage.create(rollout=BY_PODS, traffic=TRAFFIC)
    stage.settle()
    assert stage.ready()
    assert stage.shown() == {"1": 2}
    found = stage.get("Service", "digits") or {}
    assert [p["targetPort"] for p in found["spec"]["ports"]] == [8000, 8001]


def test_deletion_leaves_nothing(stage: ServiceStage) -> None:
    stage.create(rollout=BY_PODS, traffic=TRAFFIC)
    stage.settle()
    stage.delete()

    def gone() -> bool:
        stage.kubelet.sync()
        stage.look()
        return stage.left() == []

    eventually(gone, "nothing is left", 90.0)
    assert stage.errors == []


@pytest.mark.parametrize(("before", "after"), [(None, TRAFFIC), (TRAFFIC, {"router": "Envoy"}), (TRAFFIC, None)])
def test_the_router_of_a_model_cannot_be_changed(stage: ServiceStage, before: Raw | None, after: Raw | None) -> None:
    rollout = {"strategy": "BlueGreen", "steps": []}
    stage.create(rollout=rollout, **({"traffic": before} if before else {}))
    with pytest.raises(Exception, match=r"spec\.traffic\.router.*cannot be changed"):
        stage.edit(traffic=after)
    stage.edit(traffic=before, replicas=3)
