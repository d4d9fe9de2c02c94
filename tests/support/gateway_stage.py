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


def module_folder(tool: str, module: str) -> Path:
    """Where the files of a Go module are, in the version that a folder of ``devcluster/tools`` pins."""
    command = ["go", "mod", "download", "-json", module]
    answer = subprocess.run(
        command, cwd=MODULES / tool, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=True
    ).stdout
    return Path(json.loads(answer)["Dir"])


@functools.cache
def definitions(plurals: tuple[str, ...] = PLURALS) -> tuple[Raw, ...]:
    """Both kinds of routes, or those named, from the pinned module of the Gateway API, standard channel."""
    crds = module_folder("gateway-api", "sigs.k8s.io/gateway-api") / "config" / "crd" / "standard"
    return tuple(
        yaml.load((crds / f"{GROUP}_{plural}.yaml").read_text(), Loader=yaml.CSafeLoader) for plural in plurals
    )


def install(connection: client.ApiClient, items: tuple[Raw, ...] = ()) -> None:
    """Install both kinds of routes, or the kinds given, and wait until the API server serves them."""
    items = items or definitions()
    api = ApiServer(connection)
    folder = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    query = [("fieldManager", "tests"), ("force", "true")]
    for item in items:
        path = f"{folder}/{item['metadata']['name']}"
        api.request("PATCH", path, query=query, content_type="application/apply-patch+yaml", body=item)

    def served() -> bool:
        found = [api.request("GET", f"{folder}/{item['metadata']['name']}") for item in items]
        conditions = [{c["type"]: c["status"] for c in (o.get("status") or {}).get("conditions") or ()} for o in found]
        return all(c.get("Established") == "True" for c in conditions)

    cluster_server.eventually(served, "the kinds of the Gateway API are established")


def uninstall(connection: client.ApiClient) -> None:
    """Take them away again: other tests share the API server."""
    extensions = client.ApiextensionsV1Api(connection)
    for item in definitions():
        extensions.delete_custom_resource_definition(item["metadata"]["name"])
