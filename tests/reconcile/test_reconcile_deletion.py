"""Deletion by Kubernetes' own garbage collector: the operator need not be there, and nothing is left."""

from collections.abc import Callable

import pytest
from cluster_server import eventually
from cluster_stage import Stage
from domain_objects import uri
from kubernetes.client import ApiClient, ApiException, CoreV1Api

from tidegate.adapters.errors import Remains

GONE = 90.0
"""Seconds: the garbage collector learns of a new kind within half a minute, and then works at once."""


def rolling(now: Stage) -> bool:
    """A rollout holds at its step."""
    if now.ready() and now.weights() == {"1": 100}:
        now.edit(model={"uri": uri(2)})
    return now.weights() == {"1": 50, "2": 50}


PHASES: dict[str, Callable[[Stage], object]] = {
    "before the operator saw it": lambda _: True,
    "while its address is resolved": lambda now: now.objects("Job"),
    "while its pods start": lambda now: len(now.objects("Deployment")) == 2 and not now.ready(),
    "while it serves": lambda now: now.ready(),
    "while a rollout holds": rolling,
    "while the new version takes over": lambda now: rolling(now) or now.weights() == {"2": 100},
}


@pytest.mark.parametrize("phase", PHASES)
def test_deletion_at_any_moment_leaves_nothing(stage: Stage, phase: str) -> None:
    stage.create()
    stage.settle(PHASES[phase])
    stage.delete()

    def gone() -> bool:
        stage.look()
        return stage.left() == []

    eventually(gone, "nothing is left", GONE)
    assert stage.errors == []


def test_foreground_deletion_works_too(stage: Stage) -> None:
    stage.create()
    stage.settle()
    stage.delete(policy="Foreground")
    eventually(lambda: stage.look() == [] and stage.left() == [], "nothing is left", GONE)


def test_a_model_of_the_same_name_starts_afresh(stage: Stage) -> None:
    old = stage.create()["metadata"]["uid"]
    stage.settle()
    stage.delete()
    new = stage.create(version=2)["metadata"]["uid"]
    stage.settle(lambda now: bool(now.status()) and now.ready())
    stage.settle()
    assert stage.weights() == {"2": 100}
    assert [r["digest"] for r in stage.status()["revisions"]] == ["sha256:" + "2" * 64]
    assert len(stage.objects("ControllerRevision")) == 1, "nothing is remembered of the model before it"
    kinds = ("Deployment", "Service", "ConfigMap")
    owners = {r["uid"] for kind in kinds for o in stage.objects(kind) for r in o["metadata"]["ownerReferences"]}
    assert owners == {new} != {old}
    assert all(isinstance(error, Remains) for error in stage.errors)


def test_a_model_deleted_without_its_objects_takes_them_back_and_restarts_nothing(stage: Stage) -> None:
    stage.create()
    stage.settle()
    pods = {p["metadata"]["uid"] for p in stage.kubelet.pods()}
    stage.delete(policy="Orphan")
    eventually(lambda: stage.models() == [], "the model is gone, and what it had is not", GONE)
    stage.create()
    stage.settle()
    assert stage.ready()
    assert {p["metadata"]["uid"] for p in stage.kubelet.pods()} >= pods


def test_a_namespace_can_be_deleted_with_everything_in_it(stage: Stage, api: ApiClient) -> None:
    stage.create()
    stage.settle()
    core = CoreV1Api(api)
    core.delete_namespace(stage.namespace)

    def gone() -> bool:
        stage.look()
        try:
            return core.read_namespace(stage.namespace) is None
        except ApiException as error:
            return error.status == 404

    eventually(gone, "the namespace is gone", GONE)
