"""`serve` with stand-ins for Triton and Docker: what is started, what is said, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from resources_examples import GPU_SERVER, stored
from serve_process import Serve, free_ports, port_options, processes_with, write_programs

from model_packager import transfer
from model_packager.folder import read_manifest
from model_packager.manifest import parse_root
from model_packager.serverprocess import reason
from model_packager.stores import open_store
from model_packager.tritonserver import DEFAULT_IMAGE, Accelerator, flags
from tidegate.resources import triton as pods

Start = Callable[..., Serve]


@pytest.fixture
def ports() -> list[int]:
    return free_ports()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def start(tmp_path: Path, notes: Path, ports: list[int]) -> Iterator[Start]:
    """Start ``serve`` with only the stand-ins on PATH; what still runs at the end is ended."""
    running: list[Serve] = []

    def call(*arguments: Any, docker: bool = False, **environment: str) -> Serve:
        path = write_programs(tmp_path / "bin", notes, docker=docker)
        words = [*map(str, arguments), *port_options(ports)]
        running.append(Serve(tmp_path, str(path), *words, **environment))
        return running[-1]

    yield call
    for serve in running:
        if serve.process.poll() is None:
            serve.process.kill()
            serve.process.wait()


def noted(notes: Path) -> list[list[str]]:
    return [json.loads(line)["argv"] for line in notes.read_text().splitlines()] if notes.exists() else []


@pytest.mark.parametrize("accelerator", Accelerator)
def test_the_server_gets_the_flags_that_it_gets_in_a_pod(accelerator: Accelerator) -> None:
    revision = stored({**GPU_SERVER, "args": [], "accelerator": accelerator.upper()}).revision
    ours = flags(pods.REPOSITORY, accelerator, pods.HTTP, pods.GRPC, pods.METRICS)
    assert ours == pods.flags(revision)


def test_a_ready_model_is_announced_with_its_addresses_and_a_command_to_check_it(
    bundle: Path, start: Start, ports: list[int], notes: Path
) -> None:
    serve = start(bundle)
    line = serve.announcement()
    assert line.count("\n") == 1
    http, grpc, metrics = (f"127.0.0.1:{port}" for port in ports)
    assert line.startswith(f"small:1 is ready: http {http}, grpc {grpc}, metrics http://{metrics}/metrics; ")
    assert f"model-packager replay {bundle} --endpoint {http} --grpc {grpc}" in line
    (command,) = noted(notes)
    listening = [f"--{what}-address=127.0.0.1" for what in ("http", "grpc", "metrics")]
    assert command[1:] == [*flags(str(bundle / "models"), Accelerator.cpu, *ports), *listening]
    assert json.loads(notes.read_text())["env"]["TRITON_SERVER_CPU_ONLY"] == "1"
    assert serve.end(signal.SIGTERM) == 143
    assert "listening" in serve.log


def test_the_announcement_is_one_json_object_on_request(bundle: Path, start: Start, ports: list[int]) -> None:
    serve = start(bundle, "--output", "json", "--host", "0.0.0.0")
    found = json.loads(serve.announcement())
    assert serve.end(signal.SIGINT) == 130
    assert found["digest"] == read_manifest(bundle).digest()
    assert (found["http"], found["grpc"]) == (f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}")
    assert shlex.split(found["replay"])[:3] == ["model-packager", "replay", str(bundle)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_end_leaves_no_process_and_no_fetched_bundle(
    bundle: Path, start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    root = parse_root(f"file://{tmp_path}/store")
    transfer.push(bundle, root, open_store(root, create=True))
    serve = start(f"file://{tmp_path}/store/small:1")
    assert f"replay file://{tmp_path}/store/small:1 " in serve.announcement()
    assert any(serve.temporary.iterdir())
    assert processes_with(str(serve.temporary))
    assert serve.end(number) == 128 + number
    assert list(serve.temporary.iterdir()) == []
    assert processes_with(str(serve.temporary)) == []


def test_a_signal_before_the_model_is_ready_ends_the_server_too(bundle: Path, start: Start) -> None:
    serve = start(bundle, MODE="never")
    serve.wait_for_log("listening")
    assert serve.end(signal.SIGTERM) == 143
    assert processes_with(str(bundle)) == []


def test_a_server_that_does_not_stop_is_killed_with_its_children(bundle: Path, start: Start, notes: Path) -> None:
    serve = start(bundle, MODE="stubborn")
    serve.announcement()
    assert len(processes_with(str(notes))) == 1
    serve.process.send_signal(signal.SIGTERM)
    serve.wait_for_log("told to stop")
    assert serve.end(signal.SIGTERM) == 143  # whoever asks twice does not wait
    assert processes_with(str(notes)) == []
    assert processes_with(str(bundle)) == []


def test_a_server_that_ends_is_told_with_the_reason_out_of_its_log(bundle: Path, start: Start) -> None:
    serve = start(bundle, MODE="fails")
    assert (serve.end(), serve.out) == (1, "")
    sentence = serve.log.splitlines()[-1]
    assert sentence == (
        "error: ServeFailed: The server ended before the model was ready (exit code 1): "
        "failed to load 'small' version 1: Internal: opset 99 is unknown"
    )


def test_a_server_that_is_killed_later_is_told(bundle: Path, start: Start) -> None:
    serve = start(bundle)
    serve.announcement()
    (server,) = processes_with(f"--model-repository={bundle}")
    os.kill(server, signal.SIGKILL)
    assert serve.end() == 1
    assert "ServeFailed: The server ended by itself (signal 9)" in serve.log


def test_a_model_that_is_never_ready_is_given_up(bundle: Path, start: Start) -> None:
    serve = start(bundle, "--timeout", "1", MODE="never")
    assert (serve.end(), serve.out) == (1, "")
    assert "ServeFailed: The model was not ready within 1 s" in serve.log
    assert processes_with(str(bundle)) == []


REFUSED: dict[str, tuple[list[str], int, str]] = {
    "a host by name": (["--host", "localhost"], 2, "--host 'localhost' must be an IPv4 address"),
    "a host of another machine": (["--host", "192.0.2.1"], 2, "cannot be listened on"),
    "a size that is none": (["--shm-size", "big"], 2, "--shm-size 'big' must be a size"),
    "an image without docker": (["--image", "x:1"], 7, "docker, which --image needs, is not on PATH; install Docker"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_started_is_one_sentence_and_starts_nothing(
    bundle: Path, start: Start, notes: Path, what: str
) -> None:
    options, code, words = REFUSED[what]
    serve = start(bundle, *options)
    assert (serve.end(), serve.out) == (code, "")
    assert words in serve.log
    assert serve.log.count("\n") == 1
    assert noted(notes) == []


@pytest.mark.parametrize("taken", [0, 1, 2], ids=["http", "grpc", "metrics"])
def test_a_port_in_use_is_named_before_anything_starts(
    bundle: Path, start: Start, notes: Path, ports: list[int], taken: int
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports[taken]))
        other.listen()
        serve = start(bundle)
        assert (serve.end(), serve.out) == (2, "")
    option = ("--http-port", "--grpc-port", "--metrics-port")[taken]
    assert f"127.0.0.1:{ports[taken]} cannot be listened on (Address already in use)" in serve.log
    assert f"choose another {option}." in serve.log
    assert noted(notes) == []


def test_three_ports_must_differ(bundle: Path, start: Start, ports: list[int]) -> None:
    ports[1] = ports[0]
    serve = start(bundle)
    assert (serve.end(), serve.out) == (2, "")
    assert "must be three different ones" in serve.log


def test_an_altered_bundle_is_never_served(bundle: Path, start: Start, notes: Path) -> None:
    (bundle / "models/small/1/model.onnx").write_bytes(b"other")
    serve = start(bundle)
    assert (serve.end(), serve.out) == (1, "")
    assert "BundleInvalid: The file 'models/small/1/model.onnx'" in serve.log
    assert noted(notes) == []


def test_without_any_server_it_says_what_to_install(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    serve = Serve(tmp_path, str(tmp_path / "empty"), str(bundle), *port_options(free_ports()))
    assert (serve.end(), serve.out) == (7, "")
    assert "ServerMissing: Neither tritonserver nor docker is on PATH; install Docker, or Triton" in serve.log


def test_without_an_installed_server_docker_runs_one(bundle: Path, start: Start, ports: list[int], notes: Path) -> None:
    serve = start(bundle, docker=True)
    serve.announcement()
    assert serve.end(signal.SIGTERM) == 143
    inspect, pull, run, _, remove = noted(notes)
    assert inspect[1:] == ["image", "inspect", DEFAULT_IMAGE]
    assert pull[1:] == ["pull", DEFAULT_IMAGE]
    name = remove[-1]
    assert remove[1:] == ["rm", "--force", name]
    assert run[1:] == [
        "run", "--rm", "--init", f"--name={name}",
        *(f"--publish=127.0.0.1:{port}:{inside}" for port, inside in zip(ports, (8000, 8001, 8002), strict=True)),
        f"--volume={bundle}/models:/models:ro", "--shm-size=1g", "--env=TRITON_SERVER_CPU_ONLY=1", DEFAULT_IMAGE,
        "tritonserver", *flags("/models", Accelerator.cpu, 8000, 8001, 8002),
    ]  # fmt: skip


def test_a_container_gets_the_accelerator_and_the_image_that_were_asked_for(
    bundle: Path, start: Start, notes: Path
) -> None:
    serve = start(bundle, "--accelerator", "gpu", "--image", "own/triton:1", "--shm-size", "512m", docker=True)
    serve.announcement()
    serve.end(signal.SIGTERM)
    run = noted(notes)[2]
    assert {"--gpus=all", "--shm-size=512m", "own/triton:1", "--model-config-name=gpu"} <= set(run)
    assert "--env=TRITON_SERVER_CPU_ONLY=1" not in run


WAITING = """
import signal, sys
from model_packager.serverprocess import ServerProcess
from model_packager.tritonserver import Launch

