"""Models of every flavour in a local MLflow registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from source_keras import two_heads  # first: it chooses the backend before MLflow imports Keras

# isort: split

import lightgbm
import mlflow
import mlflow.keras
import mlflow.lightgbm
import mlflow.onnx
import mlflow.pytorch
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import onnx
import pytest
import torch
import xgboost
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from torch import nn

X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
NEEDS = {"pip_requirements": ["none"]}  # else MLflow starts a process for every model to find out


@contextmanager
def logged_models(folder: Path, onnx_file: Path) -> Iterator[dict[str, str]]:
    """URIs of models by flavour, and the ``run`` that logged them."""
    tracking = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", tracking)
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(tracking)
        experiment = mlflow.create_experiment("digits", artifact_location=(folder / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment) as run:
            uris = _log(onnx_file)
        mlflow.MlflowClient().set_registered_model_alias("digits", "champion", "1")
        try:
            yield uris | {"run": run.info.run_id}
        finally:
            mlflow.set_tracking_uri(before)


def _log(onnx_file: Path) -> dict[str, str]:
    booster = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, Y)
    linear = LogisticRegression().fit(X, Y)
    image = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
    torch.manual_seed(0)
    logged = {
        "sklearn": mlflow.sklearn.log_model(
            linear, name="a", registered_model_name="digits", serialization_format="skops", **NEEDS
        ),
        "pickle": mlflow.sklearn.log_model(linear, name="b", serialization_format="cloudpickle", **NEEDS),
        "xgboost": mlflow.xgboost.log_model(
            xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(X, Y), name="c", **NEEDS
        ),
        "lightgbm": mlflow.lightgbm.log_model(booster.booster_, name="d", **NEEDS),
        "wrapper": mlflow.lightgbm.log_model(booster, name="e", **NEEDS),
        "onnx": mlflow.onnx.log_model(onnx.load(onnx_file), name="f", **NEEDS),
        "keras": mlflow.keras.log_model(two_heads(), name="g", **NEEDS),
        "pytorch": mlflow.pytorch.log_model(
            nn.Linear(6, 4).eval(), name="h", serialization_format="pt2", input_example=image, **NEEDS
        ),
        "module": mlflow.pytorch.log_model(nn.Linear(3, 2), name="i", serialization_format="pickle", **NEEDS),
    }
    return {name: info.model_uri for name, info in logged.items()}
