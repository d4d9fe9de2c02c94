"""Promises of the plan and of the views: the last good plan counts, and whoever asks cannot hold the observer up."""

import asyncio
import http.client
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from envoy_servers import loopback
from observer_stage import watching

from model_observer.counters import Counters, Pair
from model_observer.plan import MAX_BYTES, Plan, PlanInvalid, follow, read
from model_observer.reasons import Reason
from model_observer.serve import MAX_CONNECTIONS, Views, json_page
from tidegate.adapters.observer import read_windows
from tidegate.domain.checks.comparisons import Pair as Read
from tidegate.resources import observer

PLAN = observer.plan(watching(), "vision", "cluster.local")


def test_the_observer_reads_the_plan_that_the_operator_writes(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    plan = read(tmp_path / "plan.json")
    (model,) = plan.models
    assert [r.name for r in model.revisions] == list(watching().models["digits"].revisions)
    assert model.revisions[0].host == f"{model.revisions[0].name}.vision.svc.cluster.local."
    assert plan.of(model.revisions[1].name) == (model, model.revisions[1])
    assert plan.of("stranger") is None


BAD = {
    "no file": None,
    "not JSON": "{",
    "a number": "7",
    "an unknown field": json.dumps(PLAN | {"extra": 1}),
    "a host with a path": json.dumps(PLAN).replace(".svc.cluster.local.", "/x"),
    "no outputs": json.dumps({"models": [PLAN["models"][0] | {"outputs": []}]}),
    "too large": " " * (MAX_BYTES + 1),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_plan_that_cannot_be_used_is_refused_with_the_file_and_the_reason(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PlanInvalid, match=r"plan\.json"):
        read(path)


def test_a_changed_plan_is_followed_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    seen: list[str] = []

    def replace(text: str) -> None:
        """As the kubelet does it: another file under the same name."""
        (tmp_path / "draft").write_text(text)
        (tmp_path / "draft").rename(path)

    async def scenario() -> None:
        replace(json.dumps({"version": "1"}))
        task = asyncio.create_task(follow(path, lambda plan: seen.append(plan.version), 0.01))
        for number, text in enumerate(["{", json.dumps({"version": "2"}), "", json.dumps({"version": "3"})], 1):
            while len(seen) < (number + 1) // 2:
                await asyncio.sleep(0.01)
            replace(text)
            await asyncio.sleep(0.05)
        while len(seen) < 3:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert seen == ["1", "2", "3"]


def counters() -> Counters:
    found = Counters(run="r1", plan="p1")
    for agreed in (True, True, False):
        found.compared(Pair("digits", "a", "b"), agreed=agreed)
    found.compared(Pair("digits", "a", "a"), agreed=True)
    found.dropped["digits", Reason.RATE] += 2
    found.offered["digits"] += 6
    return found


def test_the_operator_reads_the_counts_that_the_observer_shows() -> None:
    found = read_windows(json.loads(json.dumps(counters().windows())))
    assert (found.run, found.plan) == ("r1", "p1")
    assert found.pairs == {Read("digits", "a", "b"): (3, 2), Read("digits", "a", "a"): (1, 1)}


def test_the_metrics_say_what_was_compared_and_what_was_not() -> None:
    lines = list(counters().exposition())
    assert 'tidegate_observer_exchanges_total{model="digits"} 6' in lines
    assert 'tidegate_observer_dropped_total{model="digits",reason="rate"} 2' in lines
    name = "tidegate_observer_comparisons_total"
    assert f'{name}{{model="digits",answered="a",replayed="b",outcome="agree"}} 2' in lines
    assert f'{name}{{model="digits",answered="a",replayed="b",outcome="differ"}} 1' in lines


def test_views_answer_what_they_have_and_nothing_else() -> None:
    async def scenario() -> dict[str, tuple[int, str]]:
        host = loopback()
        server = await Views({"/v1/windows": json_page(lambda: {"a": 1})}).start(host, 18081)

        def ask(method: str, path: str) -> tuple[int, str]:
            connection = http.client.HTTPConnection(host, 18081, timeout=5)
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

        asked = [("GET", "/v1/windows"), ("GET", "/v1/windows?a=b"), ("POST", "/v1/windows"), ("GET", "/secrets")]
        found = {f"{method} {path}": await asyncio.to_thread(ask, method, path) for method, path in asked}
        server.close()
        return found

    found = asyncio.run(scenario())
    assert found["GET /v1/windows"] == found["GET /v1/windows?a=b"] == (200, '{"a":1}\n')
    assert found["POST /v1/windows"][0] == 405
    assert found["GET /secrets"] == (404, "There is /v1/windows.\n")


@pytest.mark.parametrize(
    "text", [b"", b"\0" * 9000, b"GET", b"GET / HTTP/1.1\r\n", b"\r\n\r\n", b" \r\n\r\n", b"GET /\xff\r\n\r\n"]
)
def test_no_bytes_end_the_views(text: bytes) -> None:
    async def scenario() -> int:
        host = loopback()
        server = await Views({"/healthz": lambda: ("text/plain", "ok\n")}).start(host, 18081)
        reader, writer = await asyncio.open_connection(host, 18081)
        writer.write(text)
        writer.write_eof()
        await reader.read()
        writer.close()
        status = await asyncio.to_thread(_status, host)
        server.close()
        return status

    assert asyncio.run(scenario()) == 200


def test_clients_that_say_nothing_leave_room_for_others_as_soon_as_they_go() -> None:
    async def scenario() -> tuple[bytes, int]:
        host = loopback()
        server = await Views({"/healthz": lambda: ("text/plain", "ok\n")}).start(host, 18081)
        silent = [await asyncio.open_connection(host, 18081) for _ in range(MAX_CONNECTIONS)]
        reader, _ = await asyncio.open_connection(host, 18081)
        refused = await reader.read()
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()
        status = await asyncio.to_thread(_status, host)
        server.close()
        return refused, status

    assert asyncio.run(scenario()) == (b"", 200)


def _status(host: str) -> int:
    connection = http.client.HTTPConnection(host, 18081, timeout=5)
    connection.request("GET", "/healthz")
    return connection.getresponse().status


def test_a_plan_without_models_watches_nothing() -> None:
    assert Plan().of("digits-aaaa1111") is None


def taken_port(host: str) -> socket.socket:
    listening = socket.create_server((host, 18080))
    listening.listen()
    return listening


def test_a_port_that_is_taken_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:

    host = loopback()
    command: list[Any] = [sys.executable, "-c", "from model_observer.cli import main; main()", "run"]
    with taken_port(host):
        found = subprocess.run(
            [*command, "--host", host, "--plan", tmp_path / "plan.json"], capture_output=True, text=True, timeout=60
        )
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert "port 18080 cannot be listened on" in found.stderr
