"""``tidegate run`` as a process: Kopf's watches on the real API server, the lease, signals, and life after a kill."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cluster_server
import pytest
import yaml
from cluster_process import Node, Operator, operator
from cluster_server import eventually
from cluster_stage import Stage
from domain_objects import uri
from kubernetes.client import ApiClient

from charts import generate
from tidegate.adapters.api import ApiServer
from tidegate.adapters.lease import LeaseLock

ACCOUNT = "tidegate-operator"
STOPS_WITHIN = 10.0
"""Seconds; the time that a pod is given is three times as long."""
SECONDS = 60.0
"""For what takes the operator a few seconds on an idle machine."""
HELD = {"steps": [{"weight": 50, "hold": "1h"}], "analysis": {"minRequests": 0}, "bake": {"duration": "0s"}}


@pytest.fixture
def kubeconfig(api: ApiClient, control_plane: Path, roles: list[dict[str, Any]], tmp_path: Path) -> Path:
    """The operator's service account as the chart installs it."""
    assert roles
    config: dict[str, Any] = yaml.safe_load(control_plane.read_text())
    config["users"][0]["user"] = {"token": cluster_server.token(api, generate.NAMESPACE, ACCOUNT)}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def node(stage: Stage) -> Iterator[Stage]:
    """A stage whose pods run by themselves, and whose operator is a process."""
    # Test processes side by side must not share loopback addresses.
    node = Node(stage, network=1 + os.getpid() % 250)
    cluster_server.in_background(node.run)
    yield stage
    node.stop()


def holder(api: ApiServer) -> str:
    """Who has the lease."""
    lease = LeaseLock(api, generate.NAMESPACE, ACCOUNT).read() or {"spec": {}}
    return str(lease["spec"].get("holderIdentity", ""))


def assert_nothing_forbidden(*operators: Operator) -> None:
    """The chart's role let it do everything, and nothing surprised it."""
    lines = [line for o in operators for line in o.said()]
    assert lines
    # Namespaces of other tests may be on their way out.
    forbidden = [m for line in lines if "orbidden" in (m := line["message"]) and "being terminated" not in m]
    assert forbidden == []
    # An API server that has just got the resource asks Kopf to come back in a second, and Kopf does.
    errors = [line for line in lines if line["level"] in ("error", "critical") and "status=429" not in line["message"]]
    assert errors == []


def test_one_process_brings_a_model_up_follows_edits_and_gives_the_lease_back(
    node: Stage, kubeconfig: Path, tmp_path: Path
) -> None:
    with operator(kubeconfig, tmp_path, "first") as first:
        eventually(lambda: holder(node.api) == "first", "it leads", SECONDS)
        node.create(rollout={"steps": [], "bake": {"duration": "0s"}})
        eventually(node.ready, "the model is ready", SECONDS)
        node.edit(model={"uri": uri(2)})
        eventually(lambda: node.weights() == {"2": 100} and node.ready(), "the second version serves", SECONDS)
        node.delete("Service", "digits")
        eventually(lambda: node.get("Service", "digits"), "the Service is back", SECONDS)
        with operator(kubeconfig, tmp_path, "second") as second:
            eventually(lambda: any("waiting" in line["message"] for line in second.said()), "it waits", SECONDS)
            status, seconds = first.stop()
            eventually(lambda: holder(node.api) == "second", "the next one leads", STOPS_WITHIN)
            node.edit(replicas=3)
            eventually(lambda: node.status()["readyReplicas"] == 3, "the next one works", SECONDS)
            assert (status, second.stop()[0]) == (0, 0)
        assert seconds < STOPS_WITHIN
        assert holder(node.api) == ""
    assert_nothing_forbidden(first, second)


def place(node: Stage) -> tuple[object, ...]:
    """Where a rollout is."""
    rollout = node.status()["rollout"]
    return tuple(rollout[key] for key in ("revision", "step", "startedAt"))


def test_an_operator_that_is_killed_midway_goes_on_where_it_was(node: Stage, kubeconfig: Path, tmp_path: Path) -> None:
    with operator(kubeconfig, tmp_path, "only") as killed:
        node.create(rollout=HELD)
        eventually(node.ready, "the model is ready", SECONDS)
        node.edit(model={"uri": uri(2)})
        eventually(lambda: "stepStartedAt" in (node.status().get("rollout") or {}), "the step holds", SECONDS)
        killed.kill()
    before = place(node)
    assert node.weights() == {"1": 50, "2": 50}
    # The container starts anew in the same pod: the lease is still its own.
    with operator(kubeconfig, tmp_path, "only") as again:
        eventually(lambda: any("leading" in line["message"] for line in again.said()), "it leads", SECONDS)
        node.edit(replicas=3)
        # Half of what three pods carry needs two, and there may be one pod more than three.
        eventually(lambda: (node.status().get("canary") or {}).get("readyReplicas") == 2, "it works", SECONDS)
        eventually(lambda: node.weights() == {"1": 50, "2": 50}, "two pods carry half again", SECONDS)
        assert place(node) == before
        node.edit(rollout={"steps": [{"weight": 50, "hold": "1s"}]})
        eventually(lambda: node.weights() == {"2": 100} and node.ready(), "the rollout ends", SECONDS)
        assert again.stop()[0] == 0
    assert_nothing_forbidden(killed, again)


def test_models_made_and_deleted_while_no_operator_ran_are_seen_at_the_next_start(
    node: Stage, kubeconfig: Path, tmp_path: Path
) -> None:
    with operator(kubeconfig, tmp_path, "before") as before:
        node.create("digits")
        node.create("letters", 2)
        eventually(lambda: node.ready("digits") and node.ready("letters"), "both are ready", SECONDS)
        assert before.stop()[0] == 0
    node.delete(name="letters")
    node.create("words", 3)
    with operator(kubeconfig, tmp_path, "after") as after:
        eventually(lambda: node.ready("words"), "the new one is ready", SECONDS)
        eventually(lambda: set(node.table()) == {"digits", "words"}, "the routes of the old one are gone", SECONDS)
        assert after.stop()[0] == 0
    assert_nothing_forbidden(before, after)
