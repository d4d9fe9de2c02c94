"""The chart's roles are exactly what the operator needs: nothing is forbidden, and nothing is granted in vain."""

import contextlib
from typing import Any

import cluster_server
import pytest
from cluster_nodes import crashed
from cluster_requests import Client
from cluster_stage import Stage
from domain_objects import digest, uri
from kubernetes.client import ApiClient

from charts import generate
from tidegate.adapters.api import ApiServer
from tidegate.adapters.errors import NotFound
from tidegate.adapters.lease import LeaseLock
from tidegate.api.v1alpha1 import GROUP, PLURAL
from tidegate.domain.names import OBSERVER
from tidegate.domain.revision import Pins
from tidegate.runtime.handlers import CHILDREN
from tidegate.runtime.leader import Elector

ACCOUNT = "tidegate-operator"
PINS = Pins(packager_image="tidegate/packager:test")
Raw = dict[str, Any]
Right = tuple[str, str, str]
"""API group, resource and verb."""
WATCHED = {(GROUP, PLURAL), ("", "configmaps"), *((group, plural) for group, _, plural in CHILDREN)}
"""What Kopf lists and watches: see test_reconcile_process, where it does."""
UNUSED: dict[Right, str] = {
    (GROUP, f"{PLURAL}/finalizers", "update"): "asked for only where OwnerReferencesPermissionEnforcement is on",
}


@pytest.fixture
def account(api: ApiClient, roles: list[Raw]) -> ApiClient:
    """A client that may do what the chart lets the operator do."""
    assert roles
    return cluster_server.account_client(api, generate.NAMESPACE, ACCOUNT)


def granted(roles: list[Raw]) -> set[Right]:
    """Every right of the operator's own roles."""
    own = [o for o in roles if o["kind"] in ("ClusterRole", "Role") and o["metadata"]["name"].startswith(ACCOUNT)]
    assert own
    rules = [rule for role in own for rule in role["rules"]]
    return {(g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}


def used(*clients: Client) -> set[Right]:
    """Every right that was needed."""
    return {(r.group, r.resource, verb) for client in clients for r in client.requests for verb in r.verbs}


def forget_lease(api: ApiClient) -> None:
    """As on the operator's first start: a lease of an earlier test would hide that it must be created."""
    with contextlib.suppress(NotFound):
        path = f"/apis/coordination.k8s.io/v1/namespaces/{generate.NAMESPACE}/leases/{ACCOUNT}"
        ApiServer(api).request("DELETE", path)


def test_the_operator_may_do_all_it_must_and_nothing_else(
    api: ApiClient, account: ApiClient, roles: list[Raw], namespace: str
) -> None:
    stage = Stage(api, namespace, operator=account)
    forget_lease(api)
    lease = Client(account)
    elector = Elector(LeaseLock(lease.api(), generate.NAMESPACE, ACCOUNT), "rbac")
    assert elector.acquire()
    # What a first version needed goes when another one is asked for before it ever served.
    stage.create(replicas=1)
    stage.settle(lambda now: len(now.objects("Deployment")) == 2)
    stage.edit(model={"uri": uri(9)})
    stage.settle(lambda now: now.condition("Ready")[1] == "ArtifactNotFound" and not now.get("NetworkPolicy", "digits"))
    stage.edit(model={"uri": uri(1)})
    stage.create("letters", 3, replicas=1)
    stage.settle()
    stage.create("plain", 4, replicas=1, traffic={"router": "Service"}, rollout={"strategy": "BlueGreen"})
    stage.settle(lambda now: any(r.resource == "endpointslices" for r in now.client.requests))
    stage.delete(name="plain")
    stage.delete(name="letters")
    stage.kubelet.sick[digest(2)] = crashed("opset 99")
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda now: now.condition("Ready")[1] == "ModelLoadFailed")
    stage.kubelet.sick.clear()
    for pod in [p for p in stage.kubelet.pods() if p["status"]["phase"] == "Pending"]:
        stage.delete("Pod", pod["metadata"]["name"])
    stage.settle()
    stage.edit(model={"uri": uri(3)}, revisionHistoryLimit=0, rollout={"steps": [{"shadow": {"hold": "1h"}}]})
    stage.settle(lambda now: now.get("ConfigMap", OBSERVER))
    stage.edit(rollout={"steps": []})
    stage.settle(lambda now: not now.get("ConfigMap", OBSERVER))
    stage.settle()
    elector.release()
    assert stage.ready()
    assert stage.errors == []
    needed = used(stage.client, lease) | {(*kind, verb) for kind in WATCHED for verb in ("list", "watch")}
    rights = granted(roles)
    assert needed - rights == set()
    assert rights - needed == UNUSED.keys()


def test_the_operator_may_not_touch_what_people_write(account: ApiClient, namespace: str) -> None:
    review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for group, resource, verb in (("", "secrets", "get"), (GROUP, PLURAL, "patch"), ("", "pods", "delete")):
        asked = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
        body = {"spec": {"resourceAttributes": asked}}
        answer = ApiServer(account).request("POST", review, content_type="application/json", body=body)
        assert not answer["status"]["allowed"], asked
