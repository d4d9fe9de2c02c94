"""The CustomResourceDefinitions of the Gateway API, and somebody who accepts routes as an implementation does."""

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import cluster_server
import yaml
from kubernetes import client

from devcluster.gotools import MODULES
from tidegate.adapters.api import ApiServer

Raw = dict[str, Any]
GROUP = "gateway.networking.k8s.io"
PLURALS = ("httproutes", "grpcroutes")
DOWNLOAD_SECONDS = 600


@functools.cache
def definitions() -> tuple[Raw, ...]:
    """Both kinds of routes, from the pinned module of the Gateway API, standard channel."""
    command = ["go", "mod", "download", "-json", "sigs.k8s.io/gateway-api"]
    folder = MODULES / "gateway-api"
    answer = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=True
    ).stdout
    crds = Path(json.loads(answer)["Dir"], "config", "crd", "standard")
    return tuple(
        yaml.load((crds / f"{GROUP}_{plural}.yaml").read_text(), Loader=yaml.CSafeLoader) for plural in PLURALS
    )


def install(connection: client.ApiClient) -> None:
    """Install them, and wait until the API server serves both kinds."""
    api = ApiServer(connection)
    folder = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    query = [("fieldManager", "tests"), ("force", "true")]
    for item in definitions():
        path = f"{folder}/{item['metadata']['name']}"
        api.request("PATCH", path, query=query, content_type="application/apply-patch+yaml", body=item)

    def served() -> bool:
        found = [api.request("GET", f"{folder}/{item['metadata']['name']}") for item in definitions()]
        conditions = [{c["type"]: c["status"] for c in (o.get("status") or {}).get("conditions") or ()} for o in found]
        return all(c.get("Established") == "True" for c in conditions)

    cluster_server.eventually(served, "the kinds of the Gateway API are established")


def uninstall(connection: client.ApiClient) -> None:
    """Take them away again: other tests share the API server."""
    extensions = client.ApiextensionsV1Api(connection)
    for item in definitions():
        extensions.delete_custom_resource_definition(item["metadata"]["name"])
