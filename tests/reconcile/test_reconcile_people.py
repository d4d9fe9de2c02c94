"""``kubectl md`` against a real API server and the real reconciler: what people type, and what becomes of it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import cluster_server
import pytest
import yaml
from cluster_stage import Stage
from domain_objects import digest, uri
from kubernetes.client import ApiClient

from devcluster.gotools import kubectl
from tidegate.adapters.api import ApiServer
from tidegate.people import cli, requesting, watching

ROOT = Path(__file__).parents[2]
STEPS = [{"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "1m"}]
ROLLOUT = {"steps": STEPS, "bake": {"duration": "0s"}}
Run = Callable[[str], int]


@pytest.fixture
def run(stage: Stage, control_plane: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Carry out a command line as the administrator; the operator runs while the command waits."""

    def operate(_: float) -> None:
        stage.kubelet.sync()
        stage.look()
        stage.clock.advance(timedelta(seconds=1))
        time.sleep(0.02)

    monkeypatch.setattr(requesting, "pause", operate)
    monkeypatch.setattr(watching, "pause", operate)
    monkeypatch.setenv("KUBECONFIG", str(control_plane))
    yield lambda line: cli.run([*line.split(), "-n", stage.namespace])
    assert stage.errors == []


def serve(stage: Stage, **fields: Any) -> None:
    stage.create(rollout=ROLLOUT, **fields)
    stage.settle()
    assert stage.ready()


def roll(stage: Stage) -> None:
    """The second version has its first weight."""
    serve(stage)
    stage.edit(model={"uri": uri(2)})
    stage.settle(lambda now: now.weights().get("2") == 10)


