"""LightGBM models in the text form of ``Booster.save_model``, which holds numbers and no code."""

from __future__ import annotations

import hashlib
from pathlib import Path

import lightgbm
import numpy as np
from onnx import ModelProto
from onnxmltools.convert import convert_lightgbm  # type: ignore[import-untyped]

from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.export.quiet import quiet
from model_packager.export.sources import SourceInfo, SourceOptions
from model_packager.export.sources.matrix import (
    CONVERTER_VERSION,
    class_answers,
    convert_trees,
    example_matrix,
    the_matrix,
)
from model_packager.export.tensors import Array, Arrays

_HEADER = b"tree\n"
_CLASSES = ("binary", "multiclass", "multiclassova")


class LightgbmSource:
    """Implements :class:`model_packager.export.sources.Source` for a booster."""

    def __init__(self, booster: lightgbm.Booster, objective: str, info: SourceInfo, options: SourceOptions) -> None:
        self.info = info
        self._booster = booster
        self._classifies = objective in _CLASSES
        self._opset = options.opset

    def example(self) -> Arrays | None:
        return example_matrix(self._booster.num_feature())

    def convert(self, sample: Arrays) -> ModelProto:
        features = self._booster.num_feature()
        if the_matrix(sample).shape[1] != features:
            raise InvalidUsage(f"The model has {features} features; the sample has {the_matrix(sample).shape[1]}.")
        return convert_trees(_converter, self._booster, sample, self._opset)

    def answer(self, inputs: Arrays) -> list[Array]:
        predicted = np.asarray(self._booster.predict(the_matrix(inputs), num_threads=1))
        return class_answers(predicted) if self._classifies else [predicted.reshape(len(predicted), -1)]

    def labels(self) -> tuple[str, ...] | None:
        return None


def load_lightgbm(path: Path, options: SourceOptions) -> LightgbmSource:
    """Raises ExportFailed if the file is not in LightGBM's text form."""
    data = path.read_bytes()
    if not data.startswith(_HEADER):
        raise ExportFailed(
            f"{path} is not a model saved by LightGBM's Booster.save_model: it does not begin with tree."
        )
    try:
        with quiet():
            booster = lightgbm.Booster(model_str=data.decode("utf-8"), params={"verbosity": -1})
    except Exception as error:
        raise ExportFailed(f"{path} is not a readable model of LightGBM: {str(error)[:200]}") from error
    objective = str(booster.params.get("objective", ""))
    if objective in ("", "custom", "none"):
        raise InvalidUsage(
            f"{path} has an objective of its own, so how scores become predictions is not in the file; train it with "
            "an objective that LightGBM knows."
        )
    info = SourceInfo(
        framework="lightgbm",
        version=lightgbm.__version__,
        format="txt",
        content_digest=hashlib.sha256(data).hexdigest(),
        tools={"onnxmltools": CONVERTER_VERSION},
    )
    return LightgbmSource(booster, objective, info, options)


def _converter(*args: object, **options: object) -> ModelProto:
    # Without zipmap=False the probabilities become a sequence of maps, which cannot be served.
    model: ModelProto = convert_lightgbm(*args, zipmap=False, **options)
    return model
