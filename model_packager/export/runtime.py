"""ONNX Runtime on the CPU, set so that equal inputs give equal bits on every run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime  # type: ignore[import-untyped]
from onnx import ModelProto

from model_packager.errors import ExportFailed
from model_packager.export.tensors import Array, Arrays

INLINE_LIMIT = 1_500_000_000  # bytes; a protobuf file ends at 2 GB, so larger weights go to a file beside it
MODEL_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"


class Session:
    """A loaded model. Raises ExportFailed if it cannot be loaded or run."""

    def __init__(self, model: ModelProto, *, optimise: bool = True, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        with tempfile.TemporaryDirectory(prefix="model-packager-") as folder:
            path = save(model, Path(folder))
            try:
                self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            except Exception as error:
                raise ExportFailed(
                    f"ONNX Runtime {onnxruntime.__version__} cannot load the model: {_line(error)}"
                ) from error

    def run(self, inputs: Arrays) -> list[Array]:
        """All outputs, in the order of the graph."""
        try:
            return list(self._session.run(None, inputs))
        except Exception as error:
            shapes = {name: list(value.shape) for name, value in inputs.items()}
            raise ExportFailed(
                f"ONNX Runtime cannot run the model on inputs of shape {shapes}: {_line(error)}"
            ) from error


def save(model: ModelProto, folder: Path, *, inline_limit: int = INLINE_LIMIT) -> Path:
    """Write ``model.onnx``, and ``model.onnx.data`` beside it if the weights exceed ``inline_limit`` bytes."""
    path = folder / MODEL_FILE
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) <= inline_limit:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return path
    copy = ModelProto()
    copy.CopyFrom(model)  # saving moves the weights out of the message
    onnx.save_model(
        copy, path, save_as_external_data=True, all_tensors_to_one_file=True, location=DATA_FILE, size_threshold=1024
    )
    return path


def _line(error: Exception) -> str:
    return str(error).replace("\n", " ")[:300]
