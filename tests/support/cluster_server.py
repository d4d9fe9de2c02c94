"""A kube-apiserver, etcd and controller manager for a test session, with the API installed."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client, config

import devcluster
from devcluster.ward import warded
from tidegate.adapters.api import ApiServer
from tidegate.adapters.errors import NotFound
from tidegate.api.crd import crd

ROOT = Path(__file__).parents[2]


def eventually(check: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Wait until a check is true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@contextmanager
def control_plane(tier: str) -> Iterator[Path]:
    """The administrator's kubeconfig of a control plane without nodes; one for each tier and checkout."""
    checkout = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
    name = f"{tier}-{checkout}"
    with warded(name):
        cluster = devcluster.up(name=name, control_plane_only=True)
        try:
            yield cluster.kubeconfig
        finally:
            cluster.down()


def connect(kubeconfig: Path) -> client.ApiClient:
    """A client with every right, of a server that has the CustomResourceDefinition."""
    settings = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=settings)
    settings.connection_pool_maxsize = 16
    connection = client.ApiClient(settings)
    extensions = client.ApiextensionsV1Api(connection)
    wanted = crd()
    name = wanted["metadata"]["name"]
    extensions.patch_custom_resource_definition(
        name,
        wanted,
        field_manager="tests",
        field_validation="Strict",
        force=True,
        _content_type="application/apply-patch+yaml",
    )

    def established() -> bool:
        conditions = extensions.read_custom_resource_definition(name).status.conditions or []
        return any(c.type == "Established" and c.status == "True" for c in conditions)

    eventually(established, f"{name} is established")
    _add_node(ApiServer(connection))
    return connection


def _add_node(api: ApiServer) -> None:
    """A node with room for every test, of which nothing runs: what a rollout is planned by."""
    name, room = "roomy", {"cpu": "1000", "memory": "4000Gi", "pods": "10000", "nvidia.com/gpu": "1000"}
    node: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    folder, query = "/api/v1/nodes", [("fieldManager", "tests"), ("force", "true")]
    applied = {"query": query, "content_type": "application/apply-patch+yaml"}
    api.request("PATCH", f"{folder}/{name}", body=node, **applied)
    api.request(
        "PATCH", f"{folder}/{name}/status", body=node | {"status": {"allocatable": room, "capacity": room}}, **applied
    )
    # The API server holds every new node for one that is not ready.
    patch = {"query": [], "content_type": "application/merge-patch+json"}
    api.request("PATCH", f"{folder}/{name}", body={"spec": {"taints": None}}, **patch)


def new_namespace(connection: client.ApiClient) -> str:
    """A namespace with a new name, in which pods can be made."""
    core = client.CoreV1Api(connection)
    name: str = core.create_namespace({"metadata": {"generateName": "test-"}}).metadata.name
    api = ApiServer(connection)

    def has_account() -> bool:
        try:
            return bool(api.request("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        except NotFound:
            return False

    eventually(has_account, f"{name} has its service account")
    return name


def drop_namespace(connection: client.ApiClient, name: str) -> None:
    """Delete a namespace, which takes a while and is not waited for."""
    try:
        client.CoreV1Api(connection).delete_namespace(name)
    except client.ApiException as error:
        if error.status not in (404, 409):
            raise


RBAC = "/apis/rbac.authorization.k8s.io/v1"
FOLDERS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "Role": f"{RBAC}/namespaces/{{namespace}}/roles",
    "RoleBinding": f"{RBAC}/namespaces/{{namespace}}/rolebindings",
}


def install(api: ApiServer, namespace: str, items: list[dict[str, Any]]) -> None:
    """Server-side apply of a namespace and what belongs to an installation in it."""
    for item in [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, *items]:
        folder = FOLDERS[item["kind"]].format(namespace=item["metadata"].get("namespace"))
        query = [("fieldManager", "tests"), ("force", "true")]
        kind = "application/apply-patch+yaml"
        api.request("PATCH", f"{folder}/{item['metadata']['name']}", query=query, content_type=kind, body=item)


def token(connection: client.ApiClient, namespace: str, account: str) -> str:
    """A token of a service account."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = ApiServer(connection).request("POST", path, content_type="application/json", body=body)
    return str(answer["status"]["token"])


def account_client(connection: client.ApiClient, namespace: str, account: str) -> client.ApiClient:
    """A client that is a service account and nobody else."""
    settings = client.Configuration()
    settings.host = connection.configuration.host
    settings.ssl_ca_cert = connection.configuration.ssl_ca_cert
    settings.api_key = {"BearerToken": f"Bearer {token(connection, namespace, account)}"}
    return client.ApiClient(settings)


def in_background(work: Callable[[], object]) -> None:
    """Run something that a test does not wait for."""
    threading.Thread(target=work, daemon=True).start()
