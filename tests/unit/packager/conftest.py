"""A small real bundle, made once, and copies of it to break."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions


def small_model(opset: int = 18, ir_version: int = 8) -> ModelProto:
    """``scores`` = softmax(image @ w), ``label`` = argmax: one output of rank 2 and one of rank 1."""
    weights = np.random.default_rng(3).standard_normal((6, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["image", "w"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
            helper.make_node("ArgMax", ["scores"], ["label"], axis=-1, keepdims=0),
        ],
        "model",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 6])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4]),
        ],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "small.onnx"
    onnx.save(small_model(), path)
    return path


@pytest.fixture(scope="session")
def pristine_bundle(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared bundle ``small:1``. Never change it; take ``bundle``."""
    out = tmp_path_factory.mktemp("pristine") / "small"
    request = ExportRequest(
        source=str(onnx_file), name="small", version="1", out=out, source_options=SourceOptions(opset=18)
    )
    export(request, lambda line: None)
    return out


@pytest.fixture
def bundle(pristine_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may break."""
    return Path(shutil.copytree(pristine_bundle, tmp_path / "bundle"))
