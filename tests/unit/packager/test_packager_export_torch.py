"""Exporting PyTorch programs and factories: names, batches and answers survive."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
import torch
from source_torch import FACTORY, Net, Pair, save_program

from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.export.golden import read_case
from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.folder import read_manifest, verify_folder
from model_packager.manifest import Manifest


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save_program(Net(), (torch.randn(3, 6),), tmp_path_factory.mktemp("torch") / "net.pt2")


def _export(source: str | Path, out: Path, **options: Any) -> Manifest:
    request = ExportRequest(
        source=str(source), name="m", version="1", out=out, source_options=SourceOptions(opset=18), max_batch_size=8
    )
    return export(replace(request, **options), lambda line: None)


@pytest.fixture(scope="module")
def exported(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "out"
    _export(program, out)
    return out


def test_a_program_keeps_its_names_and_its_batch(exported: Path) -> None:
    manifest = verify_folder(exported)
    assert [(t.name, t.datatype, t.shape) for t in manifest.contract.inputs] == [("image", "FP32", (-1, 6))]
    assert [(t.name, t.datatype, t.shape) for t in manifest.contract.outputs] == [
        ("label", "INT64", (-1, 1)),
        ("scores", "FP32", (-1, 4)),
    ]
    assert manifest.contract.max_batch_size == 8
    assert (manifest.compatibility.opset, manifest.compatibility.ir_version) == (18, 10)
    assert manifest.compatibility.min_onnxruntime == "1.19"


def test_the_model_answers_as_the_program_at_every_batch_size(exported: Path, program: Path) -> None:
    module = torch.export.load(program).module()
    session = onnxruntime.InferenceSession(exported / "models/m/1/model.onnx")
    for rows in (1, 2, 5, 8):
        image = torch.randn(rows, 6)
        want = module(image)
        label, scores = session.run(["label", "scores"], {"image": image.numpy()})
        np.testing.assert_array_equal(label, want["label"].numpy())
        np.testing.assert_allclose(scores, want["scores"].detach().numpy(), rtol=1e-3, atol=1e-5)


def test_the_model_is_one_file_without_paths_of_the_machine(exported: Path) -> None:
    files = [path.name for path in (exported / "models/m/1").iterdir()]
    assert files == ["model.onnx"]
    model = onnx.load(exported / "models/m/1/model.onnx")
    assert b"site-packages" not in model.SerializeToString()
    assert not any(node.metadata_props for node in model.graph.node)


def test_a_program_exported_in_another_process_has_the_same_digest(
    program: Path, exported: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "model_packager.cli", "export", str(program), "--name", "m", "--version", "1"]
    subprocess.run(
        [*command, "--max-batch-size", "8", "-o", str(tmp_path / "again")], check=True, capture_output=True, timeout=300
    )
    assert read_manifest(tmp_path / "again").digest() == read_manifest(exported).digest()


def test_a_program_for_one_size_is_served_without_batching(tmp_path: Path) -> None:
    path = save_program(Net(), (torch.randn(3, 6),), tmp_path / "fixed.pt2", dynamic=False)
    manifest = _export(path, tmp_path / "out")
    assert manifest.contract.max_batch_size == 0
    assert manifest.contract.inputs[0].shape == (3, 6)


def test_ids_stay_within_the_range_of_the_sample(tmp_path: Path) -> None:
    args = (torch.tensor([0, 9, 4]), torch.tensor([[1.0], [2.0], [3.0]]))
    manifest = _export(save_program(Pair(), args, tmp_path / "pair.pt2"), tmp_path / "out", rename={"weight": "w"})
    assert [(t.name, t.datatype, t.shape) for t in manifest.contract.inputs] == [
        ("ids", "INT64", (-1, 1)),
        ("w", "FP32", (-1, 1)),
    ]
    inputs, _ = read_case(tmp_path / "out", "seed-1-batch-3")
    assert ((inputs["ids"] >= 0) & (inputs["ids"] <= 9)).all()


@pytest.fixture
def factory_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"factory_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize("function", ["good", "positional"])
def test_a_factory_gets_a_free_batch_even_from_a_sample_of_one(
    factory_module: str, tmp_path: Path, function: str
) -> None:
    manifest = _export(f"{factory_module}:{function}", tmp_path / "out")
    assert manifest.contract.max_batch_size == 8
    assert [(t.name, t.shape) for t in manifest.contract.inputs] == [("x", (-1, 3))]
    assert manifest.provenance.source.format == "factory"


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        ("number", InvalidUsage, r"returned a int; it must return \(nn.Module"),
        ("broken", ExportFailed, "RuntimeError: no weights here"),
        ("missing", ExportFailed, "could not be called: AttributeError"),
    ],
)
def test_a_factory_that_fails_is_named(
    factory_module: str, tmp_path: Path, function: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        _export(f"{factory_module}:{function}", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("x.pt2", InvalidUsage, "is not a program as torch.export.save writes it"),
        ("x.pt", InvalidUsage, "is a checkpoint"),
        ("x.ckpt", InvalidUsage, "is a checkpoint"),
        ("x.h5", InvalidUsage, "no known suffix"),
        ("missing.pt2", InvalidUsage, "neither a file nor"),
    ],
)
def test_what_is_not_a_source_is_refused(tmp_path: Path, name: str, error: type[Exception], words: str) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"garbage")
    with pytest.raises(error, match=words):
        _export(tmp_path / name, tmp_path / "out")


def test_a_sample_with_other_names_is_refused(program: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "sample.npz", picture=np.ones((2, 6), np.float32))
    with pytest.raises(InvalidUsage, match="has the inputs"):
        _export(program, tmp_path / "out", sample=tmp_path / "sample.npz")
