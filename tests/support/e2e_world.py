"""The cluster that the end-to-end tests share, and one namespace of it for each test."""

import http.client
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from e2e_models import WIDTH, Bundle, Store
from kubernetes import client, config

from devcluster.errors import DevclusterError
from devcluster.progress import Progress
from examples.digits.installation import SYSTEM, Platform
from tidegate.adapters.api import ApiServer
from tidegate.adapters.errors import ApiError, NotFound

Raw = dict[str, Any]
STORE_NAMESPACE = "e2e-store"
SECRET = "models-read"
POLL = 0.25
QUICK: Raw = {
    # Most tests send no requests, and those that do share two cores with everything else: latencies say nothing there.
    "analysis": {"minRequests": 0, "checks": [{"name": "errors", "maxPercent": 1}]},
    "bake": {"duration": "0s"},
}
MODELS = "/apis/tidegate.dev/v1alpha1"
KINDS = {
    "pods": "/api/v1",
    "services": "/api/v1",
    "configmaps": "/api/v1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "controllerrevisions": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
}
"""Every kind that carries the operator's labels."""


def connect(platform: Platform) -> ApiServer:
    """The API server, as administrator."""
    settings = client.Configuration()
    config.load_kube_config(str(platform.cluster.kubeconfig), client_configuration=settings)
    settings.connection_pool_maxsize = 32
    return ApiServer(client.ApiClient(settings))


def ask(
    address: str, model: str, x: float = 1.0, headers: dict[str, str] | None = None
) -> tuple[float, dict[str, str]]:
    """One request over HTTP: the first number of the answer, and the headers. Raises AssertionError for any but 200."""
    connection = http.client.HTTPConnection(address, timeout=20)
    tensor = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": [x] * WIDTH}
    try:
        connection.request("POST", f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}), headers or {})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status == 200, f"HTTP {answer.status}: {body[:300]!r}"
    return float(json.loads(body)["outputs"][0]["data"][0]), {k.lower(): v for k, v in answer.getheaders()}


