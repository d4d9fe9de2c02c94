"""Promises of ``tidegate plan``: it only reads, its exit code fits a pipeline, and a case can be decided again."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from domain_objects import make_spec, uri
from domain_world import serving
from http_stub import HttpStub, Reply, stub
from plan_cases import ApiOf
from typer.testing import CliRunner, Result

from tidegate import cli
from tidegate.adapters import kubeconfig
from tidegate.adapters.kube import KubeCluster
from tidegate.planning import taking

Case = tuple[ApiOf, HttpStub, Path]


def invoke(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, ["plan", *args], input=stdin, env={"COLUMNS": "200", "TERM": "dumb"})


def model(version: int = 1, name: str = "digits", namespace: str | None = "vision", **fields: Any) -> str:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    spec = make_spec(version, **fields).to_wire()
    spec.pop("replicas") if "replicas" not in fields else None
    head = {"apiVersion": "tidegate.dev/v1alpha1", "kind": "ModelDeployment", "metadata": meta, "spec": spec}
    return yaml.safe_dump(head)


def contexts_at(url: str) -> str:
    contexts = [
        {"name": "here", "context": {"cluster": "stub", "user": "me", "namespace": "vision"}},
        {"name": "plain", "context": {"cluster": "stub", "user": "me"}},
    ]
    whole = {"apiVersion": "v1", "kind": "Config", "current-context": "here", "contexts": contexts}
    whole |= {"clusters": [{"name": "stub", "cluster": {"server": url}}], "users": [{"name": "me", "user": {}}]}
    return yaml.safe_dump(whole)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """A cluster in which version 1 serves, its API server, and a folder with a kubeconfig."""
    served = ApiOf(serving(1))
    with stub(served) as there:
        (tmp_path / "kubeconfig").write_text(contexts_at(there.url))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield served, there, tmp_path


def written(folder: Path, text: str) -> str:
    path = folder / "md.yaml"
    path.write_text(text)
    return str(path)


def test_a_file_that_asks_for_what_is_there_ends_with_0(case: Case) -> None:
    _, there, folder = case
    result = invoke("-f", written(folder, model()))
    assert result.exit_code == 0, result.output
    assert "ModelDeployment vision/digits: nothing would change." in result.stdout
    assert result.stderr == ""
    assert there.asked
    assert {asked.method for asked in there.asked} == {"GET"}


def test_a_change_ends_with_2_and_nothing_is_written(case: Case) -> None:
    _, there, folder = case
    result = invoke("-f", written(folder, model(2, replicas=3)))
    assert result.exit_code == 2, result.output
    assert f"spec.model.uri: {uri(1)} -> {uri(2)}" in result.stdout
    assert "1. 5 % of requests, held for 10s" in result.stdout
    assert {asked.method for asked in there.asked} == {"GET"}


def test_a_file_that_the_api_server_would_refuse_ends_with_1_and_says_why(case: Case) -> None:
    _, _, folder = case
    text = model().replace("weight: 25", "weight: 5").replace("spec:", "spec:\n  replica: 2")
    result = invoke("-f", written(folder, text))
    assert result.exit_code == 1
    assert "ModelDeployment vision/digits: refused." in result.stdout
    assert "spec.replica: there is no such field" in result.stdout
    text = model().replace("weight: 25", "weight: 5")
    result = invoke("-f", written(folder, text))
    assert "weights must rise from step to step" in result.stdout


def test_programs_get_json(case: Case) -> None:
    _, _, folder = case
    (found,) = json.loads(invoke("-f", written(folder, model(2)), "-o", "json").stdout)
    assert (found["namespace"], found["name"], found["exists"], found["outcome"]) == (
        "vision",
        "digits",
        True,
        "Changes",
    )
    assert found["changes"] == [{"field": "spec.model.uri", "before": uri(1), "after": uri(2)}]
    assert {(w["action"], w["kind"], w["when"]) for w in found["writes"]} >= {
        ("create", "Job", "AtOnce"),
        ("create", "Deployment", "Resolved"),
    }


def test_a_model_that_does_not_exist_yet_is_planned(case: Case) -> None:
    _, _, folder = case
    result = invoke("-f", written(folder, model(name="letters")))
    assert result.exit_code == 2, result.output
    assert "ModelDeployment vision/letters does not exist yet: it would be its first rollout." in result.stdout


def test_several_documents_are_planned_one_by_one_and_the_worst_counts(case: Case) -> None:
    _, _, folder = case
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: models-read}\n"
    result = invoke("-f", written(folder, "---\n".join([model(), secret, model(name="letters")])))
    assert result.exit_code == 2
    assert "vision/digits: nothing would change." in result.stdout
    assert "vision/letters does not exist yet" in result.stdout
    assert result.stderr == "tidegate: Secret models-read is left out: only ModelDeployments are planned\n"
    bad = model(name="numbers").replace("s3://", "http://")
    assert invoke("-f", written(folder, "---\n".join([model(2), bad]))).exit_code == 1


def test_the_namespace_comes_from_the_file_then_the_option_then_the_context(case: Case) -> None:
    _, _, folder = case
    file = written(folder, model(namespace=None))
    assert "vision/digits: nothing would change" in invoke("-f", file).stdout
    assert "vision/digits: nothing would change" in invoke("-f", file, "--context", "plain", "-n", "vision").stdout
    result = invoke("-f", written(folder, model()), "-n", "speech")
    assert result.exit_code == 1
    assert result.stderr == ("tidegate: digits is in namespace vision by its file, and --namespace says speech\n")


def test_a_context_without_a_namespace_means_default(case: Case) -> None:
    assert kubeconfig.person(context="plain")[1] == "default"
    assert kubeconfig.person()[1] == "vision"


def test_a_file_can_come_from_standard_input(case: Case) -> None:
    assert invoke("-f", "-", stdin=model()).exit_code == 0


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([], "name a file with -f, or a snapshot with --snapshot"),
        (["-f", "absent.yaml"], "absent.yaml cannot be read: No such file or directory"),
        (["-f", "-", "--context", "elsewhere"], "the kubeconfig has no context elsewhere"),
        (["--snapshot", "absent.json"], "absent.json cannot be read: No such file or directory"),
        (["--snapshot", "{folder}/kubeconfig"], "kubeconfig cannot be used: it is not JSON"),
        (
            ["-f", "-", "--save-snapshot", "{folder}/no/such/folder.json"],
            "folder.json cannot be written: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_found_out_is_one_sentence_and_ends_with_1(case: Case, args: list[str], sentence: str) -> None:
    result = invoke(*(arg.format(folder=case[2]) for arg in args), stdin=model())
    assert result.exit_code == 1
    assert result.stderr.startswith("tidegate: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("args", [["--no-such-option"], ["--output", "xml"], ["-f"]])
def test_wrong_usage_is_never_taken_for_a_change(args: list[str]) -> None:
    result = invoke(*args)
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_without_a_cluster_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    result = invoke("-f", "-", stdin=model())
    assert result.exit_code == 1
    assert result.stderr.startswith("tidegate: there is no cluster to work with: ")


def test_an_api_server_that_refuses_is_quoted(case: Case) -> None:
    _, there, _ = case
    there.answer = lambda asked: Reply({"message": "no right to look"}, 403)
    result = invoke("-f", "-", stdin=model())
    assert result.exit_code == 1
    assert "no right to look (HTTP 403)" in result.stderr


def test_a_case_is_decided_again_on_another_machine(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    _, there, folder = case
    file, saved = written(folder, model(2, replicas=3)), str(folder / "case.json")
    first = invoke("-f", file, "--save-snapshot", saved)
    there.close()
    again = invoke("--snapshot", saved)
    assert again.exit_code == first.exit_code == 2
    assert again.stdout == first.stdout
    other = invoke("--snapshot", saved, "-f", written(folder, model()))
    assert (other.exit_code, "nothing would change" in other.stdout) == (0, True)
    bad = invoke("--snapshot", saved, "-f", written(folder, model().replace("s3://", "http://")))
    assert (bad.exit_code, "refused" in bad.stdout) == (1, True)


def test_a_snapshot_is_of_one_model(case: Case) -> None:
    _, _, folder = case
    saved = str(folder / "case.json")
    two = written(folder, "---\n".join([model(), model(name="letters")]))
    result = invoke("-f", two, "--save-snapshot", saved)
    assert result.exit_code == 1
    assert "--save-snapshot takes one ModelDeployment, and" in result.stderr
    assert invoke("-f", written(folder, model()), "--save-snapshot", saved).exit_code == 0
    result = invoke("--snapshot", saved, "-f", written(folder, model(name="letters")))
    assert "case.json is of vision/digits, which" in result.stderr
    assert "leave out --snapshot" in invoke("--snapshot", saved, "--save-snapshot", saved).stderr


def test_a_snapshot_holds_no_secret_and_no_word_of_how_it_was_reached(case: Case) -> None:
    _, _, folder = case
    saved = folder / "case.json"
    invoke("-f", written(folder, model()), "--save-snapshot", str(saved))
    assert '"Secret"' not in saved.read_text()
    assert "127.0.0.1" not in saved.read_text()


def test_routers_are_asked_through_the_api_server_only(case: Case) -> None:
    served, there, folder = case
    saved = folder / "case.json"
    result = invoke("-f", written(folder, model()), "--save-snapshot", str(saved))
    assert "Note" not in result.stdout
    assert any("/proxy/stats" in asked.path for asked in there.asked)
    reports = json.loads(saved.read_text())["observed"]["reports"]
    assert {(report["reachable"], report["listeners"]) for report in reports} == {
        (True, served.observed.reports[0].listeners)
    }


def test_routers_that_may_not_be_asked_are_believed_to_do_what_status_says(case: Case) -> None:
    served, _, folder = case
    served.routers_answer = False
    result = invoke("-f", written(folder, model()))
    assert result.exit_code == 0, result.output
    assert "The routers could not be asked from here" in result.stdout
    assert "Not ready" not in result.stdout


def test_routers_are_not_believed_to_have_what_status_does_not_say(case: Case) -> None:
    served, _, folder = case
    served.routers_answer = False
    assert served.live is not None
    served.live["status"]["conditions"] = []
    assert "Waiting for every router" in invoke("-f", written(folder, model())).stdout


def test_even_a_fault_could_write_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    _, there, folder = case

    def faulty(cluster: KubeCluster, *_: Any) -> None:
        cluster.delete({"kind": "Job", "metadata": {"namespace": "vision", "name": "j", "uid": "u"}})

    monkeypatch.setattr(taking, "take", faulty)
    assert invoke("-f", written(folder, model())).exit_code == 1
    assert there.asked == []


def test_replicas_of_an_autoscaler_are_no_change(case: Case) -> None:
    served, _, folder = case
    assert served.live is not None
    served.live["spec"]["replicas"] = 4
    entry = {"manager": "hpa", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    served.live["metadata"]["managedFields"] = [entry]
    result = invoke("-f", written(folder, model()))
    assert result.exit_code == 0, result.output
    assert "was set by the scale subresource, so it stays" in result.stdout


def test_what_a_deleted_predecessor_left_is_waited_for_by_name(case: Case) -> None:
    served, _, folder = case
    served.live = None
    result = invoke("-f", written(folder, model()))
    assert result.exit_code == 1
    assert "of a deleted digits is still there" in result.stderr


@pytest.mark.parametrize("args", [["run", "--help"], ["plan", "--help"], ["simulate", "rollout", "--help"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from tidegate.cli import app\n"
        f"try: app({args!r})\n"
        "except SystemExit: pass\n"
        "print([m for m in ('kopf', 'kubernetes', 'numpy', 'yaml', 'urllib3') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
