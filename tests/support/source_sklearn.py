"""Small fitted estimators of every kind, with the outputs that their bundles have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import skops.io  # type: ignore[import-untyped]
from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]
from sklearn.linear_model import LinearRegression, LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
from sklearn.svm import LinearSVC  # type: ignore[import-untyped]

RNG = np.random.default_rng(11)
X = RNG.standard_normal((60, 5)).astype(np.float32)
NUMBERS = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)
WORDS = np.asarray(["cat", "dog", "eel"])[NUMBERS]


ESTIMATORS: dict[str, tuple[Any, list[tuple[str, str, tuple[int, ...]]]]] = {
    "a pipeline with a classifier": (
        make_pipeline(StandardScaler(), LogisticRegression()).fit(X, NUMBERS),
        [("label", "INT64", (-1, 1)), ("probabilities", "FP32", (-1, 3))],
    ),
    "a classifier with text labels": (
        LogisticRegression().fit(X, WORDS),
        [("label", "BYTES", (-1, 1)), ("probabilities", "FP32", (-1, 3))],
    ),
    "a forest": (
        RandomForestClassifier(5, random_state=0).fit(X, NUMBERS),
        [("label", "INT64", (-1, 1)), ("probabilities", "FP32", (-1, 3))],
    ),
    "a classifier without probabilities": (
        LinearSVC().fit(X, NUMBERS),
        [("label", "INT64", (-1, 1)), ("probabilities", "FP32", (-1, 3))],
    ),
    "a regressor": (LinearRegression().fit(X, X[:, 0] * 2), [("variable", "FP32", (-1, 1))]),
    "a transformer": (StandardScaler().fit(X), [("variable", "FP32", (-1, 5))]),
}


def saved(estimator: Any, tmp_path: Path) -> Path:
    path = tmp_path / "model.skops"
    skops.io.dump(estimator, path)
    return path
