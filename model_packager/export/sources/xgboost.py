"""XGBoost models, saved by ``save_model`` of a Booster or of an estimator as .ubj or .json; neither runs code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from onnx import ModelProto
from onnxmltools.convert import convert_xgboost  # type: ignore[import-untyped]

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

_CLASSES = ("binary:logistic", "multi:softprob")
_NUMBERS = ("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "count:poisson")


class XgboostSource:
    """Implements :class:`model_packager.export.sources.Source` for a booster of trees."""

    def __init__(self, booster: xgboost.Booster, objective: str, info: SourceInfo, options: SourceOptions) -> None:
        self.info = info
        self._booster = booster
        self._objective = objective
        self._opset = options.opset

    def example(self) -> Arrays | None:
        return example_matrix(self._booster.num_features())

    def convert(self, sample: Arrays) -> ModelProto:
        features = self._booster.num_features()
        if the_matrix(sample).shape[1] != features:
            raise InvalidUsage(f"The model has {features} features; the sample has {the_matrix(sample).shape[1]}.")
        # The estimator of the objective, because the converter guesses the objective of a bare booster from its trees.
        kind = xgboost.XGBClassifier if self._objective in _CLASSES else xgboost.XGBRegressor
        estimator = kind()
        estimator.load_model(bytearray(self._booster.save_raw("ubj")))
        estimator.get_booster().feature_names = None  # the converter takes f0, f1, ... only
        return convert_trees(convert_xgboost, estimator, sample, self._opset)

    def answer(self, inputs: Arrays) -> list[Array]:
        matrix = xgboost.DMatrix(the_matrix(inputs), nthread=1)
        predicted = np.asarray(self._booster.predict(matrix, validate_features=False))
        return class_answers(predicted) if self._objective in _CLASSES else [predicted.reshape(len(predicted), -1)]

    def labels(self) -> tuple[str, ...] | None:
        return None


def load_xgboost(path: Path, options: SourceOptions) -> XgboostSource:
    """Raises ExportFailed if the file is no model of XGBoost, InvalidUsage if it is of a kind without a conversion."""
    booster = xgboost.Booster({"nthread": 1})
    try:
        with quiet():
            booster.load_model(path)
            learner = json.loads(booster.save_config())["learner"]
    except Exception as error:
        first = str(error).strip().splitlines() or [""]
        raise ExportFailed(f"{path} is not a model saved by XGBoost's save_model: {first[0][:200]}") from error
    objective = learner["objective"]["name"]
    if objective == "multi:softmax":  # the same trees; only the label is reported, and clients want the scores too
        objective = "multi:softprob"
        booster.set_param({"objective": objective})
    _check(path, learner, objective)
    attributes = booster.attributes()
    if "scikit_learn" in attributes and "best_iteration" in attributes:
        # An estimator predicts with the trees up to the best round; the file has the later ones too.
        booster = booster[: int(attributes["best_iteration"] or 0) + 1]
    booster.feature_names = None
    info = SourceInfo(
        framework="xgboost",
        version=xgboost.__version__,
        format=path.suffix.lower().lstrip("."),
        content_digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        tools={"onnxmltools": CONVERTER_VERSION},
    )
    return XgboostSource(booster, objective, info, options)


def _check(path: Path, learner: dict[str, Any], objective: str) -> None:
    kind = learner["gradient_booster"]["name"]
    if kind != "gbtree":
        raise InvalidUsage(f"{path} holds a booster of kind {kind}; only gbtree can be converted to ONNX.")
    if objective not in _CLASSES + _NUMBERS:
        raise InvalidUsage(
            f"{path} has the objective {objective}, which cannot be converted to ONNX; "
            f"those that can are {', '.join(_CLASSES + _NUMBERS)}."
        )
    if (targets := int(learner["learner_model_param"].get("num_target", 1))) > 1:
        raise InvalidUsage(f"{path} predicts {targets} targets at once; only one can be converted to ONNX.")
