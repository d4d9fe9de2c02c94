"""What is as it should be costs no write, and what somebody changed is put right."""

from collections.abc import Callable
from datetime import timedelta

import cluster_server
import pytest
from cluster_stage import Stage
from kubernetes.client import ApiClient

from tidegate.domain.names import ROUTER

Damage = Callable[[Stage, str], None]


@pytest.fixture(scope="module")
def serving(api: ApiClient) -> Stage:
    """A stage where one version serves. Every test here leaves it as it was."""
    stage = Stage(api, cluster_server.new_namespace(api))
    stage.create()
    stage.settle()
    assert stage.ready()
    return stage


def test_what_is_as_it_should_be_costs_no_write(serving: Stage) -> None:
    before = serving.get("ModelDeployment", "digits")
    with serving.silence():
        for _ in range(3):
            serving.restart()
            serving.look()
            serving.clock.advance(timedelta(hours=1))
    assert serving.get("ModelDeployment", "digits") == before


def test_several_models_in_one_namespace_cost_no_write_either(stage: Stage) -> None:
    for name in ("m", "zebra", "a-first"):
        stage.create(name, replicas=1)
        stage.settle()
    with stage.silence():
        stage.restart()
        stage.look()


def test_a_reconcile_reads_a_bounded_number_of_times(serving: Stage) -> None:
    before = len(serving.client.requests)
    serving.look()
    assert len(serving.client.requests) - before <= 20


def removes(kind: str, name: str = "{revision}") -> Damage:
    """Somebody deletes an object."""
    return lambda stage, revision: stage.delete(kind, name.format(revision=revision))


def edits(kind: str, name: str, **fields: object) -> Damage:
    """Somebody edits an object."""
    return lambda stage, revision: stage.patch(kind, name.format(revision=revision), fields)


def empty_status(stage: Stage, _: str) -> None:
    """Somebody restores the object without its status."""
    path = stage.path("ModelDeployment", "digits") + "/status"
    patch = [{"op": "remove", "path": "/status"}]
    stage.api.request("PATCH", path, content_type="application/json-patch+json", body=patch)


DAMAGES: dict[str, Damage] = {
    "a Deployment was scaled": edits("Deployment", "{revision}", spec={"replicas": 5}),
    "a Deployment was deleted": removes("Deployment"),
    "a Deployment lost its role": edits("Deployment", "{revision}", metadata={"labels": {"tidegate.dev/role": None}}),
    "a Deployment lost its owner": edits("Deployment", "{revision}", metadata={"ownerReferences": None}),
    "the Service was deleted": removes("Service", "digits"),
    "the Service selects other pods": edits("Service", "digits", spec={"selector": {"tidegate.dev/component": "x"}}),
    "the headless Service was deleted": removes("Service"),
    "the ControllerRevision of stable was deleted": removes("ControllerRevision"),
    "the disruption budget was deleted": removes("PodDisruptionBudget", "digits"),
    "the disruption budget was edited": edits("PodDisruptionBudget", "digits", spec={"maxUnavailable": 0}),
    "the network policy was deleted": removes("NetworkPolicy", "digits"),
    "the network policy was opened": edits("NetworkPolicy", "digits", spec={"ingress": [{}]}),
    "the router's ConfigMap was deleted": removes("ConfigMap", ROUTER),
    "the router's ConfigMap was emptied": edits("ConfigMap", ROUTER, data=None),
    "a router's file was edited": edits("ConfigMap", ROUTER, data={"rds-digits.json": "{}"}),
    "the router's table was garbled": edits("ConfigMap", ROUTER, data={"table.json": "{"}),
    "the router's Deployment was deleted": removes("Deployment", ROUTER),
    "the router's Deployment was scaled": edits("Deployment", ROUTER, spec={"replicas": 0}),
    "the router's disruption budget was deleted": removes("PodDisruptionBudget", ROUTER),
    "the router's network policy was deleted": removes("NetworkPolicy", ROUTER),
    "the status was lost": empty_status,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_somebody_changed_is_put_right(serving: Stage, damage: str) -> None:
    before = serving.snapshot()
    DAMAGES[damage](serving, str(serving.status()["stable"]["revision"]))
    serving.settle()
    after = serving.snapshot()
    for snapshot in (before, after):
        told = snapshot["ModelDeployment/digits"]["status"]
        told.pop("lastFailure", None)
        if damage == "the status was lost":
            # History went with the status.
            told.pop("revisions", None)
    assert after == before
    with serving.silence():
        serving.restart()
        serving.look()
