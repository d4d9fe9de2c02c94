"""One namespace of a real API server with the real reconciler in it; time stands still unless the operator waits."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from cluster_nodes import Kubelet, Routers
from cluster_requests import Client, Killed
from domain_objects import uri
from kubernetes.client import ApiClient

from tidegate.adapters.api import ApiServer
from tidegate.adapters.errors import ApiError, NotFound
from tidegate.adapters.kube import PATHS, KubeCluster
from tidegate.api.v1alpha1 import API_VERSION, KIND
from tidegate.domain import names
from tidegate.domain.labels import COMPONENT, REVISION
from tidegate.domain.observed import TABLE_KEY, shard_label
from tidegate.resources.settings import Settings
from tidegate.runtime.reconcile import IDLE, Reconciler

Raw = dict[str, Any]
KINDS = tuple(PATHS)
SETTINGS = Settings(packager_image="tidegate/packager:test", router_image="tidegate/envoy:test")
STEPS = [{"weight": 50, "hold": "10s"}]
NO_BAKE = {"duration": "0s"}
LIMIT = 60.0
"""Real seconds after which a test gives up."""
LONGEST = timedelta(hours=2)
"""Simulated time within which everything has come to rest."""


class Clock:
    """Starts now, so that it agrees with the times that the controller manager writes, and moves only when told."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by


