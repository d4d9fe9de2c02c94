"""What tree ensembles have in common: one numeric matrix in, and a converter that needs help with names and shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxmltools  # type: ignore[import-untyped]
from onnx import ModelProto, helper
from onnxmltools.convert.common.data_types import FloatTensorType  # type: ignore[import-untyped]

from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.export.quiet import first_line, quiet
from model_packager.export.tensors import Array, Arrays

DEFAULT_INPUT = "input"
CONVERTER_VERSION: str = onnxmltools.__version__
MAX_OPSET = 15  # the newest that the converters of tree ensembles can write; every supported server loads it


def example_matrix(features: int) -> Arrays:
    """Four seeded rows."""
    return {DEFAULT_INPUT: np.random.default_rng(0).standard_normal((4, features)).astype(np.float32)}


def the_matrix(inputs: Arrays) -> Array:
    """The only input as 32-bit floats. Raises InvalidUsage if there is another one, or if it is no matrix."""
    if len(inputs) != 1 or next(iter(inputs.values())).ndim != 2:
        raise InvalidUsage("The sample of a tree ensemble must hold one array of two dimensions: rows and features.")
    return next(iter(inputs.values())).astype(np.float32)


def convert_trees(converter: Callable[..., ModelProto], booster: object, sample: Arrays, opset: int) -> ModelProto:
    """The ONNX model with a free batch in every output. Raises ExportFailed with the converter's first line."""
    matrix = the_matrix(sample)
    (name,) = sample
    try:
        with quiet():
            model = converter(
                booster,
                initial_types=[(name, FloatTensorType([None, matrix.shape[1]]))],
                target_opset=min(opset, MAX_OPSET),
                name="model",  # the default is a random one
            )
    except Exception as error:
        raise ExportFailed(f"onnxmltools could not convert the trees: {first_line(error)}") from error
    # The label of a classifier comes out as [1], which would forbid every server to batch.
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    # A graph of tree operators alone declares no opset of the default domain, and readers differ in what that means.
    if not any(entry.domain in ("", "ai.onnx") for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", min(opset, MAX_OPSET)))
    return model


def class_answers(probabilities: Array) -> list[Array]:
    """Label and a column of probability for each class, as the converters have it, from what a booster predicts."""
    if probabilities.ndim == 1:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
        return [(probabilities[:, 1] > 0.5).astype(np.int64), probabilities]
    return [probabilities.argmax(axis=1).astype(np.int64), probabilities]
