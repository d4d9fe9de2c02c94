"""A real kube-apiserver and etcd for every test in this folder, with the API installed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cluster_server
import pytest
from cluster_stage import Stage
from kubernetes import client

from charts import generate
from devcluster.gotools import ensure_tools
from devcluster.progress import Progress
from tidegate.adapters.api import ApiServer

Eventually = Callable[[Callable[[], object], str], None]


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait until a check is true, at most 30 seconds."""
    return cluster_server.eventually


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Path]:
    """The administrator's kubeconfig of a control plane without nodes."""
    with cluster_server.control_plane("api") as kubeconfig:
        yield kubeconfig


@pytest.fixture(scope="session")
def api(control_plane: Path) -> client.ApiClient:
    """A client with every right, of a server that has the CustomResourceDefinition."""
    return cluster_server.connect(control_plane)


@pytest.fixture(scope="session")
def roles(api: client.ApiClient) -> list[dict[str, Any]]:
    """The operator's account and roles as the chart's default values make them, installed."""
    helm = ensure_tools(["helm"], Progress())["helm"]
    found = [o for o in generate.render(helm) if o["kind"] in cluster_server.FOLDERS]
    cluster_server.install(ApiServer(api), generate.NAMESPACE, found)
    return found


@pytest.fixture
def namespace(api: client.ApiClient) -> Iterator[str]:
    """A namespace for one test, with a new name."""
    name = cluster_server.new_namespace(api)
    yield name
    cluster_server.drop_namespace(api, name)


@pytest.fixture
def stage(api: client.ApiClient, namespace: str) -> Stage:
    """A namespace with its nodes and an operator that the test drives."""
    return Stage(api, namespace)
