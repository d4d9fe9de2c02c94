"""The example that everyone starts with: its two versions can replace each other under the same clients."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.manifest import Contract

TRAIN = Path(__file__).parents[3] / "examples" / "digits" / "train.py"


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("digits_train", TRAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "digits_train", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "EPOCHS", 1)
    return module


def test_both_versions_have_one_contract(train: ModuleType, tmp_path: Path) -> None:
    data = load_digits()
    images, labels = data.data[:500].astype(np.float32), data.target[:500].astype(np.int64)
    np.savez(tmp_path / "sample.npz", image=images[:8])
    train.train_v1(images, labels, tmp_path / "v1.skops")
    train.train_v2(images, labels, tmp_path / "v2.pt2")

    def contract(source: str, version: str) -> Contract:
        request = ExportRequest(
            source=str(tmp_path / source),
            name="digits",
            version=version,
            out=tmp_path / f"out-{version}",
            source_options=SourceOptions(opset=18),
            sample=tmp_path / "sample.npz",
            labels=tuple("0123456789"),
        )
        return export(request, lambda line: None).contract

    first = contract("v1.skops", "1")
    assert first == contract("v2.pt2", "2")
    assert [(t.name, t.datatype, t.shape) for t in (*first.inputs, *first.outputs)] == [
        ("image", "FP32", (-1, 64)),
        ("label", "INT64", (-1, 1)),
        ("probabilities", "FP32", (-1, 10)),
    ]
    assert first.max_batch_size == 32
