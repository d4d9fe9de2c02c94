"""Keras 3 models in the .keras format, run on PyTorch. Models with code inside are loaded only if that is allowed."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import keras  # type: ignore[import-untyped]
import numpy as np
import onnx
import torch
from onnx import ModelProto

from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.export.graph import rename
from model_packager.export.quiet import first_line, quiet
from model_packager.export.sources import SourceInfo, SourceOptions
from model_packager.export.sources.torch import one_thread, to_numpy
from model_packager.export.tensors import Array, Arrays


class KerasSource:
    """Implements :class:`model_packager.export.sources.Source` for a functional or sequential model."""

    def __init__(self, model: Any, info: SourceInfo, options: SourceOptions) -> None:
        self.info = info
        self._model = model
        self._opset = options.opset
        self._names = [str(tensor.name) for tensor in model.inputs]

    def example(self) -> Arrays | None:
        """Seeded values, if every dimension but the first is fixed."""
        values = np.random.default_rng(0)
        example: Arrays = {}
        for tensor, name in zip(self._model.inputs, self._names, strict=True):
            if None in tensor.shape[1:]:
                return None
            example[name] = values.uniform(0, 1, (2, *tensor.shape[1:])).astype(tensor.dtype)
        return example

    def convert(self, sample: Arrays) -> ModelProto:
        if sorted(sample) != sorted(self._names):
            raise InvalidUsage(f"The model has the inputs {self._names}, but the sample has {list(sample)}.")
        self._run(sample)  # Keras exports only what was called once
        with tempfile.TemporaryDirectory(prefix="model-packager-") as folder:
            path = Path(folder) / "model.onnx"
            try:
                with quiet():
                    self._model.export(path, format="onnx", verbose=False, opset_version=self._opset)
                model = onnx.load(path)
            except Exception as error:
                raise ExportFailed(f"Keras could not convert the model to ONNX: {first_line(error)}") from error
        names = [value.name for value in [*model.graph.input, *model.graph.output]]
        wanted = [*self._names, *_output_names(self._model)]
        if len(names) != len(wanted):
            raise ExportFailed(f"Keras converted {len(wanted)} inputs and outputs into {len(names)}: {names}.")
        return rename(model, {old: new for old, new in zip(names, wanted, strict=True) if old != new})

    def answer(self, inputs: Arrays) -> list[Array]:
        return self._run(inputs)

    def labels(self) -> tuple[str, ...] | None:
        return None

    def _run(self, inputs: Arrays) -> list[Array]:
        arrays = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._names]
        with torch.inference_mode(), one_thread(), quiet():
            outputs = self._model(arrays if len(arrays) > 1 else arrays[0], training=False)
        return [to_numpy(output) for output in keras.tree.flatten(outputs)]


def load_keras(path: Path, options: SourceOptions) -> KerasSource:
    """Raises ExportFailed if it is no Keras 3 file, InvalidUsage if it holds code or has no fixed inputs."""
    if keras.backend.backend() != "torch":
        raise InvalidUsage(
            f"Keras runs on {keras.backend.backend()} in this process; set KERAS_BACKEND=torch and export again."
        )
    try:
        with quiet():
            model = keras.models.load_model(path, compile=False, safe_mode=not options.allow_pickle)
    except Exception as error:
        if "safe_mode" in str(error) or "unsafe" in str(error).lower():
            raise InvalidUsage(
                f"{path} holds Python code (a Lambda layer), which loading would run. Use a registered layer instead, "
                "or pass --allow-pickle if you trust the file as you would trust a program."
            ) from error
        raise ExportFailed(f"{path} could not be loaded as a Keras 3 model: {first_line(error)}") from error
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise InvalidUsage(
            f"{path} holds a {type(model).__name__} without fixed inputs; save a functional or sequential model."
        )
    info = SourceInfo(
        framework="keras",
        version=keras.__version__,
        format="keras",
        content_digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        tools={"torch": torch.__version__},
    )
    return KerasSource(model, info, options)


def _output_names(model: Any) -> list[str]:
    """Keys of a dict of outputs, else the names of the layers that give them: the converter writes numbers."""
    structure = getattr(model, "output", None)
    if isinstance(structure, dict) and all(not keras.tree.is_nested(value) for value in structure.values()):
        names = [str(key) for key in sorted(structure)]
    else:
        names = list(getattr(model, "output_names", None) or [model.layers[-1].name])
    taken = {str(tensor.name) for tensor in model.inputs}
    if len(set(names)) != len(names) or len(names) != len(model.outputs) or taken & set(names):
        return [f"output_{index}" for index in range(len(model.outputs))]
    return names
