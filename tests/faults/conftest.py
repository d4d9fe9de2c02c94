"""One control plane for every fault, and a namespace for each case."""

from collections.abc import Iterator

import cluster_server
import pytest
from cluster_stage import Stage
from kubernetes.client import ApiClient


@pytest.fixture(scope="session")
def api() -> Iterator[ApiClient]:
    """A client with every right, of a server that has the CustomResourceDefinition."""
    with cluster_server.control_plane("faults") as kubeconfig:
        yield cluster_server.connect(kubeconfig)


@pytest.fixture
def stage(api: ApiClient) -> Iterator[Stage]:
    """A namespace with its nodes and an operator that the test drives."""
    name = cluster_server.new_namespace(api)
    yield Stage(api, name)
    cluster_server.drop_namespace(api, name)
