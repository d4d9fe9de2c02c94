"""A real S3 server on a free port of 127.0.0.1, and a real bundle to keep in it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from registry_server import RegistryServer, running_registry

from devcluster.gotools import ensure_tools
from devcluster.progress import Progress
from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions

ACCESS_KEY = "stores-test"
SECRET_KEY = "stores-test-secret"


@dataclass
class S3Server:
    """A running server. ``data`` is its folder: each folder below is a bucket, each file an object."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]

    def bucket(self, name: str) -> Path:
        folder = self.data / name
        folder.mkdir()
        return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the S3 server ended with code {process.returncode}"
        try:
            with urllib.request.urlopen(f"{url}/", timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers; that it refuses an unsigned request is its job
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the S3 server did not answer in 30 s")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    binary = ensure_tools(["versitygw"], Progress())["versitygw"]
    data = tmp_path_factory.mktemp("s3")
    port = _free_port()
    environment = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY, "PATH": os.environ["PATH"]}
    command = [str(binary), "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(data)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(url, process)
        yield S3Server(url, data, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The variables that a pod gets."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    return s3_server


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running_registry(tmp_path_factory.mktemp("locked"), locked=True) as server:
        yield server


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a model of 18 MiB, so that uploads and downloads take several parts."""
    folder = tmp_path_factory.mktemp("bundle")
    size = 1536
    weights = np.random.default_rng(5).standard_normal((size, size * 2)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", size * 2])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    export(
        ExportRequest(
            source=str(folder / "model.onnx"),
            name="wide",
            version="1",
            out=folder / "out",
            source_options=SourceOptions(opset=18),
            max_batch_size=4,
            atol=1e-3,
        ),
        lambda line: None,
    )
    return folder / "out"