class Stage:
    """A namespace, its nodes, and an operator that a test drives step by step."""

    def __init__(self, connection: ApiClient, namespace: str, operator: ApiClient | None = None) -> None:
        """``connection`` has every right; ``operator`` is what the operator connects with, when that is another."""
        self.namespace = namespace
        self.connection = connection
        self.api = ApiServer(connection)
        self.client = Client(operator or connection)
        self.clock = Clock()
        self.kubelet = Kubelet(self.api, namespace)
        self.routers = Routers(self.api, self.kubelet, namespace, self.clock.now)
        self.errors: list[Exception] = []
        self.restart()

    def restart(self) -> None:
        """A fresh operator that remembers nothing."""
        cluster = KubeCluster(self.client.api(), SETTINGS.pins, "operator-test")
        self.reconcile = Reconciler(cluster, self.routers, self.clock, SETTINGS)

    # What users do

    def path(self, kind: str, name: str = "") -> str:
        """Where objects of a kind are."""
        group, plural = PATHS[kind]
        return f"{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def create(self, name: str = "digits", version: int = 1, **fields: Any) -> Raw:
        """Create a ModelDeployment; ``fields`` add to spec, in wire form."""
        spec = {"model": {"uri": uri(version)}, "replicas": 2, "rollout": {"steps": STEPS, "bake": NO_BAKE}} | fields
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
        return self.put(body)

    def put(self, body: Raw) -> Raw:
        """Create any object."""
        return self.api.request("POST", self.path(body["kind"]), content_type="application/json", body=body)

    def edit(self, name: str = "digits", **fields: Any) -> None:
        """Edit fields of spec by a merge patch."""
        self.patch(KIND, name, {"spec": fields})

    def patch(self, kind: str, name: str, body: Raw) -> None:
        """Edit any object by a merge patch, as somebody with kubectl does."""
        self.api.request("PATCH", self.path(kind, name), content_type="application/merge-patch+json", body=body)

    def delete(self, kind: str = KIND, name: str = "digits", policy: str = "Background") -> None:
        """Delete any object."""
        body = {"propagationPolicy": policy}
        self.api.request("DELETE", self.path(kind, name), content_type="application/json", body=body)

    # What is seen

    def objects(self, kind: str) -> list[Raw]:
        """Objects of a kind by name, but for those that Kubernetes puts into every namespace."""
        items = self.api.request("GET", self.path(kind))["items"]
        kept = [o for o in items if o["metadata"]["name"] != "kube-root-ca.crt"]
        return [{"kind": kind, **o} for o in sorted(kept, key=lambda o: o["metadata"]["name"])]

    def get(self, kind: str, name: str) -> Raw | None:
        """One object; None when there is none."""
        try:
            return self.api.request("GET", self.path(kind, name))
        except NotFound:
            return None

    def events(self) -> list[Raw]:
        """Events of the namespace's ModelDeployments."""
        items = self.api.request("GET", f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return [e for e in items if e["involvedObject"]["kind"] == KIND]

    def status(self, name: str = "digits") -> Raw:
        """Status of a ModelDeployment."""
        found = self.get(KIND, name)
        assert found is not None, f"{name} does not exist"
        return dict(found.get("status", {}))

    def condition(self, kind: str, name: str = "digits") -> tuple[str, str]:
        """Status and reason of one condition."""
        return next((c["status"], c["reason"]) for c in self.status(name)["conditions"] if c["type"] == kind)

    def ready(self, name: str = "digits") -> bool:
        """As ``kubectl wait --for=condition=Ready`` sees it."""
        return any(c["type"] == "Ready" and c["status"] == "True" for c in self.status(name).get("conditions", ()))

    def table(self) -> Raw:
        """The routes as last written, by model."""
        tables = [json.loads(o["data"][TABLE_KEY]) for o in self.objects("ConfigMap") if TABLE_KEY in o.get("data", {})]
        return {name: route for table in tables for name, route in table["routes"].items()}

    def weights(self, name: str = "digits") -> dict[str, int]:
        """Positive weights by version of the bundle."""
        versions = {o["metadata"]["name"]: o["data"]["version"] for o in self.objects("ControllerRevision")}
        backends = self.table().get(name, {}).get("backends", ())
        return {versions[b["revision"]]: b["weight"] for b in backends if b["weight"]}

    def models(self) -> Sequence[str]:
        """ModelDeployments by name."""
        return [str(o["metadata"]["name"]) for o in self.objects(KIND)]

    def left(self) -> list[str]:
        """Everything in the namespace that Tidegate could have made."""
        return [f"{kind}/{o['metadata']['name']}" for kind in KINDS for o in self.objects(kind)]

    # Time

    def look(self) -> list[timedelta]:
        """Reconcile every ModelDeployment once; when each one wants to be looked at again without an event."""
        waits = []
        for name in self.models():
            try:
                waits.append(self.reconcile(self.namespace, name) or IDLE)
            except ApiError as error:
                self.errors.append(error)
            except Killed as error:
                self.errors.append(error)
                self.restart()
        return waits

    def settle(self, until: Callable[["Stage"], object] = lambda _: False) -> None:
        """Let the operator, the controllers and time run until ``until`` holds, or until nothing happens any more."""
        deadline = time.monotonic() + LIMIT
        end = self.clock.now() + LONGEST
        seen: list[str] | None = None
        while not until(self):
            assert time.monotonic() < deadline, f"not at rest in {LIMIT} s: {self.summary()}"
            assert self.clock.now() < end, f"not at rest in {LONGEST}: {self.summary()}"
            before, failed = len(self.client.writes), len(self.errors)
            moved = self.kubelet.sync()
            waits = self.look()
            if moved or len(self.client.writes) > before or len(self.errors) > failed:
                continue
            last, seen = seen, self.controllers_rest()
            if seen is None:
                time.sleep(0.02)
            if seen is None or seen != last:
                continue
            due = min(waits, default=IDLE)
            if due >= IDLE:
                return
            self.clock.advance(due)

    def controllers_rest(self) -> list[str] | None:
        """What Kubernetes made of the operator's objects, by version; None while it has not done all it will."""
        deployments = {o["metadata"]["name"]: o for o in self.objects("Deployment")}
        jobs = self.objects("Job")
        pods = [p for p in self.objects("Pod") if p["metadata"]["labels"].get(COMPONENT) in ("server", "router")]
        have = Counter(p["metadata"]["labels"].get(REVISION) or names.router(shard_label(p) or 0) for p in pods)
        at_work = any(_resizing(item, have[name]) for name, item in deployments.items()) or any(map(_runs, jobs))
        if at_work or not set(have) <= set(deployments):
            return None
        return [o["metadata"]["resourceVersion"] for o in (*deployments.values(), *jobs, *pods)]

    def summary(self) -> str:
        """Where it stands, for the message of a failed test."""
        told = {name: self.status(name) for name in self.models()}
        last = [str(r) for r in self.client.writes[-8:]]
        return f"{json.dumps(told)[:3000]} errors={self.errors[-3:]} {last=}"

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Fails when the operator writes anything."""
        before = len(self.client.writes)
        yield
        assert self.client.writes[before:] == []

    def snapshot(self) -> Raw:
        """Every object, without what differs between two equal histories: names of pods, uids, versions and times."""
        found = {
            f"{kind}/{o['metadata']['name']}": normal(o) for kind in KINDS if kind != "Pod" for o in self.objects(kind)
        }
        pods: dict[str, int] = {}
        for pod in self.objects("Pod"):
            owner = pod["metadata"]["labels"].get(REVISION) or pod["metadata"]["labels"].get(COMPONENT)
            if owner not in ("resolve", "parity"):
                pods[owner] = pods.get(owner, 0) + 1
        text = json.dumps({**found, "pods": pods}, sort_keys=True)
        return dict(json.loads(text.replace(self.namespace, "NAMESPACE")))


def _resizing(deployment: Raw, pods: int) -> bool:
    """True until a Deployment has the pods it asks for."""
    meta, seen, wanted = deployment["metadata"], deployment.get("status", {}), deployment["spec"]["replicas"]
    unseen = seen.get("observedGeneration") != meta["generation"] or "deletionTimestamp" in meta
    return unseen or pods != wanted or seen.get("replicas", 0) != wanted


def _runs(job: Raw) -> bool:
    """True until a Job's end, which comes here at once, is on record."""
    ended = {c["type"] for c in job.get("status", {}).get("conditions", ()) if c["status"] == "True"}
    return not ended & {"Complete", "Failed"}


META = frozenset({"name", "labels", "annotations", "ownerReferences", "finalizers"})
FOREIGN = "deployment.kubernetes.io/revision"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
ASSIGNED = frozenset({"uid", "clusterIP", "clusterIPs", "creationTimestamp", "observedGeneration"})


def normal(item: Raw) -> Raw:
    """An object without what a server assigns. Only a ModelDeployment's status is the operator's."""
    meta = {k: v for k, v in item["metadata"].items() if k in META}
    meta["annotations"] = {k: v for k, v in meta.get("annotations", {}).items() if k != FOREIGN}
    body = {k: v for k, v in item.items() if k not in ("metadata", "status")}
    status = {"status": item.get("status")} if item["kind"] == KIND else {}
    return dict(plain({"metadata": meta} | body | status))


def plain(value: Any) -> Any:
    """A value without the fields that a server assigns, and without times."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in ASSIGNED}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return TIME.sub("TIME", value) if isinstance(value, str) else value
