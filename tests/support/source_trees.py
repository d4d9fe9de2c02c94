"""Small boosted trees of every kind, with the outputs that their bundles have."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import xgboost

RNG = np.random.default_rng(5)
X = RNG.standard_normal((90, 5)).astype(np.float32)
HOLES = np.where(RNG.random(X.shape) < 0.2, np.nan, X).astype(np.float32)
TWO = (X[:, 0] > 0).astype(np.int64)
THREE = TWO + (X[:, 1] > 0)
NUMBER = X[:, 0] * 2 + X[:, 1]
SCORES = [("label", "INT64", (-1, 1)), ("probabilities", "FP32", (-1, 3))]
PAIR = [("label", "INT64", (-1, 1)), ("probabilities", "FP32", (-1, 2))]
ONE = [("variable", "FP32", (-1, 1))]
SMALL = {"n_estimators": 4, "n_jobs": 1}
LEAVES = {**SMALL, "min_child_samples": 2, "verbose": -1}


def _native(objective: str) -> xgboost.Booster:
    data = xgboost.DMatrix(X, THREE, feature_names=["age", "height", "weight", "rate", "size"])
    return xgboost.train({"objective": objective, "num_class": 3}, data, num_boost_round=3)


XGBOOST: dict[str, tuple[Any, list[Any]]] = {
    "classes": (xgboost.XGBClassifier(**SMALL).fit(X, THREE), SCORES),
    "two classes": (xgboost.XGBClassifier(**SMALL).fit(X, TWO), PAIR),
    "a number": (xgboost.XGBRegressor(**SMALL).fit(X, NUMBER), ONE),
    "a count": (xgboost.XGBRegressor(objective="count:poisson", **SMALL).fit(X, np.abs(NUMBER)), ONE),
    "a forest": (xgboost.XGBRFRegressor(**SMALL).fit(X, NUMBER), ONE),
    "a booster with named features": (_native("multi:softprob"), SCORES),
    "a booster that reports labels only": (_native("multi:softmax"), SCORES),
}


LIGHTGBM: dict[str, tuple[Any, list[Any]]] = {
    "classes": (lightgbm.LGBMClassifier(**LEAVES).fit(X, THREE), SCORES),
    "two classes": (lightgbm.LGBMClassifier(**LEAVES).fit(X, TWO), PAIR),
    "a number": (lightgbm.LGBMRegressor(**LEAVES).fit(X, NUMBER), ONE),
    "a count": (lightgbm.LGBMRegressor(objective="poisson", **LEAVES).fit(X, np.abs(NUMBER)), ONE),
    "a ranking": (lightgbm.LGBMRanker(**LEAVES).fit(X, TWO, group=[45, 45]), ONE),
}
