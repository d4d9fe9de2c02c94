"""ONNX files as people have them: text, several inputs, data beside the file, old operators, dynamic axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
from onnx import helper
from source_onnx import FLOAT, WORDS, save_masked_sum, save_onnx, save_with_weights_beside, save_words

from model_packager.export.golden import read_case
from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.folder import verify_folder
from model_packager.manifest import Manifest


def _export(path: Path, out: Path, **sample: Any) -> Manifest:
    if sample:
        np.savez(path.with_suffix(".npz"), **sample)
    request = ExportRequest(
        source=str(path), name="m", version="1", out=out, source_options=SourceOptions(opset=18), max_batch_size=4,
        sample=path.with_suffix(".npz") if sample else None,
    )  # fmt: skip
    manifest = export(request, lambda line: None)
    assert verify_folder(out) == manifest
    return manifest


def test_text_goes_in_and_comes_out_as_text(tmp_path: Path) -> None:
    save_words(tmp_path / "m.onnx")
    manifest = _export(tmp_path / "m.onnx", tmp_path / "out", word=WORDS)
    assert [(t.name, t.datatype, t.shape) for t in manifest.contract.inputs] == [("word", "BYTES", (-1, 1))]
    assert manifest.contract.max_batch_size == 4
    inputs, expected = read_case(tmp_path / "out", "sample-0")
    assert inputs["word"].ravel().tolist() == ["cat", "dog", "eel", "ä"]
    assert expected["code"].ravel().tolist() == [1, 2, -1, -1]
    assert "TYPE_STRING" in (tmp_path / "out/models/m/config.pbtxt").read_text()


def test_several_inputs_keep_their_order_datatypes_and_free_lengths(tmp_path: Path) -> None:
    save_masked_sum(tmp_path / "m.onnx")
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    manifest = _export(tmp_path / "m.onnx", tmp_path / "out", values=values, mask=np.ones((3, 4), np.int64))
    assert [(t.name, t.datatype, t.shape) for t in manifest.contract.inputs] == [
        ("values", "FP32", (-1, -1)),
        ("mask", "INT64", (-1, -1)),
    ]
    assert [(t.name, t.shape) for t in manifest.contract.outputs] == [("total", (-1, 1))]
    assert manifest.contract.max_batch_size == 4
    assert read_case(tmp_path / "out", "sample-0")[1]["total"].ravel().tolist() == values.sum(axis=1).tolist()
    assert "reshape" in (tmp_path / "out/models/m/config.pbtxt").read_text()


def test_weights_beside_the_file_come_into_the_bundle(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    (tmp_path / "source").mkdir()
    save_with_weights_beside(tmp_path / "source/m.onnx", weights)
    assert (tmp_path / "source/weights.bin").stat().st_size >= weights.nbytes
    first = _export(tmp_path / "source/m.onnx", tmp_path / "out")
    (answer,) = onnxruntime.InferenceSession(tmp_path / "out/models/m/1/model.onnx").run(
        None, {"x": np.ones((1, 8), np.float32)}
    )
    np.testing.assert_allclose(answer[0], weights.sum(axis=0), rtol=1e-5)
    data = bytearray((tmp_path / "source/weights.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "source/weights.bin").write_bytes(data)
    second = _export(tmp_path / "source/m.onnx", tmp_path / "other")
    assert first.provenance.source.digest != second.provenance.source.digest


@pytest.mark.parametrize(("opset", "ir"), [(7, 3), (9, 4), (11, 6)])
def test_an_old_model_is_kept_as_it_is_because_servers_load_it(tmp_path: Path, opset: int, ir: int) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Softmax", ["a"], ["y"], axis=1)]
    save_onnx(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["n", 3])], [("y", FLOAT, ["n", 3])], opset=opset, ir=ir)
    manifest = _export(tmp_path / "m.onnx", tmp_path / "out")
    assert (manifest.compatibility.opset, manifest.compatibility.ir_version) == (opset, ir)
    assert manifest.contract.max_batch_size == 4
