"""Without ``spec.autoscaling`` the size belongs to whoever writes the scale subresource: here Kubernetes' own HPA."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cluster_stage import Stage
from domain_objects import uri

from tidegate.api.v1alpha1 import API_VERSION, KIND

Raw = dict[str, Any]
Eventually = Callable[[Callable[[], object], str], None]


class Outside:
    """A HorizontalPodAutoscaler of the model ``digits``, which the real controller manager acts on."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._path = f"/apis/autoscaling/v2/namespaces/{stage.namespace}/horizontalpodautoscalers"

    def create(self, least: int, most: int) -> None:
        """Ask for half of the CPU, between two bounds."""
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
        spec = {
            "scaleTargetRef": {"apiVersion": API_VERSION, "kind": KIND, "name": "digits"},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": cpu}],
        }
        body = {"metadata": {"name": "digits"}, "spec": spec}
        self._stage.api.request("POST", self._path, content_type="application/json", body=body)

    def bound(self, least: int, most: int) -> None:
        """Move the bounds."""
        body = {"spec": {"minReplicas": least, "maxReplicas": most}}
        merge = "application/merge-patch+json"
        self._stage.api.request("PATCH", f"{self._path}/digits", content_type=merge, body=body)

    def conditions(self) -> dict[str, str]:
        """Its conditions: reasons by type."""
        found = self._stage.api.request("GET", f"{self._path}/digits")
        return {c["type"]: c["reason"] for c in found.get("status", {}).get("conditions", ())}


def asked(stage: Stage) -> int:
    """``spec.replicas`` of the model."""
    found = stage.get(KIND, "digits")
    assert found
    return int(found["spec"]["replicas"])


def pods(stage: Stage) -> list[str]:
    """Names of the model's server pods."""
    labels = [(p["metadata"]["name"], p["metadata"]["labels"]) for p in stage.objects("Pod")]
    return [name for name, own in labels if own.get("tidegate.dev/component") == "server"]


def test_an_outside_autoscaler_sizes_a_model_also_in_a_rollout(stage: Stage, eventually: Eventually) -> None:
    stage.create(replicas=2)
    stage.settle()
    outside = Outside(stage)
    outside.create(3, 6)
    eventually(lambda: asked(stage) == 3, "the autoscaler asks for its minimum")
    stage.settle()
    assert stage.ready()
    assert len(pods(stage)) == 3
    # It reads the pods that status.selector names, and finds no metrics of theirs: this cluster has no metrics server.
    eventually(lambda: outside.conditions().get("ScalingActive") == "FailedGetResourceMetric", "it looked for metrics")
    assert outside.conditions()["AbleToScale"] == "SucceededGetScale"
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda now: now.weights().get("2") == 50)
    outside.bound(5, 6)
    eventually(lambda: asked(stage) == 5, "the autoscaler asks for more in mid-rollout")
    stage.clock.advance(timedelta(seconds=2))
    stage.settle()
    assert stage.weights() == {"2": 100}
    assert len(pods(stage)) == 5
    outside.bound(1, 1)
    eventually(lambda: asked(stage) == 1, "the autoscaler asks for less")
    stage.settle()
    assert len(pods(stage)) == 1
    assert stage.ready()


def test_a_size_that_autoscaling_owns_is_nobody_elses(stage: Stage) -> None:
    objective: Raw = {"percentile": 95, "milliseconds": 100}
    stage.create(replicas=2, autoscaling={"minReplicas": 2, "maxReplicas": 4, "objective": objective})
    stage.settle(Stage.ready)
    stage.edit(replicas=4)
    end = stage.clock.now() + timedelta(seconds=30)
    stage.settle(lambda now: now.clock.now() > end)
    assert len(pods(stage)) == 2
    assert asked(stage) == 4, "the operator wrote spec"
    stage.edit(autoscaling=None)
    stage.settle()
    assert len(pods(stage)) == 4
