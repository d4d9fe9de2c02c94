"""Exporting for a named server: what it cannot load is never written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from typer.testing import CliRunner

from model_packager.cli import app
from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.export.targets import choose_opset, parse_target
from model_packager.folder import read_manifest

TARGETS = {
    "triton:24.09": ("1.19", 21, 10),
    "triton:25.02": ("1.20", 21, 10),
    "triton:25.07-py3": ("1.22", 22, 10),
    "triton:26.01": ("1.23", 23, 11),
    "triton:26.06": ("1.24", 25, 13),
    "triton:26.10": ("1.27", 26, 13),
    "onnxruntime:1.20": ("1.20", 21, 10),
    "onnxruntime:1.22.0": ("1.22", 22, 10),
    "onnxruntime:1.23": ("1.23", 23, 11),
    "onnxruntime:1.31": ("1.31", 26, 13),
}


@pytest.mark.parametrize("text", TARGETS)
def test_a_target_has_the_limits_of_its_release(text: str) -> None:
    target = parse_target(text)
    assert (target.onnxruntime, target.opset, target.ir) == TARGETS[text]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("triton", "must be triton:YY.MM"),
        ("tensorrt:10.1", "must be triton:YY.MM"),
        ("triton:latest", "must be triton:YY.MM"),
        ("triton:24.04", "older than triton 24.09"),
        ("onnxruntime:1.18", "older than onnxruntime 1.19"),
    ],
)
def test_a_target_that_is_not_known_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidUsage, match=words):
        parse_target(text)


def test_without_an_opset_the_safe_one_is_taken() -> None:
    assert choose_opset(None, None) == 18
    assert choose_opset(None, parse_target("triton:26.10")) == 18
    assert choose_opset(21, parse_target("triton:24.09")) == 21


def test_an_opset_that_the_target_cannot_load_is_refused_before_any_work(onnx_file: Path, tmp_path: Path) -> None:
    command = ["export", str(onnx_file), "--name", "m", "--version", "1", "-o", str(tmp_path / "out")]
    failed = CliRunner().invoke(app, [*command, "--target", "triton:25.02", "--opset", "22"])
    assert isinstance(failed.exception, InvalidUsage)
    assert "loads opset 21 at most, and --opset 22 was asked for" in str(failed.exception)
    assert not (tmp_path / "out").exists()


def _model(opset: int, ir_version: int, node: str = "Relu", shape: list[Any] | None = None) -> ModelProto:
    shape = shape or ["n", 2]
    graph = helper.make_graph(
        [helper.make_node(node, ["x"], ["y"])],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def _export(model: ModelProto, tmp_path: Path, target: str | None) -> Any:
    onnx.save(model, tmp_path / "m.onnx")
    request = ExportRequest(
        source=str(tmp_path / "m.onnx"), name="m", version="1", out=tmp_path / "out",
        source_options=SourceOptions(opset=18), max_batch_size=4,
    )  # fmt: skip
    return export(replace(request, target=parse_target(target) if target else None), lambda line: None)


@pytest.mark.parametrize(
    ("opset", "ir_version", "target", "want"),
    [
        (22, 10, "triton:25.02", (21, 10, "1.19")),
        (23, 11, "triton:25.02", (21, 10, "1.19")),
        (23, 11, "triton:26.01", (23, 11, "1.23")),
        (23, 11, None, (23, 10, "1.23")),
        (9, 4, "triton:26.10", (9, 4, "1.19")),
    ],
)
def test_a_finished_model_is_lowered_to_what_the_target_loads(
    tmp_path: Path, opset: int, ir_version: int, target: str | None, want: tuple[int, int, str]
) -> None:
    needs = _export(_model(opset, ir_version), tmp_path, target).compatibility
    assert (needs.opset, needs.ir_version, needs.min_onnxruntime) == want
    written = onnx.load(tmp_path / "out/models/m/1/model.onnx")
    assert (written.opset_import[0].version, written.ir_version) == want[:2]
    assert read_manifest(tmp_path / "out").compatibility == needs


def test_an_operator_that_an_older_opset_lacks_is_refused(tmp_path: Path) -> None:
    model = _model(24, 11, "Swish")
    with pytest.raises(ExportFailed, match=r"the target triton:25\.02 loads opset 21 at most, and it could not be"):
        _export(model, tmp_path, "triton:25.02")
    assert not (tmp_path / "out").exists()


def test_the_trees_of_any_opset_fit_every_target(tmp_path: Path) -> None:
    import xgboost

    x = np.random.default_rng(0).standard_normal((30, 3)).astype(np.float32)
    xgboost.XGBRegressor(n_estimators=2, n_jobs=1).fit(x, x[:, 0]).save_model(tmp_path / "m.ubj")
    request = ExportRequest(
        source=str(tmp_path / "m.ubj"), name="m", version="1", out=tmp_path / "out",
        source_options=SourceOptions(opset=21), target=parse_target("triton:24.09"),
    )  # fmt: skip
    assert export(request, lambda line: None).compatibility.opset <= 15
