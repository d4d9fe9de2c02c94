"""The model of a verified bundle folder on this machine's CPU, by the names of its contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]

from model_packager.errors import InvalidUsage
from model_packager.export.tensors import Arrays
from model_packager.manifest import Manifest

Model = Callable[[Arrays], Arrays]


def open_model(folder: Path, manifest: Manifest) -> Model:
    """A function from inputs to outputs. It raises InvalidUsage if the model does not load or run."""
    path = folder / "models" / manifest.name / "1" / "model.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InvalidUsage(f"ONNX Runtime cannot load {path}: {str(error)[:300]}") from error
    ranks = {value.name: len(value.shape) for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    shapes = {tensor.name: len(tensor.shape) for tensor in manifest.contract.outputs}

    def run(inputs: Arrays) -> Arrays:
        try:
            fitted = {n: v.reshape(v.shape[: ranks[n]]) if v.ndim > ranks[n] else v for n, v in inputs.items()}
            answers = session.run(None, fitted)
        except Exception as error:
            raise InvalidUsage(f"ONNX Runtime cannot run {path}: {str(error)[:300]}") from error
        found: Arrays = {}
        for name, value in zip(names, answers, strict=True):
            array = np.asarray(value)
            found[name] = array.reshape(array.shape + (1,) * max(0, shapes.get(name, 0) - array.ndim))
        return found

    return run
