"""Small ONNX files as people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper

FLOAT, TEXT, INT64 = TensorProto.FLOAT, TensorProto.STRING, TensorProto.INT64
WORDS = np.asarray([["cat"], ["dog"], ["eel"], ["ä"]])


def save_onnx(
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


def save_words(path: Path) -> None:
    """Text in, its code and the text itself out."""
    encoder = helper.make_node(
        "LabelEncoder", ["word"], ["code"], domain="ai.onnx.ml", keys_strings=["cat", "dog"], values_int64s=[1, 2],
        default_int64=-1,
    )  # fmt: skip
    nodes = [encoder, helper.make_node("Identity", ["word"], ["echo"])]
    outputs = [("code", INT64, ["n", 1]), ("echo", TEXT, ["n", 1])]
    save_onnx(path, nodes, [("word", TEXT, ["n", 1])], outputs, ml={"ai.onnx.ml": 2})


def save_masked_sum(path: Path) -> None:
    """Two inputs of different datatypes and free lengths, one output of rank 1."""
    nodes = [
        helper.make_node("Cast", ["mask"], ["m"], to=FLOAT),
        helper.make_node("Mul", ["values", "m"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axes"], ["total"], keepdims=0),
    ]
    inputs = [("values", FLOAT, ["n", "length"]), ("mask", INT64, ["n", "length"])]
    weights = [numpy_helper.from_array(np.asarray([1]), "axes")]
    save_onnx(path, nodes, inputs, [("total", FLOAT, ["n"])], weights=weights)


def save_with_weights_beside(path: Path, weights: np.ndarray[Any, Any]) -> None:
    """``y`` = ``x`` @ ``weights``, which lie in ``weights.bin`` beside the file."""
    save_onnx(
        path, [helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", FLOAT, ["n", len(weights)])],
        [("y", FLOAT, ["n", weights.shape[1]])], weights=[numpy_helper.from_array(weights, "w")],
        save={"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0},
    )  # fmt: skip


def save_network(folder: Path) -> None:
    """Two layers with a label: enough for int8 to make visible errors. ``clear.npz`` has clear winners."""
    values = np.random.default_rng(2)
    weights = {"w1": values.standard_normal((16, 32)) / 4, "w2": values.standard_normal((32, 4)) / 4}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["c"]),
        helper.make_node("Softmax", ["c"], ["scores"], axis=-1),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=-1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4]),
        ],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, folder / "m.onnx")
    x = values.standard_normal((400, 16)).astype(np.float32)
    (scores,) = onnxruntime.InferenceSession(folder / "m.onnx").run(["scores"], {"x": x})
    best = np.sort(scores, axis=1)
    np.savez(folder / "clear.npz", x=x[best[:, -1] - best[:, -2] > 0.15][:100])
    np.savez(folder / "close.npz", x=x[best[:, -1] - best[:, -2] < 0.02])
