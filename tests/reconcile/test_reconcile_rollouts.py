"""Rollouts through the real API server: what users apply, and what they then find in the cluster."""

from datetime import timedelta
from typing import Any

from cluster_nodes import crashed
from cluster_stage import Stage
from domain_objects import STEPS, digest, uri

from tidegate.domain.labels import ROLE

KINDS_OF_A_MODEL = {
    "ControllerRevision": 1,
    "Deployment": 2,
    "Service": 2,
    "ConfigMap": 1,
    "PodDisruptionBudget": 2,
    "NetworkPolicy": 2,
    "Job": 0,
}


def settled(stage: Stage, **fields: Any) -> Stage:
    """A stage where the first version serves."""
    stage.create(**fields)
    stage.settle()
    assert stage.ready()
    return stage


def deployment_of(stage: Stage, version: int) -> dict[str, Any]:
    """The Deployment that runs a version."""
    found = [o for o in stage.objects("Deployment") if o["metadata"]["annotations"].get("tidegate.dev/digest")]
    return next(o for o in found if o["metadata"]["annotations"]["tidegate.dev/digest"] == digest(version))


def test_a_first_model_gets_ready_with_everything_it_needs(stage: Stage) -> None:
    settled(stage)
    assert stage.weights() == {"1": 100}
    assert {kind: len(stage.objects(kind)) for kind in KINDS_OF_A_MODEL} == KINDS_OF_A_MODEL
    assert stage.errors == []


def test_one_edit_of_the_model_brings_the_new_version_step_by_step(stage: Stage) -> None:
    settled(stage, rollout={"steps": STEPS, "bake": {"duration": "0s"}})
    seen: list[dict[str, int]] = []

    def watch(now: Stage) -> bool:
        if not seen or seen[-1] != now.weights():
            seen.append(now.weights())
        return False

    stage.edit(model={"uri": uri(2)})
    stage.settle(watch)
    assert seen == [{"1": 100}, {"1": 95, "2": 5}, {"1": 75, "2": 25}, {"1": 50, "2": 50}, {"2": 100}]
    assert stage.ready()
    assert stage.status()["stable"]["digest"] == digest(2)
    assert {kind: len(stage.objects(kind)) for kind in KINDS_OF_A_MODEL} == KINDS_OF_A_MODEL | {"ControllerRevision": 2}
    assert stage.errors == []


def test_promotion_restarts_no_pod(stage: Stage) -> None:
    settled(stage)
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda now: now.weights().get("2") == 50 and now.status()["canary"]["readyReplicas"] == 1)
    before = deployment_of(stage, 2)
    first = {p["metadata"]["uid"] for p in stage.kubelet.pods()}
    assert before["metadata"]["labels"][ROLE] == "canary"
    stage.settle()
    after = deployment_of(stage, 2)
    assert after["metadata"]["labels"][ROLE] == "stable"
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["template"] == before["spec"]["template"]
    survivors = {p["metadata"]["uid"] for p in stage.kubelet.pods()} & first
    assert len(survivors) == 3, "two routers and the canary's first pod run on"


def test_going_back_to_the_old_version_midway_takes_the_new_one_away(stage: Stage) -> None:
    settled(stage)
    before = stage.snapshot()
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda now: now.weights().get("2") == 50)
    stage.edit(model={"uri": uri(1)})
    stage.settle()
    after = stage.snapshot()
    assert stage.weights() == {"1": 100}
    assert stage.ready()
    # The way forward is remembered; nothing else is different.
    extra = [key for key in after if key not in before]
    assert len(extra) == 1
    assert extra[0].startswith("ControllerRevision/")
    status = "ModelDeployment/digits"
    assert {k: after[k] for k in before if k != status} == {k: v for k, v in before.items() if k != status}


def test_a_version_that_cannot_load_gets_no_request_and_says_why(stage: Stage) -> None:
    settled(stage)
    stage.kubelet.sick[digest(2)] = crashed("failed to load digits: opset 99 is not supported")
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda now: now.condition("Ready") == ("False", "ModelLoadFailed"))
    assert stage.weights() == {"1": 100}
    assert "opset 99" in stage.status()["lastFailure"]["message"]
    assert stage.condition("Available") == ("True", "Available")


def test_a_bundle_that_is_not_there_is_named_and_found_once_it_is_pushed(stage: Stage) -> None:
    known, stage.kubelet.store = stage.kubelet.store, {}
    stage.create()
    stage.settle(lambda now: now.condition("Ready") == ("False", "ArtifactNotFound") if now.status() else False)
    stage.kubelet.store = known
    stage.settle(lambda now: now.ready())
    assert stage.weights() == {"1": 100}


def test_the_scale_subresource_sizes_the_model(stage: Stage) -> None:
    settled(stage)
    path = stage.path("ModelDeployment", "digits") + "/scale"
    scale = stage.api.request("GET", path)
    assert scale["status"] == {"replicas": 2, "selector": "tidegate.dev/model=digits,tidegate.dev/component=server"}
    kind = "application/merge-patch+json"
    stage.api.request("PATCH", path, content_type=kind, body={"spec": {"replicas": 4}})
    stage.settle()
    assert stage.status()["readyReplicas"] == 4
    assert stage.api.request("GET", path)["status"]["replicas"] == 4


def test_a_change_of_size_writes_one_deployment_and_the_status(stage: Stage) -> None:
    settled(stage)
    before = len(stage.client.writes)
    stage.edit(replicas=3)
    stage.settle()
    written = {r.resource for r in stage.client.writes[before:]}
    assert written == {"deployments", "modeldeployments/status", "events"}


def test_suspend_stops_every_pod_and_resuming_brings_them_back(stage: Stage) -> None:
    settled(stage)
    before = stage.snapshot()
    stage.edit(suspend=True)
    stage.settle()
    assert stage.status()["readyReplicas"] == 0
    assert stage.condition("Ready") == ("False", "Suspended")
    stage.edit(suspend=False)
    stage.settle()
    assert stage.ready()
    after = stage.snapshot()
    assert {k for k in before if before[k] != after.get(k)} <= {"ModelDeployment/digits"}


def test_a_paused_rollout_stays_where_it_is_until_it_goes_on(stage: Stage) -> None:
    settled(stage)
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda now: now.weights().get("2") == 50)
    stage.edit(paused=True)
    end = stage.clock.now() + timedelta(minutes=1)
    stage.settle(lambda now: now.clock.now() > end)
    assert stage.weights() == {"1": 50, "2": 50}
    assert stage.status()["phase"] == "Paused"
    stage.edit(paused=False)
    stage.settle()
    assert stage.weights() == {"2": 100}


def test_a_name_of_63_characters_works_end_to_end(stage: Stage) -> None:
    name = "m" * 63
    stage.create(name)
    stage.settle()
    assert stage.ready(name)
    stage.edit(name, model={"uri": uri(2)})
    stage.settle()
    assert stage.ready(name)
    assert stage.weights(name) == {"2": 100}
    assert stage.errors == []