def asked(number, frame):
    sys.exit(3)

signal.signal(signal.SIGTERM, asked)
server = ServerProcess(Launch(command=["sleep", "60"], shown="a server"))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("waiting", flush=True)
try:
    server.wait_for_end()
finally:
    server.stop()
"""


def test_a_signal_is_heard_that_does_not_interrupt_the_wait_for_the_server() -> None:
    """As one that comes in the moment before the wait does; here another thread of the process takes it."""
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(30) == 3
        finally:
            process.kill()


def test_an_image_that_docker_cannot_fetch_is_named(bundle: Path, start: Start) -> None:
    serve = start(bundle, "--image", "own/missing:1", docker=True)
    assert (serve.end(), serve.out) == (7, "")
    assert "pull access denied" in serve.log
    assert "ServerMissing: Docker could not fetch the image own/missing:1" in serve.log


LOGS = {
    "a flag": ("tritonserver: unrecognized option '--nope'\nUsage: tritonserver\n", "unrecognized option '--nope'"),
    "a configuration": ("E1121 1 a.cc:1] \"Poll failed for model directory 'm': no backend\"\nI1121 x\n", "no backend"),
    "a missing library": ("\ntritonserver: libX.so.1: cannot open\n", "libX.so.1: cannot open"),
    "nothing": ("", "it said nothing."),
}


@pytest.mark.parametrize("what", LOGS)
def test_the_reason_is_the_first_failure_or_the_last_words(what: str) -> None:
    log, words = LOGS[what]
    assert reason(log).endswith(words)
