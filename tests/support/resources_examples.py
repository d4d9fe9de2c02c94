"""Fixed revisions, plans and snapshots for tests of the builders, and ways to look into what they build."""

from collections.abc import Iterator
from typing import Any

from tidegate.api.v1alpha1 import SecretKeyReference, SecretReference, Server
from tidegate.domain.names import ROUTER
from tidegate.domain.observed import Observed, Owner, Subject
from tidegate.domain.plan import Base, Plan, Replay, Resolve, Workload
from tidegate.domain.revision import Pins, Revision, StoredRevision
from tidegate.domain.routing import Backend, Route, Table
from tidegate.resources.settings import Settings

SUBJECT = Subject(name="digits", namespace="vision", uid="u-1", generation=3)
OWNERS = (Owner("digits", "u-1"), Owner("letters", "u-2"))
PINS = Pins(packager_image="tidegate/packager:1.0", drain_seconds=40)
SETTINGS = Settings(packager_image="tidegate/packager:1.0", router_image="tidegate/envoy:1.0")
OTHER_SETTINGS = Settings(
    packager_image="other/packager:2.0",
    router_image="other/envoy:2.0",
    router_replicas=5,
    router_requests={"cpu": "2"},
    router_limits={"memory": "2Gi"},
    drain_seconds=99,
    operator_namespace="elsewhere",
    cluster_domain="example.org",
    image_pull_policy="Always",
)
GPU_SERVER: dict[str, Any] = {
    "image": "nvcr.io/nvidia/tritonserver:26.10-py3",
    "resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}},
    "args": ["--log-verbose=1"],
    "template": {
        "metadata": {"labels": {"team": "vision"}, "annotations": {"example.com/owner": "vision"}},
        "spec": {
            "nodeSelector": {"gpu": "l4"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "serviceAccountName": "models-read",
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "serving-high",
            "runtimeClassName": "nvidia",
        },
    },
}
CPU_SERVER: dict[str, Any] = {"image": "tidegate/triton-cpu:1.0", "accelerator": "CPU"}


def stored(server: dict[str, Any] | None = None, *, number: int = 1, mark: str = "a", **fields: Any) -> StoredRevision:
    """A revision kept in the cluster, with ``server`` in wire form."""
    revision = Revision(
        digest="sha256:" + mark * 64,
        uri=fields.get("uri", "s3://models/digits:3"),
        model_name="digits",
        version="3",
        server=Server.model_validate(CPU_SERVER if server is None else server),
        credentials=fields.get("credentials"),
        public_key=fields.get("public_key"),
        pins=fields.get("pins", PINS),
        longest_request_seconds=fields.get("longest", 30),
    )
    return StoredRevision(name=f"digits-{mark * 8}", number=number, revision=revision)


GPU = stored(GPU_SERVER, credentials=SecretReference(name="models-read"))
CPU = stored(CPU_SERVER, number=2, mark="b")
PUBLIC_KEY = SecretKeyReference(name="signing", key="cosign.pub")
SIGNED = stored(
    CPU_SERVER,
    number=3,
    mark="c",
    uri="oci://registry.example:5000/team/digits:3",
    credentials=SecretReference(name="registry-read"),
    public_key=PUBLIC_KEY,
)


def backend(revision: StoredRevision, weight: int) -> Backend:
    """A revision behind a route."""
    return Backend(revision=revision.name, weight=weight, digest=revision.revision.digest)


ROUTE = Route(model="digits", port=20000, timeout_seconds=30, backends=(backend(GPU, 75), backend(CPU, 25)))
LETTERS = Route(model="letters", port=20001, timeout_seconds=5, backends=(Backend(revision="letters-1", weight=0),))
TABLE = Table(routes={"digits": ROUTE, "letters": LETTERS})
RESOLVE = Resolve(
    key="0a1b2c",
    attempt=1,
    uri="s3://models/digits:3",
    digest=GPU.revision.digest,
    credentials=SecretReference(name="models-read"),
    service_account="models-read",
    image_pull_secrets=("registry",),
)
BASE = Base(SIGNED.revision.digest, SIGNED.revision.bundle_uri, SIGNED.revision.credentials)
REPLAY = Replay(
    revision=CPU.name,
    attempt=2,
    uri=CPU.revision.bundle_uri,
    digest=CPU.revision.digest,
    addresses=("10.0.0.7", "fd00::7"),
    credentials=SecretReference(name="models-read"),
    service_account="models-read",
    image_pull_secrets=("registry",),
)
PLAN = Plan(
    resolve=RESOLVE,
    replay=REPLAY,
    revisions=(GPU, CPU),
    workloads=(Workload(GPU, 3, "stable"), Workload(CPU, 1, "canary")),
    route=ROUTE,
    table=TABLE,
)


def observed(*, table_version: str | None = None, **fields: Any) -> Observed:
    """A snapshot, with the routers' table at ``table_version`` when it exists."""
    table = {"kind": "ConfigMap", "metadata": {"name": ROUTER, "resourceVersion": table_version}}
    return Observed(subject=SUBJECT, pins=PINS, owners=OWNERS, router=(table,) if table_version else (), **fields)


def pod_specs(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod spec in ``objects``, with the kind and name of what holds it."""
    for item in objects:
        if "template" in item.get("spec", {}):
            yield f"{item['kind']}/{item['metadata']['name']}", item["spec"]["template"]["spec"]


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Init containers, then containers."""
    return [*spec.get("initContainers", []), *spec["containers"]]
