"""Promises of the ``kubectl md`` command lines: what is sent, what is said, and with which exit code they end."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from domain_objects import digest
from http_stub import Reply
from people_stub import Server, served
from people_worlds import played

from tidegate.adapters import kubeconfig
from tidegate.people import cli, cluster, requesting, watching

ROOT = Path(__file__).parents[3]
Serve = Callable[[str], Server]
READS = ["get digits", "status digits", "history digits", "explain digits"]
WRITES = ["promote digits", "abort digits", "retry digits", "rollback digits", "pause digits"]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serve a world; time passes in it while a command waits."""
    stack = []

    def start(name: str) -> Server:
        context = served(played(name), tmp_path)
        server = context.__enter__()
        stack.append(context)
        monkeypatch.setattr(requesting, "pause", server.pass_time)
        monkeypatch.setattr(watching, "pause", server.pass_time)
        monkeypatch.setattr(requesting, "EVENT_SECONDS", 0.3)
        monkeypatch.setattr(cluster, "PAUSE_SECONDS", 0.0)
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
        return server

    yield start
    for context in stack:
        context.__exit__(None, None, None)


def run(line: str) -> int:
    return cli.run(line.split())


def patches(server: Server) -> list[Any]:
    return [asked.body for asked in server.stub.asked if asked.method == "PATCH"]


@pytest.mark.parametrize(("name", "code"), [("ready", 0), ("aborted", 1), ("progressing", 2), ("unseen", 2)])
def test_status_ends_with_how_it_stands(serve: Serve, capsys: pytest.CaptureFixture[str], name: str, code: int) -> None:
    serve(name)
    assert run("status md/digits") == code
    assert capsys.readouterr().out.startswith("digits in vision: ")
    assert run("status digits -o json") == code
    assert json.loads(capsys.readouterr().out)["name"] == "digits"


