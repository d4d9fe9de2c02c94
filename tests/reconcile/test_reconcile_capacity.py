"""What a real API server says of nodes, pods and quotas is read as it is meant, also page by page."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from capacity_objects import GPU, node, quota, server
from kubernetes.client import ApiClient

from tidegate.adapters import capacity
from tidegate.adapters.api import ApiServer
from tidegate.adapters.errors import NotFound
from tidegate.domain.capacity import headroom

Raw = dict[str, Any]
Eventually = Callable[[Callable[[], object], str], None]
MERGE = "application/merge-patch+json"


@pytest.fixture
def nodes(api: ApiClient, namespace: str) -> Iterator[list[str]]:
    """Three nodes with two accelerators each, one of them cordoned; they go with the test."""
    names = [f"{namespace}-{letter}" for letter in "abc"]
    there = ApiServer(api)
    for name in names:
        body = node(name, gpus=2, cordoned=name.endswith("c"))
        there.request("POST", "/api/v1/nodes", content_type="application/json", body=body)
        there.request("PATCH", f"/api/v1/nodes/{name}/status", content_type=MERGE, body={"status": body["status"]})
    yield names
    for name in names:
        with suppress(NotFound):
            there.request("DELETE", f"/api/v1/nodes/{name}", content_type="application/json", body={})


def put_pod(api: ApiServer, namespace: str, name: str, where: str = "", phase: str = "") -> None:
    spec = server()
    spec["containers"][0] |= {"image": "tidegate/triton:test"}
    body = {"metadata": {"name": name}, "spec": spec | ({"nodeName": where} if where else {})}
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.request("POST", path, content_type="application/json", body=body)
    if phase:
        api.request("PATCH", f"{path}/{name}/status", content_type=MERGE, body={"status": {"phase": phase}})


def test_free_accelerators_are_those_of_open_nodes_less_what_running_pods_hold(
    api: ApiClient, namespace: str, nodes: list[str], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "PAGE", 1)
    there = ApiServer(api)
    put_pod(there, namespace, "runs", nodes[0])
    put_pod(there, namespace, "has-ended", nodes[1], "Succeeded")
    put_pod(there, namespace, "has-failed", nodes[1], "Failed")
    put_pod(there, namespace, "waits")
    anywhere = server(tolerations=[{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}])
    seen = capacity.read_capacity(there, namespace)
    assert seen.unread == ()
    own = tuple(n for n in seen.nodes or () if n.name.startswith(namespace))
    assert sorted(n.name for n in own) == nodes
    # The node that every other test plans by has room for anything.
    seen = replace(seen, nodes=own)
    assert [(p.namespace, p.name, p.node) for p in seen.pods] == [(namespace, "runs", nodes[0])]
    found = headroom(seen, anywhere)
    assert (found.count, found.message) == (3, f"nodes have room for 3 (3 {GPU} free on 2 of 3 nodes)")

    body = quota("gpus", {f"requests.{GPU}": "3"})
    body.pop("status")
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    there.request("POST", path, content_type="application/json", body=body)
    eventually(lambda: there.request("GET", f"{path}/gpus").get("status", {}).get("used"), "the quota is counted")
    limited = headroom(capacity.read_capacity(there, namespace), anywhere)
    assert (limited.count, limited.message) == (1, f"quota gpus allows 1 more requests.{GPU}")
