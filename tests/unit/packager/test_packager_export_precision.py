"""Reduced precision: only on request, only with samples, and never worse than was allowed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from onnx import TensorProto, helper, numpy_helper
from source_onnx import save_network

from model_packager.errors import InvalidUsage, ParityFailed
from model_packager.export.golden import read_case
from model_packager.export.pipeline import export
from model_packager.export.precision import parse_precision
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.folder import verify_folder
from model_packager.manifest import Manifest


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    save_network(folder)
    return folder


def _export(network: Path, out: Path, sample: str | None = "clear.npz", **options: Any) -> Manifest:
    request = ExportRequest(
        source=str(network / "m.onnx"), name="m", version="1", out=out, source_options=SourceOptions(opset=18),
        max_batch_size=8, sample=network / sample if sample else None,
    )  # fmt: skip
    return export(replace(request, **options), lambda line: None)


@pytest.mark.parametrize(("precision", "largest"), [("fp16", 0.001), ("int8", 0.05)])
def test_a_reduced_model_keeps_its_contract_and_says_what_it_lost(
    network: Path, tmp_path: Path, precision: Any, largest: float
) -> None:
    manifest = _export(network, tmp_path / "out", precision=precision)
    assert verify_folder(tmp_path / "out") == manifest
    assert manifest.contract == _export(network, tmp_path / "full").contract
    assert manifest.provenance.precision == precision
    assert manifest.parity is not None
    label, scores = manifest.parity.outputs
    assert 0 < scores.max_abs < largest
    assert scores.argmax_agreement is not None
    assert scores.argmax_agreement >= 0.99
    assert label.argmax_agreement == scores.argmax_agreement
    model = onnx.load(tmp_path / "out/models/m/1/model.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert (TensorProto.FLOAT16 if precision == "fp16" else TensorProto.INT8) in kinds
    assert f"computes in {precision}" in (tmp_path / "out/README.md").read_text()


def test_no_processor_overflows_on_the_weights_of_an_int8_model(network: Path, tmp_path: Path) -> None:
    """Two products of 255 and a weight must fit into 16 bits, where processors have no 8-bit dot product."""
    _export(network, tmp_path / "out", precision="int8")
    model = onnx.load(tmp_path / "out/models/m/1/model.onnx")
    tensors = [numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.INT8]
    weights = [tensor for tensor in tensors if tensor.any()]
    assert weights
    assert all(2 * 255 * int(abs(tensor.astype(int)).max()) <= 32767 for tensor in weights)


def test_every_recorded_case_can_be_replayed_within_the_recorded_tolerance(network: Path, tmp_path: Path) -> None:
    manifest = _export(network, tmp_path / "out", precision="int8")
    session = onnxruntime.InferenceSession(tmp_path / "out/models/m/1/model.onnx")
    allowed = manifest.golden.tolerances["FP32"]
    assert {case.origin for case in manifest.golden.cases} == {"Sample"}
    for case in manifest.golden.cases:
        inputs, expected = read_case(tmp_path / "out", case.name)
        label, scores = session.run(["label", "scores"], inputs)
        np.testing.assert_array_equal(label.reshape(-1, 1), expected["label"])
        np.testing.assert_allclose(scores, expected["scores"], rtol=allowed.rtol, atol=allowed.atol)


def test_full_precision_is_never_reduced_unasked(network: Path, tmp_path: Path) -> None:
    manifest = _export(network, tmp_path / "out")
    assert manifest.provenance.precision is None
    model = onnx.load(tmp_path / "out/models/m/1/model.onnx")
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT}


def test_two_exports_in_reduced_precision_have_one_digest(network: Path, tmp_path: Path) -> None:
    first, second = (_export(network, tmp_path / out, precision="int8").digest() for out in ("a", "b"))
    assert first == second


def test_without_samples_there_is_nothing_to_hold_it_to(network: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidUsage, match="held to real inputs; pass --sample"):
        _export(network, tmp_path / "out", None, precision="fp16")


def test_a_reduced_model_that_changes_its_mind_too_often_is_refused(network: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityFailed, match=r"agrees with the source in [0-9.]+% of the rows; 99\.0% are needed"):
        _export(network, tmp_path / "out", "close.npz", precision="int8", max_batch_size=0)
    assert not (tmp_path / "out").exists()


def test_a_tighter_tolerance_of_the_user_wins(network: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityFailed, match=r"The output 'scores' is .* where the source says"):
        _export(network, tmp_path / "out", precision="int8", rtol=1e-6, atol=1e-7, max_batch_size=0)


def test_a_model_without_weights_cannot_be_reduced(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "clear.npz", x=np.ones((2, 2), np.float32))
    with pytest.raises(InvalidUsage, match="no weights that could be int8"):
        _export(tmp_path, tmp_path / "out", precision="int8")


def test_a_precision_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidUsage, match="must be fp16 or int8"):
        parse_precision("fp8")