def test_watching_ends_when_it_is_ready_with_a_line_a_change(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("progressing")
    assert run("status digits --watch --timeout 1m") == 0
    said = capsys.readouterr()
    lines = [line.partition(" ")[2] for line in said.out.splitlines()]
    assert lines[0].startswith("Progressing; step 1/2 at 10 %")
    assert lines[-1].startswith("Ready;")
    assert len(lines) == len(set(lines))
    assert said.err == ""


def test_watching_as_json_gives_an_object_a_line(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("progressing")
    assert run("status digits --watch --output json") == 0
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert states[0] == "UnderWay"
    assert states[-1] == "Ready"


def test_watching_ends_when_the_rollout_is_given_up(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve("progressing")
    server.world.cluster.wrong[digest(2)] = 0.5
    assert run("status digits -w") == 1
    assert "AnalysisFailed" in capsys.readouterr().out.splitlines()[-1]


def test_watching_waits_while_a_failure_may_pass_by_itself(serve: Serve) -> None:
    server = serve("failed")
    assert run("status digits") == 1
    server.world.cluster.store_down = False
    assert run("status digits --watch") == 0


def test_watching_ends_when_time_is_up(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve("waiting")
    assert run("status digits --watch --timeout 0s") == 3
    assert "digits is not ready after 0 s." in capsys.readouterr().err
    server.deaf = True


def test_watching_outlives_an_api_server_that_is_away_for_a_while(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("ready")
    server.refusals[("GET", "/digits")] = Reply({"message": "starting"}, 503)
    looks = []

    def pass_time(_: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            server.refusals.clear()

    monkeypatch.setattr(watching, "pause", pass_time)
    assert run("status digits --watch") == 0
    assert capsys.readouterr().err.count("The cluster does not answer") == 1


@pytest.mark.parametrize(
    ("name", "line", "annotation", "argument"),
    [
        ("progressing", "promote digits", "promote", ""),
        ("progressing", "promote digits --full", "promote", "full"),
        ("progressing", "abort digits", "abort", ""),
        ("aborted", "retry digits", "retry", ""),
        ("ready", "rollback digits", "rollback-to", "1"),
        ("gone_back", "rollback digits --to VERSION2", "rollback-to", "2"),
    ],
)
def test_a_request_is_written_carried_out_and_told(
    serve: Serve, capsys: pytest.CaptureFixture[str], name: str, line: str, annotation: str, argument: str
) -> None:
    server = serve(name)
    if name != "progressing" and argument:
        line = line.replace("VERSION2", server.world.name_of(2))
        argument = server.world.name_of(int(argument))
    assert run(line) == 0
    (body,) = patches(server)
    assert body.keys() == {"metadata"}
    ((key, text),) = body["metadata"]["annotations"].items()
    assert key == f"tidegate.dev/{annotation}"
    assert text.rpartition("@")[0] == argument
    said = capsys.readouterr()
    assert said.out.startswith("digits: ")
    assert "omebody asked" in said.out
    assert ". Now " in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("name", "line", "why"),
    [
        ("ready", "promote digits", "no rollout is under way"),
        ("ready", "abort digits", "no rollout is under way"),
        ("progressing", "retry digits", "the rollout is under way; abort it first"),
        ("aborted", "promote digits", "kubectl md retry begins again"),
        ("ready", "rollback digits --to digits-00000000", "no revision 'digits-00000000' has served"),
        ("starting", "abort digits", "the first revision has nothing to be compared with"),
    ],
)
def test_a_request_that_is_refused_says_why(
    serve: Serve, capsys: pytest.CaptureFixture[str], name: str, line: str, why: str
) -> None:
    serve(name)
    assert run(line) == 1
    assert why in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "why"),
    [("progressing", "kubectl md abort digits gives it up"), ("degraded", "no revision to go back to")],
)
def test_a_way_back_that_makes_no_sense_is_not_even_asked_for(
    serve: Serve, capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    server = serve(name)
    assert run("rollback digits") == 1
    assert why in capsys.readouterr().out
    assert patches(server) == []


def test_an_operator_that_does_not_run_is_named_in_time(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve("progressing")
    server.deaf = True
    assert run("abort digits --timeout 1s") == 3
    said = capsys.readouterr().out
    assert "has not taken the request to abort up in 1 s: is the operator running?" in said
    assert "The request stays" in said


def test_nothing_is_asked_of_an_operator_that_would_not_notice(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve("unseen")
    assert run("abort digits") == 3
    assert "nothing was asked" in capsys.readouterr().out
    assert patches(server) == []


def test_who_does_not_wait_is_told_that_it_was_asked(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve("progressing")
    server.deaf = True
    assert run("promote digits --no-wait") == 0
    assert capsys.readouterr().out == "digits: asked to promote.\n"
    assert len(patches(server)) == 1


@pytest.mark.parametrize(("line", "code"), [("abort digits", 0), ("retry digits", 1)])
@pytest.mark.parametrize("way", ["forbidden", "lost"])
def test_without_events_status_tells_what_became_of_it(
    serve: Serve, capsys: pytest.CaptureFixture[str], line: str, code: int, way: str
) -> None:
    server = serve("progressing")
    if way == "forbidden":
        server.refusals[("GET", "/events")] = Reply({"message": "no"}, 403)
    server.silent_events = True
    assert run(line) == code
    assert "as far as status tells" in capsys.readouterr().out


def test_a_safer_request_of_somebody_else_goes_first(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve("progressing")
    server.world.ask("abort", "of-somebody-else")
    assert run("promote digits") == 1
    assert "one to abort goes first" in capsys.readouterr().out


@pytest.mark.parametrize(("line", "was", "becomes"), [("pause digits", False, True), ("resume digits", True, False)])
def test_pause_and_resume_edit_spec_and_once_is_enough(
    serve: Serve, capsys: pytest.CaptureFixture[str], line: str, was: bool, becomes: bool
) -> None:
    server = serve("paused" if was else "progressing")
    assert run(line) == 0
    assert server.world.spec.paused is becomes
    first = capsys.readouterr()
    assert "10 %" in first.out
    assert first.err == ""
    assert run(line) == 0
    assert "already" in capsys.readouterr().out
    assert [body["spec"] for body in patches(server)] == [{"paused": becomes}]


def test_a_spec_that_gitops_owns_is_warned_of(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve("progressing")
    server.managed_fields = [{"manager": "argocd-controller", "fieldsV1": {"f:spec": {"f:paused": {}}}}]
    assert run("pause digits") == 0
    assert capsys.readouterr().err == (
        "warning: Argo CD (field manager argocd-controller) sets spec.paused itself and will undo this: change it in "
        "the repository to make it last.\n"
    )


def test_get_lists_a_namespace_all_of_them_or_one(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("ready")
    for line in ("get", "get digits", "get -A", "get digits -A", "get -n vision", "-n vision get"):
        assert run(line) == 0
        assert len(capsys.readouterr().out.splitlines()) == 2, line
    assert run("get -A -o json") == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["digits"]
    assert run("get -n elsewhere") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "No ModelDeployment found in namespace elsewhere.\n")


def test_history_and_explain_have_text_and_json(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve("ready")
    assert run("history digits") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == [server.world.name_of(2), "stable"]
    assert run("history digits -o json") == 0
    assert [row["digest"] for row in json.loads(capsys.readouterr().out)] == [digest(2), digest(1)]
    assert run("explain digits") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing is to be done."
    assert run("explain digits -o json") == 0
    assert json.loads(capsys.readouterr().out)["sentences"][-1] == "Nothing is to be done."


def test_who_may_not_read_events_gets_the_rest_of_the_explanation(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve("ready")
    server.refusals[("GET", "/events")] = Reply({"message": "no"}, 403)
    assert run("explain digits") == 0
    said = capsys.readouterr()
    assert "You may not list events in namespace vision" in said.err
    assert said.out.endswith("Nothing is to be done.\n")


@pytest.mark.parametrize("line", [*READS, *WRITES])
def test_an_object_that_is_not_there_is_named(serve: Serve, capsys: pytest.CaptureFixture[str], line: str) -> None:
    serve("ready")
    assert run(line.replace("digits", "digit")) == 4
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: There is no ModelDeployment digit in namespace vision.\n")


@pytest.mark.parametrize(
    ("line", "method", "said"),
    [
        ("status digits", "GET", "You may not get modeldeployments.tidegate.dev in namespace vision"),
        ("abort digits", "PATCH", "You may not patch modeldeployments.tidegate.dev in namespace vision"),
        ("pause digits", "PATCH", "such as tidegate-editor of the chart"),
    ],
)
def test_a_right_that_is_missing_is_named(
    serve: Serve, capsys: pytest.CaptureFixture[str], line: str, method: str, said: str
) -> None:
    server = serve("progressing")
    server.refusals[(method, "/digits")] = Reply({"message": "no"}, 403)
    assert run(line) == 4
    found = capsys.readouterr().err
    assert said in found
    assert found.count("\n") == 1


@pytest.mark.parametrize(
    ("end", "reply", "said"),
    [
        ("modeldeployments", Reply({"message": "no"}, 403), "You may not list modeldeployments.tidegate.dev in all"),
        ("modeldeployments", Reply({"message": "no"}, 401), "does not accept your credentials"),
        ("modeldeployments", Reply(b"<html>proxy</html>"), "does not answer"),
        ("modeldeployments", Reply({"message": "etcd"}, 500), "does not answer"),
        ("modeldeployments", Reply({"message": "teapot"}, 418), "The cluster refuses it"),
    ],
)
def test_every_refusal_of_the_cluster_is_one_sentence(
    serve: Serve, capsys: pytest.CaptureFixture[str], end: str, reply: Reply, said: str
) -> None:
    server = serve("ready")
    server.refusals[("GET", end)] = reply
    assert run("get -A") == 4
    found = capsys.readouterr().err
    assert said in found
    assert found.count("\n") == 1


@pytest.mark.parametrize("known", [Reply(b"404 page not found", 404), Reply({"resources": [{"name": "others"}]})])
def test_a_cluster_without_the_definition_is_told_from_one_without_the_object(
    serve: Serve, capsys: pytest.CaptureFixture[str], known: Reply
) -> None:
    server = serve("ready")
    server.refusals[("GET", "/digits")] = Reply(b"404 page not found", 404)
    server.refusals[("GET", "/v1alpha1")] = known
    assert run("status digits") == 4
    assert "This cluster has no modeldeployments.tidegate.dev: install Tidegate first" in capsys.readouterr().err


def test_the_cluster_and_namespace_are_found_as_kubectl_finds_them(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = serve("ready")
    assert run("get --context there") == 0
    assert "in namespace elsewhere" in capsys.readouterr().err
    assert run("get --context there -n vision") == 0
    assert run("--context there get digits --namespace vision") == 0
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}{os.pathsep}{server.kubeconfig}")
    assert run("get digits") == 0
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert run(f"get digits --kubeconfig {server.kubeconfig}") == 0
    assert server.stub.asked[-1].headers["authorization"] == "Bearer of-a-person"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "get"),
        ("{", "get"),
        ("[]", "get"),
        ("{}", "get"),
        ("apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n", "get"),
        (None, "get --kubeconfig no-such-file"),
    ],
)
def test_without_a_cluster_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str | None, line: str
) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert run(line) == 4
    found = capsys.readouterr().err
    assert found.startswith("error: There is no cluster to work with: ")
    assert found.count("\n") == 1


def test_a_context_that_is_not_there_is_named(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("ready")
    assert run("get --context nowhere") == 4
    assert capsys.readouterr().err == "error: The kubeconfig has no context nowhere\n"


def test_in_a_pod_its_service_account_is_used_unless_a_kubeconfig_is_there(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("of-a-pod")
    monkeypatch.setattr(kubeconfig, "IN_CLUSTER", token)
    serve("ready")
    assert not kubeconfig.in_pod()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert kubeconfig.in_pod()
    assert not kubeconfig.in_pod(context="there")


def test_a_cluster_that_is_down_is_named(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("ready").stub.close()
    assert run("get") == 4
    assert capsys.readouterr().err.startswith("error: The cluster does not answer: GET /apis/")


@pytest.mark.parametrize(
    "line",
    [
        "status",
        "levitate digits",
        "status digits --loud",
        "get -o yaml",
        "status pod/digits",
        "status digits -w --timeout soon",
    ],
)
def test_a_wrong_command_line_never_looks_like_a_rollout_under_way(
    serve: Serve, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    serve("ready")
    assert run(line) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err
    assert "Traceback" not in said.err


def test_help_tells_every_exit_code_and_needs_no_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("", "--help", "status --help", "promote --help"):
        assert run(line) == 0
        assert "Exit codes" in capsys.readouterr().out


def test_help_loads_nothing_that_is_slow_to_load() -> None:
    code = (
        "import sys; from tidegate.people import cli; cli.run(['status', '--help']);"
        "slow = ('kubernetes', 'rich', 'yaml', 'urllib3', 'tidegate.api', 'tidegate.domain', 'tidegate.adapters');"
        "print([m for m in slow if m in sys.modules], file=sys.stderr)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "operator")}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=env
    )
    assert found.stderr.strip() == "[]"


def test_an_interrupted_watch_ends_quietly(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve("progressing")

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "pause", interrupt)
    assert run("status digits --watch") == 130
    assert capsys.readouterr().err == ""


def test_a_terminal_sees_one_picture_that_is_redrawn(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve("progressing")
    written: list[str] = []

    class Terminal:
        encoding = "utf-8"

        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

        def flush(self) -> None:
            pass

        def isatty(self) -> bool:
            return True

        def fileno(self) -> int:
            raise OSError

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    code = run("status digits --watch")
    monkeypatch.undo()
    assert code == 0
    shown = "".join(written)
    assert "\x1b[1A" in shown or "\x1b[2K" in shown, "nothing was redrawn"
    assert "weight 10 % for 1m" in shown
    assert "Ready" in shown
