"""What can be exported. A source is loaded, converted once, and asked for the answers that the bundle must match."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from model_packager.errors import ExportFailed, InvalidUsage, MissingExtra
from model_packager.schema import MlflowOrigin

if TYPE_CHECKING:
    from onnx import ModelProto

    from model_packager.export.tensors import Array, Arrays

SUFFIXES = ".pt2, .skops, .keras, .ubj, .json (XGBoost), .txt (LightGBM), .onnx, .joblib or .pkl"


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to load and convert. ``allow_pickle`` permits running code from the source; ``trust`` names skops types."""

    opset: int
    allow_pickle: bool = False
    trust: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """Identity of a source for the provenance. ``content_digest`` is over everything that defines the model."""

    framework: str
    version: str
    format: str
    content_digest: str
    tools: dict[str, str] = field(default_factory=dict)
    mlflow: MlflowOrigin | None = None


class Source(Protocol):
    """A loaded model of one framework."""

    info: SourceInfo

    def example(self) -> Arrays | None:
        """Inputs that the source itself carries or implies, or None if a sample must be given."""

    def convert(self, sample: Arrays) -> ModelProto:
        """The ONNX model; its inputs have the names of ``sample``. Raises ExportFailed."""

    def answer(self, inputs: Arrays) -> list[Array]:
        """The outputs of the source framework, in the order of the outputs of the ONNX model."""

    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes, if the source knows them."""


def load_source(source: str, options: SourceOptions) -> Source:
    """Load ``source``: a file known by its suffix, ``package.module:function``, which is imported and called, or a
    model of MLflow (``models:/`` or ``runs:/``).

    Raises InvalidUsage for what is not a source, MissingExtra if its framework is not installed, and ExportFailed.
    """
    if source.startswith(("models:/", "runs:/")):
        require("mlflow", "mlflow")
        from model_packager.export.mlflow import load_logged

        return load_logged(source, options)
    path = Path(source)
    module, colon, function = source.rpartition(":")
    if colon and not path.exists() and all(part.isidentifier() for part in [*module.split("."), function]):
        require("torch", "torch", "onnxscript")
        from model_packager.export.sources.torch import load_factory

        return load_factory(module, function, options)
    if not path.is_file():
        raise InvalidUsage(f"The source {source!a} is neither a file nor package.module:function.")
    return load_file(path, options)


def load_file(path: Path, options: SourceOptions) -> Source:
    """Load a file by its suffix; see :func:`load_source`."""
    match path.suffix.lower():
        case ".pt2":
            require("torch", "torch", "onnxscript")
            from model_packager.export.sources.torch import load_program

            return load_program(path, options)
        case ".skops" | ".joblib" | ".pkl" | ".pickle":
            require("sklearn", "sklearn", "skl2onnx", "skops")
            from model_packager.export.sources.sklearn import load_estimator

            return load_estimator(path, options)
        case ".ubj" | ".json":
            require("xgboost", "xgboost", "onnxmltools")
            from model_packager.export.sources.xgboost import load_xgboost

            return load_xgboost(path, options)
        case ".txt":
            require("lightgbm", "lightgbm", "onnxmltools")
            from model_packager.export.sources.lightgbm import load_lightgbm

            return load_lightgbm(path, options)
        case ".keras":
            os.environ["KERAS_BACKEND"] = "torch"  # read when Keras is imported; a .keras file runs on any of them
            require("keras", "keras", "torch", "onnxscript")
            from model_packager.export.sources.keras import load_keras

            return load_keras(path, options)
        case ".onnx":
            from model_packager.export.sources.onnx import load_onnx

            return load_onnx(path)
        case ".pt" | ".pth" | ".ckpt":
            raise InvalidUsage(
                f"{path} is a checkpoint, which holds weights but no program and runs code when it is loaded; save "
                "torch.export.export(model, ...) with torch.export.save as .pt2, or give package.module:function."
            )
    raise InvalidUsage(f"The source {path} has no known suffix; use {SUFFIXES}.")


def require(extra: str, *modules: str) -> None:
    """Check that the modules of an extra can be imported. Raises MissingExtra with the command that installs it."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"This source needs the Python package {error.name}; install it with: pip install 'tidegate[{extra}]'."
            ) from error
        except ImportError as error:
            raise ExportFailed(f"The Python package {module} is installed but cannot be imported: {error}.") from error
