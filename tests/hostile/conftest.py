"""A good bundle, made once, and a watched place to break copies of it in."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hostile_onnx import good_model
from hostile_stage import Stage

from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.stores import open_store
from model_packager.transfer import push
from model_packager.uri import parse_root


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bundle`` and ``store``, which has the bundle as small:1."""
    top = tmp_path_factory.mktemp("pristine")
    onnx.save(good_model(), top / "small.onnx")
    np.savez(top / "sample.npz", image=np.ones((2, 4), np.float32))
    options = SourceOptions(opset=18)
    request = ExportRequest(
        source=str(top / "small.onnx"), name="small", version="1", out=top / "bundle", source_options=options
    )
    export(request, lambda line: None)
    root = parse_root(f"file://{top}/store")
    push(top / "bundle", root, open_store(root, create=True))
    return top


@pytest.fixture
def stage(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The current folder, temporary files and a folder that is none of our business are all below ``top``."""
    for name in ("work", "outside", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"s" * 4096)
    shutil.copytree(pristine, tmp_path / "work", dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(pristine / "cache"))  # PyTorch makes it when it loads
    return Stage(tmp_path, monkeypatch, pristine)
