"""Reduced precision, on request only: half-precision weights and sums, or 8-bit weights with 8-bit sums.

Inputs and outputs keep their datatypes, so clients do not notice; the comparison with the source is the judge.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final, Literal

import onnx
from onnx import ModelProto, TensorProto

from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.export.quiet import first_line, quiet

Precision = Literal["fp16", "int8"]
_INT8_OPERATORS: Final = {"MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul"}


def parse_precision(text: str | None) -> Precision | None:
    """Raises InvalidUsage for anything but the names of the reduced precisions."""
    match text:
        case None | "fp16" | "int8":
            return text
    raise InvalidUsage(f"The precision {text!a} must be fp16 or int8; leave it out to keep the model's own.")


def reduce_precision(model: ModelProto, precision: Precision) -> ModelProto:
    """The model in the precision. Raises InvalidUsage if there is nothing to reduce, ExportFailed if it is refused."""
    # Sizes that an exporter inferred contradict the graph after the rewrite, and the quantiser stops at that.
    del model.graph.value_info[:]
    try:
        with quiet():
            reduced = _to_fp16(model) if precision == "fp16" else _to_int8(model)
    except Exception as error:
        raise ExportFailed(f"The model could not be converted to {precision}: {first_line(error)}") from error
    if not _is_reduced(reduced, precision):
        raise InvalidUsage(f"The model has no weights that could be {precision}; leave --precision out.")
    return reduced


def _to_fp16(model: ModelProto) -> ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16  # type: ignore[import-untyped]

    converted: ModelProto = convert_float_to_float16(model, keep_io_types=True)
    return converted


def _to_int8(model: ModelProto) -> ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory(prefix="model-packager-") as folder:
        path = Path(folder) / "model.onnx"
        # Weights of 7 bits: processors without an 8-bit dot product (AVX2 without VNNI) add pairs of products in 16
        # bits, which full weights overflow, and a bundle must answer the same wherever it runs. A scale for each
        # channel gives back more than the bit took.
        quantize_dynamic(model, path, weight_type=QuantType.QInt8, reduce_range=True, per_channel=True)
        return onnx.load(path)


def _is_reduced(model: ModelProto, precision: Precision) -> bool:
    if precision == "int8":
        return any(node.op_type in _INT8_OPERATORS for node in model.graph.node)
    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
