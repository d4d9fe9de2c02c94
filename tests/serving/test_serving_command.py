"""`model-packager serve` with a real Triton: what CI and a person at a terminal do."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_process import Serve, forge, free_ports, port_options, processes_with

from model_packager import transfer
from model_packager.folder import read_manifest
from model_packager.manifest import parse_root
from model_packager.stores import open_store

Start = Callable[..., Serve]


@pytest.fixture
def start(tmp_path: Path, triton_path: str) -> Iterator[Start]:
    running: list[Serve] = []

    def call(*arguments: Any) -> Serve:
        running.append(Serve(tmp_path, triton_path, *map(str, arguments), *port_options(free_ports())))
        return running[-1]

    yield call
    for serve in running:
        if serve.process.poll() is None:
            serve.process.kill()
            serve.process.wait()


@pytest.mark.parametrize("name", ["sklearn-text-labels", "torch-program"])
def test_a_check_replays_every_case_and_ends(bundles: dict[str, Path], start: Start, name: str) -> None:
    serve = start(bundles[name], "--check", "--output", "json")
    assert serve.end() == 0, serve.log
    report = json.loads(serve.out)
    cases = len(read_manifest(bundles[name]).golden.cases)
    assert [(result["protocol"], result["cases"]) for result in report["protocols"]] == [
        ("http", cases),
        ("grpc", cases),
    ]
    assert report["passed"]
    assert processes_with(str(bundles[name])) == []


def test_a_check_fails_when_the_server_does_not_give_the_recorded_answers(network: Path, start: Start) -> None:
    case = read_manifest(network).golden.cases[0].name
    body = (network / "golden" / case / "response.bin").read_bytes()
    forge(network, f"golden/{case}/response.bin", bytes(len(body)))
    serve = start(network, "--check")
    assert serve.end() == 1
    assert "error: ReplayFailed: " in serve.log
    assert f"case {case}" in serve.log
    assert processes_with(str(network)) == []


def test_a_model_that_does_not_load_is_told_in_the_words_of_the_server(network: Path, start: Start) -> None:
    forge(network, "models/onnx-fp16/1/model.onnx", b"no model")
    serve = start(network, "--check")
    assert serve.end() == 1
    sentence = serve.log.splitlines()[-1]
    assert sentence.startswith("error: ServeFailed: The server ended before the model was ready (exit code 1): failed")
    assert "failed to load 'onnx-fp16' version 1: " in sentence
    assert "+--" not in sentence
    assert processes_with(str(network)) == []


def test_a_published_bundle_is_served_until_a_signal_and_nothing_is_left(
    bundles: dict[str, Path], start: Start, tmp_path: Path
) -> None:
    root = parse_root(f"file://{tmp_path}/store")
    transfer.push(bundles["onnx-two-inputs"], root, open_store(root, create=True))
    serve = start(f"file://{tmp_path}/store/onnx-two-inputs:1")
    line = serve.announcement()
    assert line.startswith("onnx-two-inputs:1 is ready: http 127.0.0.1:")
    command = shlex.split(line.partition("check it: ")[2])
    checked = subprocess.run(
        [sys.executable, "-m", "model_packager.cli", *command[1:]], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert "http: " in checked.stdout
    assert "grpc: " in checked.stdout
    assert processes_with(str(serve.temporary))
    assert serve.end(signal.SIGTERM) == 143
    assert processes_with(str(serve.temporary)) == []
    assert list(serve.temporary.iterdir()) == []


def test_a_signal_while_the_model_loads_ends_the_server_too(bundles: dict[str, Path], start: Start) -> None:
    bundle = bundles["sklearn-regressor"]
    serve = start(bundle)
    serve.wait_for_log("loading: sklearn-regressor")
    assert serve.end(signal.SIGINT) == 130
    assert processes_with(str(bundle)) == []
