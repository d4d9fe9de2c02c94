"""A real kube-apiserver and etcd for every test in this folder, with the API installed."""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kubernetes import client, config

import devcluster
from tidegate.api.crd import crd

ROOT = Path(__file__).parents[2]
Eventually = Callable[[Callable[[], object], str], None]


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait until a check is true, at most 30 seconds."""

    def wait(check: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 30
        while not check():
            assert time.monotonic() < deadline, f"not within 30 s: {what}"
            time.sleep(0.1)

    return wait


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Path]:
    """The administrator's kubeconfig of a control plane without nodes; one for each checkout of the repository."""
    checkout = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
    cluster = devcluster.up(name=f"api-{checkout}", control_plane_only=True)
    try:
        yield cluster.kubeconfig
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def api(control_plane: Path, eventually: Eventually) -> client.ApiClient:
    """A client with every right, of a server that has the CustomResourceDefinition."""
    connection = config.new_client_from_config(str(control_plane))
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
    return connection


@pytest.fixture
def namespace(api: client.ApiClient) -> Iterator[str]:
    """A namespace for one test, with a new name: no controller runs that would finish the deletion of an old one."""
    core = client.CoreV1Api(api)
    metadata = client.V1ObjectMeta(generate_name="test-")
    name = core.create_namespace(client.V1Namespace(metadata=metadata)).metadata.name
    yield name
    core.delete_namespace(name)
