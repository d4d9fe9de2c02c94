"""ONNX files as people have them: text, several inputs, data beside the file, old operators, dynamic axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_packager.export.golden import read_case
from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.folder import verify_folder
from model_packager.manifest import Manifest

FLOAT, TEXT, INT64 = TensorProto.FLOAT, TensorProto.STRING, TensorProto.INT64


def _save(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], *, opset: int = 18, ir: int = 8, **parts: Any
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        parts.get("weights", []),
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in {"": opset, **parts.get("ml", {})}.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=ir)
    onnx.save(model, path, **parts.get("save", {}))
    return model


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
    encoder = helper.make_node(
        "LabelEncoder", ["word"], ["code"], domain="ai.onnx.ml", keys_strings=["cat", "dog"], values_int64s=[1, 2],
        default_int64=-1,
    )  # fmt: skip
    nodes = [encoder, helper.make_node("Identity", ["word"], ["echo"])]
    outputs = [("code", INT64, ["n", 1]), ("echo", TEXT, ["n", 1])]
    _save(tmp_path / "m.onnx", nodes, [("word", TEXT, ["n", 1])], outputs, ml={"ai.onnx.ml": 2})
    manifest = _export(tmp_path / "m.onnx", tmp_path / "out", word=np.asarray([["cat"], ["dog"], ["eel"], ["ä"]]))
    assert [(t.name, t.datatype, t.shape) for t in manifest.contract.inputs] == [("word", "BYTES", (-1, 1))]
    assert manifest.contract.max_batch_size == 4
    inputs, expected = read_case(tmp_path / "out", "sample-0")
    assert inputs["word"].ravel().tolist() == ["cat", "dog", "eel", "ä"]
    assert expected["code"].ravel().tolist() == [1, 2, -1, -1]
    assert "TYPE_STRING" in (tmp_path / "out/models/m/config.pbtxt").read_text()


def test_several_inputs_keep_their_order_datatypes_and_free_lengths(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["mask"], ["m"], to=FLOAT),
        helper.make_node("Mul", ["values", "m"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axes"], ["total"], keepdims=0),
    ]
    inputs = [("values", FLOAT, ["n", "length"]), ("mask", INT64, ["n", "length"])]
    weights = [numpy_helper.from_array(np.asarray([1]), "axes")]
    _save(tmp_path / "m.onnx", nodes, inputs, [("total", FLOAT, ["n"])], weights=weights)
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
    _save(
        tmp_path / "source/m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", FLOAT, ["n", 8])],
        [("y", FLOAT, ["n", 3])], weights=[numpy_helper.from_array(weights, "w")],
        save={"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0},
    )  # fmt: skip
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
    _save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["n", 3])], [("y", FLOAT, ["n", 3])], opset=opset, ir=ir)
    manifest = _export(tmp_path / "m.onnx", tmp_path / "out")
    assert (manifest.compatibility.opset, manifest.compatibility.ir_version) == (opset, ir)
    assert manifest.contract.max_batch_size == 4