@dataclass
class World:
    """A cluster with Tidegate and a store with bundles in it."""

    platform: Platform
    progress: Progress
    store: Store
    bundles: dict[str, Bundle]
    chart_values: dict[str, str]
    api: ApiServer = field(init=False)

    def __post_init__(self) -> None:
        self.api = connect(self.platform)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """What kubectl prints."""
        return self.platform.kubectl(*arguments, stdin=stdin, timeout=timeout)

    @property
    def offsets(self) -> dict[str, float]:
        """The number that each bundle adds, by digest."""
        return {b.digest: b.offset for b in self.bundles.values()}

    def store_secret(self, name: str = SECRET, endpoint: str | None = None) -> Raw:
        """Credentials of the store, with its address inside the cluster unless another is given."""
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {
                "AWS_ENDPOINT_URL": endpoint or f"http://store.{STORE_NAMESPACE}.svc:7070",
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "development",
                "AWS_SECRET_ACCESS_KEY": "development-only",
            },
        }

    def host_address(self) -> str:
        """Address of this machine under which pods reach it: the one that it speaks to a node from."""
        (node, *_) = self.api.request("GET", "/api/v1/nodes")["items"]
        address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
        with socket.socket(type=socket.SOCK_DGRAM) as way:
            way.connect((address, 9))  # sends nothing; the system only chooses the way
            return str(way.getsockname()[0])

    def operator_pods(self) -> list[Raw]:
        """Pods of the operator."""
        query = [("labelSelector", "app.kubernetes.io/name=tidegate")]
        return list(self.api.request("GET", f"/api/v1/namespaces/{SYSTEM}/pods", query=query)["items"])

    def leader(self) -> str:
        """Name of the operator's pod that acts; empty while none does."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/tidegate-operator"
        return str(self.api.request("GET", path)["spec"].get("holderIdentity", ""))

    def kill_leader(self) -> str:
        """End the acting operator at once; returns the name of its pod."""
        name = self.leader()
        assert name, "no operator leads"
        self.kubectl("-n", SYSTEM, "delete", "pod", name, "--grace-period=0", "--force")
        return name


class Space:
    """A namespace of its own with the store's credentials in it."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name

    def say(self, text: str) -> None:
        """Tell what is going on."""
        self.world.progress.say(f"{self.name}: {text}")

    def create(self) -> None:
        """Make the namespace; what an earlier run left of it is removed first."""
        self.world.kubectl("delete", "namespace", self.name, "--ignore-not-found", "--timeout=200s", timeout=210)
        self.world.kubectl("create", "namespace", self.name)
        self.apply(self.world.store_secret())
        account = f"/api/v1/namespaces/{self.name}/serviceaccounts/default"
        self.until(lambda: self.world.api.request("GET", account), "its default service account", seconds=30)

    def remove(self) -> None:
        """Delete the namespace without waiting for the end of it."""
        self.world.kubectl("delete", "namespace", self.name, "--ignore-not-found", "--wait=false")

    def apply(self, *manifests: Raw) -> None:
        """kubectl apply."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.world.kubectl("-n", self.name, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def kubectl(self, *arguments: str, timeout: float = 60) -> str:
        """kubectl in this namespace."""
        return self.world.kubectl("-n", self.name, *arguments, timeout=timeout)

    def deploy(self, name: str, bundle: Bundle, **changes: Any) -> None:
        """Apply a ModelDeployment; ``changes`` replace fields of its spec."""
        self.apply(self.manifest(name, bundle, **changes))

    def manifest(self, name: str, bundle: Bundle, **changes: Any) -> Raw:
        """A ModelDeployment that runs a bundle on CPU and rolls out in two short steps."""
        spec: Raw = {
            "model": {"uri": bundle.uri, "credentialsSecretRef": {"name": SECRET}},
            "server": {
                "image": f"tidegate/triton-cpu:{self.world.platform.tag('triton-cpu')}",
                "accelerator": "CPU",
                # Small requests: a dozen of these pods fit on a node of two cores.
                "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
            },
            "replicas": 1,
            "rollout": {"steps": [{"weight": 20, "hold": "5s"}, {"weight": 50, "hold": "5s"}], **QUICK},
        }
        meta = {"name": name, "namespace": self.name}
        return {"apiVersion": "tidegate.dev/v1alpha1", "kind": "ModelDeployment", "metadata": meta} | {
            "spec": spec | changes
        }

    def patch(self, name: str, spec: Raw) -> None:
        """kubectl patch md, as a merge into spec."""
        self.kubectl("patch", "md", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def annotate(self, name: str, annotations: dict[str, str]) -> None:
        """What kubectl annotate writes, without the time that kubectl takes to start."""
        path = f"{MODELS}/namespaces/{self.name}/modeldeployments/{name}"
        body = {"metadata": {"annotations": annotations}}
        self.world.api.request("PATCH", path, content_type="application/merge-patch+json", body=body)

    def point_to(self, name: str, bundle: Bundle) -> None:
        """The one-line edit that starts a rollout."""
        self.patch(name, {"model": {"uri": bundle.uri}})

    def get(self, name: str) -> Raw:
        """The ModelDeployment."""
        return self.world.api.request("GET", f"{MODELS}/namespaces/{self.name}/modeldeployments/{name}")

    def status(self, name: str) -> Raw:
        """Its status, empty while it is about an older spec."""
        found = self.get(name)
        status: Raw = found.get("status", {})
        return status if status.get("observedGeneration") == found["metadata"]["generation"] else {}

    def condition(self, name: str, kind: str = "Ready") -> Raw:
        """One condition about the newest spec, empty while there is none."""
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), {})

    def wait_ready(self, *names: str, seconds: float = 150) -> None:
        """Wait until the newest spec of each serves."""
        for name in names:
            self.until(
                lambda name=name: self.condition(name).get("status") == "True", f"{name} is Ready", seconds=seconds
            )

    def objects(self, kind: str, selector: str = "") -> list[Raw]:
        """Objects of one of KINDS."""
        query = [("labelSelector", selector)] if selector else []
        path = f"{KINDS[kind]}/namespaces/{self.name}/{kind}"
        return list(self.world.api.request("GET", path, query=query)["items"])

    def servers(self, model: str) -> list[Raw]:
        """Triton pods of a model that were not told to go."""
        pods = self.objects("pods", f"tidegate.dev/model={model},tidegate.dev/component=server")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def ready_servers(self, model: str, revision: str = "") -> dict[str, str]:
        """Names of ready Triton pods with their uids, of one revision where it is given."""
        label = "tidegate.dev/revision"
        pods = [p for p in self.servers(model) if revision in ("", p["metadata"]["labels"][label])]
        return {p["metadata"]["name"]: p["metadata"]["uid"] for p in pods if is_ready(p)}

    def remains(self) -> list[str]:
        """Everything that carries a label of the operator, as kind/name."""
        found = []
        for selector in ("app.kubernetes.io/managed-by=tidegate", "tidegate.dev/component"):
            for kind in KINDS:
                found += [f"{kind}/{item['metadata']['name']}" for item in self.objects(kind, selector)]
        return sorted(set(found))

    def address(self, model: str, port: int = 8000) -> str:
        """host:port of the model's Service."""
        service = self.world.api.request("GET", f"/api/v1/namespaces/{self.name}/services/{model}")
        return f"{service['spec']['clusterIP']}:{port}"

    def events(self, model: str) -> list[tuple[str, str]]:
        """Reasons and messages of a ModelDeployment's events, oldest first."""
        query = [("fieldSelector", f"involvedObject.name={model},involvedObject.kind=ModelDeployment")]
        items = self.world.api.request("GET", f"/api/v1/namespaces/{self.name}/events", query=query)["items"]
        return [(e["reason"], e["message"]) for e in sorted(items, key=lambda e: e.get("eventTime") or "")]

    def until(self, check: Callable[[], object], what: str, *, seconds: float) -> None:
        """Wait until a check is true. What the API server cannot answer yet counts as not true."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if check():
                    return
            except NotFound:
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name}: not within {seconds:.0f} s: {what}\n{self.explain()}")
            time.sleep(POLL)

    def explain(self) -> str:
        """What a person would look at first."""
        parts = [f"=== namespace {self.name} ===", "the operator's objects:", *self.remains()]
        looks: list[tuple[str, ...]] = [
            ("-n", self.name, "get", "md", "-o", "yaml"),
            ("-n", self.name, "get", "events", "--sort-by=.metadata.creationTimestamp"),
            ("-n", self.name, "get", "pods", "-o", "wide", "--show-labels"),
            ("-n", SYSTEM, "get", "pods"),
            ("-n", SYSTEM, "logs", "-l", "app.kubernetes.io/name=tidegate", "--tail=40", "--prefix"),
        ]
        for look in looks:
            try:
                parts += [f"$ kubectl {' '.join(look)}", self.world.kubectl(*look)]
            except (DevclusterError, ApiError) as error:
                parts.append(str(error))
        return "\n".join(parts)


def is_ready(pod: Raw) -> bool:
    """True for a pod that is Ready and was not told to go."""
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
