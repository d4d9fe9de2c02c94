"""A real S3 server on a free port of 127.0.0.1, and a real bundle to keep in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from registry_server import RegistryServer, running_registry
from s3_server import S3Server, running_s3

from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The variables that a pod gets."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
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
