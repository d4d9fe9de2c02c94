"""A small model of every kind that can be exported, each made and exported into a bundle of its own name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper
from source_keras import MODELS, keras
from source_onnx import FLOAT, WORDS, save_masked_sum, save_network, save_onnx, save_with_weights_beside, save_words
from source_sklearn import ESTIMATORS, saved
from source_torch import FACTORY, Net, Pair, save_program
from source_trees import HOLES, LIGHTGBM, XGBOOST

from model_packager.export import pipeline
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions

# What a maker gives: the source, and options of the export.
Made = tuple[Path | str, dict[str, Any]]
Maker = Callable[[Path], Made]


def _sample(folder: Path, **arrays: Any) -> dict[str, Any]:
    np.savez(folder / "sample.npz", **arrays)
    return {"sample": folder / "sample.npz"}


def _program(model: type[torch.nn.Module], *args: torch.Tensor, dynamic: bool = True) -> Maker:
    def make(folder: Path) -> Made:
        torch.manual_seed(0)
        return save_program(model(), args, folder / "m.pt2", dynamic=dynamic), {}

    return make


def _factory(folder: Path) -> Made:
    (folder / "scale_factory.py").write_text(FACTORY)
    return "scale_factory:good", {}


def _estimator(what: str) -> Maker:
    return lambda folder: (saved(ESTIMATORS[what][0], folder), {})


def _trees(what: str, suffix: str) -> Maker:
    def make(folder: Path) -> Made:
        model = XGBOOST[what][0] if suffix in (".ubj", ".json") else LIGHTGBM[what][0].booster_
        model.save_model(folder / f"m{suffix}")
        return folder / f"m{suffix}", _sample(folder, x=HOLES[:20])

    return make


def _keras(what: str) -> Maker:
    def make(folder: Path) -> Made:
        keras.utils.set_random_seed(0)
        MODELS[what][0]().save(folder / "m.keras")
        return folder / "m.keras", {}

    return make


def _words(folder: Path) -> Made:
    save_words(folder / "m.onnx")
    return folder / "m.onnx", _sample(folder, word=WORDS)


def _masked_sum(folder: Path) -> Made:
    save_masked_sum(folder / "m.onnx")
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    return folder / "m.onnx", _sample(folder, values=values, mask=np.ones((3, 4), np.int64))


def _weights_beside(folder: Path) -> Made:
    save_with_weights_beside(folder / "m.onnx", np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32))
    return folder / "m.onnx", {}


def _one_size(folder: Path) -> Made:
    relu = helper.make_node("Relu", ["x"], ["y"])
    save_onnx(folder / "m.onnx", [relu], [("x", FLOAT, [4, 2])], [("y", FLOAT, [4, 2])])
    return folder / "m.onnx", {}


def _scalar(folder: Path) -> Made:
    total = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    save_onnx(folder / "m.onnx", [total], [("x", FLOAT, [3])], [("y", FLOAT, [])])
    return folder / "m.onnx", {}


def _network(precision: str) -> Maker:
    def make(folder: Path) -> Made:
        save_network(folder)
        return folder / "m.onnx", {"sample": folder / "clear.npz", "precision": precision}

    return make


SOURCES: dict[str, Maker] = {
    "torch-program": _program(Net, torch.rand(3, 6)),
    "torch-two-inputs": _program(Pair, torch.tensor([0, 9, 4]), torch.tensor([[1.0], [2.0], [3.0]])),
    "torch-one-size": _program(Net, torch.rand(3, 6), dynamic=False),
    "torch-factory": _factory,
    "sklearn-classifier": _estimator("a pipeline with a classifier"),
    "sklearn-text-labels": _estimator("a classifier with text labels"),
    "sklearn-regressor": _estimator("a regressor"),
    "xgboost-ubj": _trees("classes", ".ubj"),
    "xgboost-json": _trees("a booster with named features", ".json"),
    "xgboost-number": _trees("a number", ".ubj"),
    "lightgbm-classes": _trees("classes", ".txt"),
    "lightgbm-number": _trees("a number", ".txt"),
    "keras-two-outputs": _keras("two outputs"),
    "keras-dict-of-outputs": _keras("a dict of outputs"),
    "keras-pictures": _keras("pictures"),
    "keras-whole-numbers": _keras("whole numbers in"),
    "onnx-text": _words,
    "onnx-two-inputs": _masked_sum,
    "onnx-weights-beside": _weights_beside,
    "onnx-one-size": _one_size,
    "onnx-scalar": _scalar,
    "onnx-int8": _network("int8"),
    "onnx-fp16": _network("fp16"),
}
LOGGED = ("sklearn", "xgboost", "lightgbm", "onnx", "keras", "pytorch")
"""Flavours of MLflow, by their names in ``source_mlflow``."""


def export_bundle(source: Path | str, name: str, out: Path, **options: Any) -> Path:
    """Export with small batches and return ``out``."""
    request = ExportRequest(
        source=str(source), name=name, version="1", out=out, max_batch_size=4,
        source_options=SourceOptions(opset=18, trust=("sklearn.tree._tree.Tree",)),
    )  # fmt: skip
    pipeline.export(replace(request, **options), lambda line: None)
    return out


def make_bundle(name: str, folder: Path) -> Path:
    """Make the model of this name and export it; both lie below ``folder``."""
    (folder / "source").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "source")
        source, options = SOURCES[name](folder / "source")
        if name == "onnx-weights-beside":  # as if they were larger than a protobuf file can be
            patch.setattr(pipeline, "save", partial(pipeline.save, inline_limit=1000))
        return export_bundle(source, name, folder / "bundle", **options)
