"""Exporting gradient-boosted trees: the booster's own answers, in batches, with the traps of the converters gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
import xgboost
from source_trees import HOLES, LIGHTGBM, NUMBER, TWO, XGBOOST, X

from model_packager.errors import ExportFailed, InvalidUsage, MissingExtra
from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.folder import verify_folder
from model_packager.manifest import Manifest


def _export(path: Path, out: Path, **options: Any) -> Manifest:
    request = ExportRequest(
        source=str(path), name="m", version="1", out=out, source_options=SourceOptions(opset=18), max_batch_size=8
    )
    return export(replace(request, **options), lambda line: None)


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
@pytest.mark.parametrize("what", XGBOOST)
def test_a_model_of_xgboost_gives_the_same_answers_also_where_values_are_missing(
    tmp_path: Path, what: str, suffix: str
) -> None:
    model, outputs = XGBOOST[what]
    model.save_model(tmp_path / f"model{suffix}")
    np.savez(tmp_path / "sample.npz", x=HOLES[:20])
    manifest = _export(tmp_path / f"model{suffix}", tmp_path / "out", sample=tmp_path / "sample.npz")
    assert verify_folder(tmp_path / "out") == manifest
    assert [(t.name, t.datatype, t.shape) for t in manifest.contract.outputs] == outputs
    assert manifest.contract.max_batch_size == 8
    assert manifest.provenance.source.framework == "xgboost"
    answers = onnxruntime.InferenceSession(tmp_path / "out/models/m/1/model.onnx").run(None, {"x": HOLES})
    if isinstance(model, xgboost.XGBClassifier):
        np.testing.assert_array_equal(answers[0], model.predict(HOLES))
        np.testing.assert_allclose(answers[1], model.predict_proba(HOLES), rtol=1e-4, atol=1e-6)
    elif isinstance(model, xgboost.Booster):
        data = xgboost.DMatrix(HOLES, feature_names=model.feature_names)
        want = model.predict(data)
        np.testing.assert_array_equal(answers[0], want if want.ndim == 1 else want.argmax(axis=1))
    else:
        np.testing.assert_allclose(answers[0].ravel(), model.predict(HOLES), rtol=1e-4, atol=1e-5)


def test_an_estimator_stopped_early_predicts_with_its_best_round(tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(n_estimators=60, learning_rate=1.0, early_stopping_rounds=5, n_jobs=1)
    model.fit(X[:60], NUMBER[:60], eval_set=[(X[60:], NUMBER[60:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "m.ubj")
    _export(tmp_path / "m.ubj", tmp_path / "out")
    (answer,) = onnxruntime.InferenceSession(tmp_path / "out/models/m/1/model.onnx").run(None, {"input": X})
    np.testing.assert_allclose(answer.ravel(), model.predict(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("what", LIGHTGBM)
def test_a_model_of_lightgbm_gives_the_same_answers_also_where_values_are_missing(tmp_path: Path, what: str) -> None:
    model, outputs = LIGHTGBM[what]
    model.booster_.save_model(tmp_path / "model.txt")
    np.savez(tmp_path / "sample.npz", x=HOLES[:20])
    manifest = _export(tmp_path / "model.txt", tmp_path / "out", sample=tmp_path / "sample.npz")
    assert [(t.name, t.datatype, t.shape) for t in manifest.contract.outputs] == outputs
    assert manifest.contract.max_batch_size == 8
    graph = onnx.load(tmp_path / "out/models/m/1/model.onnx").graph
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in graph.output} == {"batch"}
    answers = onnxruntime.InferenceSession(tmp_path / "out/models/m/1/model.onnx").run(None, {"x": HOLES})
    np.testing.assert_array_equal(answers[0].ravel(), model.predict(HOLES)) if len(answers) > 1 else (
        np.testing.assert_allclose(answers[0].ravel(), model.predict(HOLES), rtol=1e-4, atol=1e-5)
    )
    if len(answers) > 1:
        np.testing.assert_allclose(answers[1], model.predict_proba(HOLES), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["m.ubj", "m.txt"])
def test_two_exports_of_one_booster_have_one_digest(tmp_path: Path, name: str) -> None:
    models = {"m.ubj": XGBOOST["classes"][0], "m.txt": LIGHTGBM["classes"][0].booster_}
    models[name].save_model(tmp_path / name)
    assert _export(tmp_path / name, tmp_path / "a").digest() == _export(tmp_path / name, tmp_path / "b").digest()


def _linear() -> Any:
    return xgboost.XGBRegressor(booster="gblinear", n_estimators=2).fit(X, NUMBER)


def _ranker() -> Any:
    return xgboost.XGBRanker(n_estimators=2).fit(X, TWO, group=[45, 45])


def _targets() -> Any:
    return xgboost.XGBRegressor(n_estimators=2).fit(X, np.stack([NUMBER, NUMBER + 1], axis=1))


def _own_objective() -> Any:
    def objective(scores: Any, data: Any) -> Any:
        return scores - data.get_label(), np.ones_like(scores)

    return lightgbm.train({"objective": objective, "verbose": -1}, lightgbm.Dataset(X, NUMBER), num_boost_round=2)


REFUSED: dict[str, tuple[str, Any, type[Exception], str]] = {
    "a linear booster": ("m.ubj", _linear, InvalidUsage, "of kind gblinear; only gbtree"),
    "a ranking of xgboost": ("m.ubj", _ranker, InvalidUsage, "the objective rank:ndcg, which cannot be converted"),
    "several targets": ("m.json", _targets, InvalidUsage, "predicts 2 targets"),
    "an objective of one's own": ("m.txt", _own_objective, InvalidUsage, "an objective of its own"),
    "a text that is no model": ("m.txt", b"hello", ExportFailed, "does not begin with tree"),
    "a cut text": ("m.txt", b"tree\nversion=v4\n", ExportFailed, "not a readable model of LightGBM"),
    "bytes that are no model": ("m.ubj", b"\x00\x01", ExportFailed, "not a model saved by XGBoost"),
    "JSON of something else": ("m.json", b'{"a": 1}', ExportFailed, "not a model saved by XGBoost"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_faithful_conversion_is_refused(tmp_path: Path, what: str) -> None:
    name, content, error, words = REFUSED[what]
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        content().save_model(tmp_path / name)
    with pytest.raises(error, match=words):
        _export(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_sample_with_other_features_is_refused(tmp_path: Path) -> None:
    XGBOOST["classes"][0].save_model(tmp_path / "m.ubj")
    np.savez(tmp_path / "sample.npz", x=X[:, :3])
    with pytest.raises(InvalidUsage, match="has 5 features; the sample has 3"):
        _export(tmp_path / "m.ubj", tmp_path / "out", sample=tmp_path / "sample.npz")


@pytest.mark.parametrize(("suffix", "package"), [(".ubj", "xgboost"), (".txt", "lightgbm"), (".keras", "keras")])
def test_a_framework_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, package: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    (tmp_path / f"m{suffix}").write_bytes(b"x")
    with pytest.raises(MissingExtra, match=rf"pip install 'tidegate\[{package}\]'"):
        _export(tmp_path / f"m{suffix}", tmp_path / "out")
