"""Exporting scikit-learn estimators: answers, labels, and what is refused before it can do harm."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
import skops.io  # type: ignore[import-untyped]
from sklearn.cluster import DBSCAN  # type: ignore[import-untyped]
from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]
from sklearn.linear_model import LinearRegression, LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import FunctionTransformer, StandardScaler  # type: ignore[import-untyped]
from source_sklearn import ESTIMATORS, NUMBERS, WORDS, X, saved

from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.export.golden import read_case
from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.folder import verify_folder
from model_packager.manifest import Manifest

TREES = SourceOptions(opset=18, trust=("sklearn.tree._tree.Tree",))


def _export(path: Path, out: Path, **options: Any) -> Manifest:
    request = ExportRequest(source=str(path), name="m", version="1", out=out, source_options=TREES, max_batch_size=8)
    return export(replace(request, **options), lambda line: None)


def _outputs(manifest: Manifest) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(tensor.name, tensor.datatype, tensor.shape) for tensor in manifest.contract.outputs]


@pytest.mark.parametrize("what", ESTIMATORS)
def test_an_estimator_becomes_a_bundle_with_the_same_answers(tmp_path: Path, what: str) -> None:
    estimator, outputs = ESTIMATORS[what]
    np.savez(tmp_path / "sample.npz", x=X[:10])
    manifest = _export(saved(estimator, tmp_path), tmp_path / "out", sample=tmp_path / "sample.npz")
    assert verify_folder(tmp_path / "out") == manifest
    assert _outputs(manifest) == outputs
    assert manifest.contract.inputs[0].name == "x"
    assert manifest.contract.max_batch_size == 8
    assert (manifest.compatibility.opset, manifest.compatibility.ir_version) <= (18, 10)
    assert manifest.provenance.source.framework == "sklearn"
    session = onnxruntime.InferenceSession(tmp_path / "out/models/m/1/model.onnx")
    inputs, expected = read_case(tmp_path / "out", "sample-0")
    np.testing.assert_array_equal(inputs["x"], X[:8])
    first = session.run(None, inputs)[0]
    want = estimator.predict(X[:8]) if hasattr(estimator, "predict") else estimator.transform(X[:8])
    np.testing.assert_allclose(first, want.reshape(first.shape), rtol=1e-3, atol=1e-5) if first.dtype.kind == "f" else (
        np.testing.assert_array_equal(first, want)
    )
    np.testing.assert_array_equal(expected[outputs[0][0]].shape, (8, *outputs[0][2][1:]))


def test_the_classes_of_a_classifier_are_its_labels(tmp_path: Path) -> None:
    manifest = _export(saved(LogisticRegression().fit(X, WORDS), tmp_path), tmp_path / "out")
    assert manifest.contract.outputs[1].labels == ("cat", "dog", "eel")


def test_without_a_sample_the_features_are_known_from_the_fit(tmp_path: Path) -> None:
    manifest = _export(saved(LinearRegression().fit(X, X[:, 0]), tmp_path), tmp_path / "out")
    assert [(tensor.name, tensor.shape) for tensor in manifest.contract.inputs] == [("input", (-1, 5))]


def test_two_exports_of_one_estimator_have_one_digest(tmp_path: Path) -> None:
    path = saved(RandomForestClassifier(5, random_state=0).fit(X, NUMBERS), tmp_path)
    assert _export(path, tmp_path / "a").digest() == _export(path, tmp_path / "b").digest()


@pytest.mark.parametrize("suffix", [".joblib", ".pkl"])
def test_a_pickle_is_loaded_only_on_request(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    joblib.dump(LinearRegression().fit(X, X[:, 0]), path)
    with pytest.raises(InvalidUsage, match="runs whatever code its author put in"):
        _export(path, tmp_path / "out")
    allowed = SourceOptions(opset=18, allow_pickle=True)
    assert _export(path, tmp_path / "out", source_options=allowed).provenance.source.format == "pickle"


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_refused_pickle_has_run_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(InvalidUsage):
        _export(tmp_path / "model.pkl", tmp_path / "out")
    assert not (tmp_path / "exploded").exists()


def test_unknown_types_in_skops_are_named_and_not_loaded(tmp_path: Path) -> None:
    path = saved(make_pipeline(FunctionTransformer(np.fft.fftshift), LinearRegression()).fit(X, X[:, 0]), tmp_path)
    with pytest.raises(InvalidUsage, match=r"--trust numpy\.fft"):
        _export(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"not a zip", ExportFailed, "could not be loaded"),
        ({"a": 1}, InvalidUsage, "holds a dict"),
        (DBSCAN().fit(X), InvalidUsage, "no classifier, regressor or transformer"),
        (LogisticRegression(), InvalidUsage, "is not fitted"),
    ],
    ids=["garbage", "no estimator", "no way to predict", "not fitted"],
)
def test_what_is_not_a_usable_estimator_is_refused(
    tmp_path: Path, content: Any, error: type[Exception], words: str
) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(content) if isinstance(content, bytes) else skops.io.dump(content, path)
    np.savez(tmp_path / "sample.npz", x=X[:4])
    with pytest.raises(error, match=words):
        _export(path, tmp_path / "out", sample=tmp_path / "sample.npz")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arrays", [{"x": X[0]}, {"x": X, "y": X}], ids=["one dimension", "two arrays"])
def test_a_sample_must_be_one_matrix(tmp_path: Path, arrays: dict[str, Any]) -> None:
    np.savez(tmp_path / "sample.npz", **arrays)
    with pytest.raises(InvalidUsage, match="one array of two dimensions"):
        _export(saved(StandardScaler().fit(X), tmp_path), tmp_path / "out", sample=tmp_path / "sample.npz")
