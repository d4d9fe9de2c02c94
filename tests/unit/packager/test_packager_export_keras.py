"""Exporting Keras 3 models: names that people gave, real batches, and no code that nobody allowed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
from source_keras import MODELS, keras, two_heads

from model_packager.errors import ExportFailed, InvalidUsage
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


@pytest.mark.parametrize("what", MODELS)
def test_a_model_of_keras_keeps_its_names_and_its_answers(tmp_path: Path, what: str) -> None:
    build, inputs, outputs = MODELS[what]
    keras.utils.set_random_seed(0)
    model = build()
    model.save(tmp_path / "m.keras")
    manifest = _export(tmp_path / "m.keras", tmp_path / "out")
    assert verify_folder(tmp_path / "out") == manifest
    assert [(t.name, t.shape) for t in manifest.contract.inputs] == inputs
    assert [(t.name, t.shape) for t in manifest.contract.outputs] == outputs
    assert manifest.contract.max_batch_size == 8
    assert manifest.compatibility.opset == 18
    assert manifest.provenance.source.framework == "keras"
    values = np.random.default_rng(1)
    asked = {t.name: values.uniform(0, 8, (5, *t.shape[1:])) for t in manifest.contract.inputs}
    asked = {
        t.name: asked[t.name].astype("int64" if t.datatype == "INT64" else "float32") for t in manifest.contract.inputs
    }
    answers = onnxruntime.InferenceSession(tmp_path / "out/models/m/1/model.onnx").run(None, asked)
    want = keras.tree.flatten(
        model(list(asked.values()) if len(asked) > 1 else next(iter(asked.values())), training=False)
    )
    for got, expected in zip(answers, want, strict=True):
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-3, atol=1e-5)


def test_two_exports_of_one_model_have_one_digest(tmp_path: Path) -> None:
    two_heads().save(tmp_path / "m.keras")
    first, second = (_export(tmp_path / "m.keras", tmp_path / out) for out in ("a", "b"))
    assert first.digest() == second.digest()


def test_code_inside_a_model_is_run_only_on_request(tmp_path: Path) -> None:
    double = keras.layers.Lambda(lambda x: x * 2, output_shape=(3,), name="double")
    keras.Sequential([keras.layers.Input((3,), name="x"), double]).save(tmp_path / "m.keras")
    with pytest.raises(InvalidUsage, match="holds Python code"):
        _export(tmp_path / "m.keras", tmp_path / "out")
    _export(tmp_path / "m.keras", tmp_path / "out", source_options=SourceOptions(opset=18, allow_pickle=True))
    (answer,) = onnxruntime.InferenceSession(tmp_path / "out/models/m/1/model.onnx").run(
        None, {"x": np.ones((2, 3), np.float32)}
    )
    assert (answer == 2).all()


def test_what_is_no_keras_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(b"garbage")
    with pytest.raises(ExportFailed, match="could not be loaded as a Keras 3 model"):
        _export(tmp_path / "m.keras", tmp_path / "out")
