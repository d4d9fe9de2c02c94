"""Small Keras 3 models of every kind, with the inputs and outputs that their bundles have."""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"
import keras


def two_heads() -> Any:
    image = keras.Input((6,), name="image")
    hidden = keras.layers.Dense(8, activation="relu")(image)
    scores = keras.layers.Dense(4, activation="softmax", name="scores")(hidden)
    return keras.Model(image, [scores, keras.layers.Dense(1, name="value")(hidden)])


def _pictures() -> Any:
    layers = [
        keras.layers.Input((8, 8, 1), name="picture"),
        keras.layers.Conv2D(3, 3),
        keras.layers.BatchNormalization(),
    ]
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(2, name="logits")])


def _dict_of_outputs() -> Any:
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    joined = keras.layers.Concatenate()([left, right])
    return keras.Model([left, right], {"sum": keras.layers.Dense(1)(joined), "gate": keras.layers.Dense(2)(right)})


def _ids() -> Any:
    ids = keras.Input((5,), dtype="int64", name="ids")
    return keras.Model(
        ids, keras.layers.Dense(2, name="out")(keras.layers.Flatten()(keras.layers.Embedding(9, 3)(ids)))
    )


MODELS: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "two outputs": (two_heads, [("image", (-1, 6))], [("scores", (-1, 4)), ("value", (-1, 1))]),
    "pictures": (_pictures, [("picture", (-1, 8, 8, 1))], [("logits", (-1, 2))]),
    "a dict of outputs": (
        _dict_of_outputs,
        [("left", (-1, 3)), ("right", (-1, 3))],
        [("gate", (-1, 2)), ("sum", (-1, 1))],
    ),
    "whole numbers in": (_ids, [("ids", (-1, 5))], [("out", (-1, 2))]),
}
