"""ONNX files, taken as they are. The reference is the same model without graph optimisation."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from model_packager.errors import ExportFailed
from model_packager.export.external import load_model
from model_packager.export.graph import tensors, without_weights_as_inputs
from model_packager.export.runtime import Session
from model_packager.export.sources import SourceInfo
from model_packager.export.tensors import Array, Arrays, numpy_dtype

_MAX_EXAMPLE_VALUES = 1 << 27


class OnnxSource:
    """Implements :class:`model_packager.export.sources.Source` for a finished ONNX model."""

    def __init__(self, model: ModelProto, info: SourceInfo) -> None:
        self.info = info
        self._model = model
        self._session: Session | None = None

    def example(self) -> Arrays | None:
        """Seeded values, if every dimension but the first is fixed and every input is a number."""
        example: Arrays = {}
        values = np.random.default_rng(0)
        for tensor in tensors(self._model.graph.input):
            if -1 in tensor.shape[1:] or tensor.datatype == "BYTES":
                return None
            shape = tuple(2 if size == -1 else size for size in tensor.shape)
            if math.prod(shape) > _MAX_EXAMPLE_VALUES:
                return None
            example[tensor.name] = values.uniform(0, 1, shape).astype(numpy_dtype(tensor.datatype))
        return example

    def convert(self, sample: Arrays) -> ModelProto:
        copy = ModelProto()
        copy.CopyFrom(self._model)  # the caller changes names and versions; the reference stays as it was
        return copy

    def answer(self, inputs: Arrays) -> list[Array]:
        if self._session is None:
            self._session = Session(self._model, optimise=False)
        return self._session.run(inputs)

    def labels(self) -> tuple[str, ...] | None:
        return None


def load_onnx(path: Path) -> OnnxSource:
    """Load an ONNX file with its external data. Raises ExportFailed if it is broken."""
    try:
        model = without_weights_as_inputs(load_model(path))
        content = hashlib.sha256(path.read_bytes())
        for initializer in model.graph.initializer:  # weights that came from files beside it
            content.update(initializer.raw_data)
    except Exception as error:
        raise ExportFailed(
            f"{path} is not a readable ONNX model: {type(error).__name__}: {str(error)[:300]}"
        ) from error
    info = SourceInfo(
        framework="onnx",
        version=onnx.__version__,
        format="onnx",
        content_digest=content.hexdigest(),
    )
    return OnnxSource(model, info)