def test_promote_goes_to_the_next_step_and_full_past_the_last(
    stage: Stage, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    roll(stage)
    assert run("promote md/digits") == 0
    assert "asked to skip step 1 of digits-" in capsys.readouterr().out
    stage.settle(lambda now: now.weights().get("2") == 50)
    assert run("promote digits --full") == 0
    assert "all steps that are left" in capsys.readouterr().out
    stage.settle()
    assert stage.weights() == {"2": 100}
    assert run("promote digits") == 1
    assert "was refused: no rollout is under way" in capsys.readouterr().out


def test_abort_gives_everything_back_and_retry_begins_again(
    stage: Stage, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    roll(stage)
    assert run("abort digits") == 0
    assert stage.weights() == {"1": 100}
    assert "Now Aborted: " in capsys.readouterr().out
    assert run("status digits") == 1
    assert run("status digits --watch") == 1
    assert run("promote digits") == 1
    assert "kubectl md retry begins again" in capsys.readouterr().out
    assert run("retry digits") == 0
    stage.settle(lambda now: now.weights().get("2") == 10)
    assert run("status digits") == 2


def test_rollback_goes_to_the_revision_before_and_says_what_else_there_is(
    stage: Stage, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(stage)
    first = stage.status()["stable"]["revision"]
    assert run("rollback digits") == 1
    assert "no revision to go back to" in capsys.readouterr().out
    stage.edit(model={"uri": uri(2)})
    stage.settle()
    assert run("rollback digits --to digits-00000000") == 1
    assert first in capsys.readouterr().out
    assert run("rollback digits") == 0
    stage.settle()
    assert stage.weights() == {"1": 100}
    assert stage.status()["override"]["revision"] == first
    assert run("history digits") == 0
    assert capsys.readouterr().out.splitlines()[-2].split()[:2] == [first, "stable"]
    assert run("retry digits") == 0
    stage.settle()
    assert stage.weights() == {"2": 100}


def test_pause_holds_a_rollout_and_resume_lets_it_go_on(
    stage: Stage, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    roll(stage)
    assert run("pause digits") == 0
    said = capsys.readouterr()
    assert "stays at 10 %; the checks go on" in said.out
    assert said.err == ""
    end = stage.clock.now() + timedelta(minutes=2)
    stage.settle(lambda now: now.clock.now() > end)
    assert stage.weights() == {"1": 90, "2": 10}
    assert run("status digits") == 2
    assert "    \u25b6 weight 10 % for 1m" in capsys.readouterr().out
    assert run("resume digits") == 0
    stage.settle()
    assert stage.weights() == {"2": 100}


def test_gitops_that_owns_spec_is_named_when_it_will_undo_a_pause(
    stage: Stage, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "digits"},
        "spec": {"model": {"uri": uri(1)}, "paused": False},
    }
    stage.api.request(
        "PATCH",
        stage.path("ModelDeployment", "digits"),
        query=[("fieldManager", "kustomize-controller")],
        content_type="application/apply-patch+yaml",
        body=body,
    )
    assert run("pause digits") == 0
    assert capsys.readouterr().err.startswith("warning: Flux (field manager kustomize-controller) ")
    assert stage.get("ModelDeployment", "digits")["spec"]["paused"] is True  # type: ignore[index]


def test_status_follows_a_rollout_to_its_end(stage: Stage, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    serve(stage)
    stage.edit(model={"uri": uri(2)})
    assert run("status digits") == 2, "an edit that nobody has looked at is under way"
    capsys.readouterr()
    assert run("status digits --watch --timeout 2m") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(set(lines))
    assert any("step 1/2 at 10 %" in line for line in lines)
    assert any("step 2/2 at 50 %" in line for line in lines)
    assert " Ready; stable digits-" in lines[-1]
    assert run("status digits") == 0


def test_status_ends_when_the_checks_give_a_rollout_up(
    stage: Stage, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    roll(stage)
    stage.routers.wrong[stage.status()["canary"]["revision"]] = 0.5
    assert run("status digits --watch --timeout 2m") == 1
    assert run("explain digits") == 0
    said = capsys.readouterr().out
    assert "given up (AnalysisFailed)" in said
    assert "AnalysisFailed: digits-" in said.split("Lately: ")[1]
    assert f"`kubectl md retry digits -n {stage.namespace}`" in said
    assert stage.weights() == {"1": 100}


def test_an_operator_that_does_not_run_is_named_and_the_request_is_carried_out_later(
    stage: Stage, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    roll(stage)
    with monkeypatch.context() as away:
        away.setattr(requesting, "pause", time.sleep)
        assert run("abort digits --timeout 1s") == 3
    assert "is the operator running?" in capsys.readouterr().out
    stage.look()
    assert stage.condition("RolledBack") == ("True", "Aborted")


def test_a_wrong_name_is_named(run: Run, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status digit") == 4
    assert capsys.readouterr().err == f"error: There is no ModelDeployment digit in namespace {stage.namespace}.\n"
    assert run("abort digit") == 4


@pytest.fixture
def person(
    api: ApiClient, roles: list[Any], stage: Stage, control_plane: Path, tmp_path: Path
) -> Callable[[str], Path]:
    """A kubeconfig of somebody who has one of the chart's roles in the namespace, and nothing else."""
    assert roles
    admin = yaml.safe_load(control_plane.read_text())

    def granted(role: str) -> Path:
        account = {"kind": "ServiceAccount", "name": role, "namespace": stage.namespace}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": stage.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"tidegate-{role}"},
            "subjects": [account],
        }
        metadata = {"name": role, "namespace": stage.namespace}
        made = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}, binding]
        for item in made:
            folder = cluster_server.FOLDERS[item["kind"]].format(namespace=stage.namespace)
            ApiServer(api).request("POST", folder, content_type="application/json", body=item)
        token = cluster_server.token(api, stage.namespace, role)
        config = admin | {"users": [{"name": user["name"], "user": {"token": token}} for user in admin["users"]]}
        path = tmp_path / role
        path.write_text(yaml.safe_dump(config))
        return path

    return granted


def test_an_editor_may_do_all_of_it(
    stage: Stage, run: Run, person: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    roll(stage)
    editor = f"--kubeconfig {person('editor')}"
    for line in ("get", "status digits", "history digits", "explain digits", "pause digits", "resume digits"):
        assert run(f"{editor} {line}") == (2 if line.startswith("status") else 0), line
    capsys.readouterr()
    assert run(f"{editor} promote digits") == 0
    said = capsys.readouterr()
    assert "asked to skip" in said.out, "an editor reads the event of the request"
    assert run(f"{editor} retry digits") == 1
    assert run(f"{editor} abort digits") == 0
    assert capsys.readouterr().err == ""


def test_a_viewer_sees_everything_and_is_told_which_right_is_missing(
    stage: Stage, run: Run, person: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(stage)
    viewer = f"--kubeconfig {person('viewer')}"
    assert run(f"{viewer} status digits") == 0
    assert run(f"{viewer} explain digits") == 0
    assert capsys.readouterr().err == ""
    for line in ("abort digits", "pause digits"):
        assert run(f"{viewer} {line}") == 4
        said = capsys.readouterr().err
        assert f"You may not patch modeldeployments.tidegate.dev in namespace {stage.namespace}" in said
    assert run(f"{viewer} get -A") == 4
    assert "You may not list modeldeployments.tidegate.dev in all namespaces" in capsys.readouterr().err
    assert "annotations" not in stage.get("ModelDeployment", "digits")["metadata"]  # type: ignore[index]


def test_kubectl_finds_the_command(stage: Stage, control_plane: Path, tmp_path: Path) -> None:
    serve(stage)
    plugin = tmp_path / "kubectl-md"
    plugin.write_text(f'#!/bin/sh\nexec {sys.executable} -m tidegate.people "$@"\n')
    plugin.chmod(0o755)
    env = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(control_plane),
        "PYTHONPATH": str(ROOT / "operator"),
    }

    def ask(*line: str) -> subprocess.CompletedProcess[str]:
        command = [str(kubectl()), "md", *line, "-n", stage.namespace]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)

    listed = ask("get")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines()[1].split()[:4] == ["digits", uri(1), "Ready", "2/2"]
    shown = ask("status", "md/digits")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert digest(1)[:19] in shown.stdout
    assert ask("status", "digits", "--watch").returncode == 0
    stage.edit(model={"uri": uri(2)})
    assert ask("status", "digits").returncode == 2
    assert ask("status", "digits", "--watch", "--timeout", "1s").returncode == 3
    assert ask("status", "no-such-model").returncode == 4
