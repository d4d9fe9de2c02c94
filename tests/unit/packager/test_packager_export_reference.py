"""The reference distributions in a bundle: exact, deterministic, and without single values of people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest

from model_packager.errors import InvalidUsage
from model_packager.export.pipeline import export
from model_packager.export.reference import describe_column
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.folder import verify_folder
from model_packager.manifest import Manifest

RNG = np.random.default_rng(4)
IMAGES = RNG.standard_normal((600, 6)).astype(np.float32)


def _export(onnx_file: Path, out: Path, reference: Path, **options: Any) -> Manifest:
    request = ExportRequest(
        source=str(onnx_file), name="m", version="1", out=out, source_options=SourceOptions(opset=18),
        reference=reference, **{"max_batch_size": 32, **options},
    )  # fmt: skip
    return export(request, lambda line: None)


def test_a_bundle_carries_what_is_typical_of_its_inputs_and_outputs(onnx_file: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", image=IMAGES)
    manifest = _export(onnx_file, tmp_path / "a", tmp_path / "r.npz")
    assert "reference/reference.json" in {file.path for file in verify_folder(tmp_path / "a").files}
    assert _export(onnx_file, tmp_path / "b", tmp_path / "r.npz").digest() == manifest.digest()
    found = json.loads((tmp_path / "a/reference/reference.json").read_text())
    assert found["rows"] == 600
    assert [(v["tensor"], v["column"]) for v in found["variables"]] == [
        ("label", 0), *(("scores", i) for i in range(4)), *(("image", i) for i in range(6)),
    ]  # fmt: skip
    (labels,) = onnxruntime.InferenceSession(onnx_file).run(["label"], {"image": IMAGES})
    label, image = found["variables"][0], found["variables"][5]
    assert {c["value"]: c["count"] for c in label["categories"]} == {
        str(name): int((labels == name).sum()) for name in np.unique(labels)
    }
    for cut, share in zip(image["cuts"], image["cdf"], strict=True):
        assert share == pytest.approx((IMAGES[:, 0] <= np.float32(cut)).mean(), abs=1e-6)


def test_cuts_are_distinct_where_one_value_is_most_of_the_column() -> None:
    found = describe_column(np.concatenate([np.zeros(900), np.arange(1, 101)]).astype(np.float32), counted=False)
    assert found["cuts"] == sorted(set(found["cuts"]))
    assert found["cdf"][found["cuts"].index(0.0)] == 0.9


def test_rare_categories_and_outermost_values_are_not_told() -> None:
    words = np.asarray(["common"] * 600 + ["Ann Smith"] * 3, dtype=object)
    found = describe_column(words, counted=True)
    assert (found["categories"], found["other"]) == ([{"value": "common", "count": 600}], 3)
    numbers = np.concatenate([RNG.standard_normal(5000), [1e9, -1e9]])
    assert max(describe_column(numbers, counted=False)["cuts"]) < 10


def test_missing_values_are_counted_and_not_written() -> None:
    found = describe_column(np.asarray([np.nan] * 3 + [np.inf] + [1.0] * 6), counted=False)
    assert (found["missing"], found["cuts"], found["cdf"]) == (4, [1.0], [1.0])
    assert describe_column(np.full(4, np.nan), counted=False)["cuts"] == []


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [(40, {}, "500 at least"), (600, {"max_batch_size": 0}, "takes no batches")],
)
def test_a_reference_that_says_too_little_is_refused(
    onnx_file: Path, tmp_path: Path, rows: int, options: dict[str, Any], words: str
) -> None:
    np.savez(tmp_path / "r.npz", image=IMAGES[:rows])
    with pytest.raises(InvalidUsage, match=words):
        _export(onnx_file, tmp_path / "out", tmp_path / "r.npz", **options)
    assert not (tmp_path / "out").exists()
