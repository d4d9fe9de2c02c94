"""A real Triton on this machine, and a bundle of every kind of source on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed_triton import Served, install_triton
from serve_process import free_ports
from source_catalogue import LOGGED, SOURCES, export_bundle, make_bundle
from source_mlflow import logged_models
from source_onnx import save_network

from model_packager.commands.serve import is_ready
from model_packager.serverprocess import ServerProcess
from model_packager.tritonserver import Accelerator, Address, find

LOAD_SECONDS = 120


@pytest.fixture(scope="session")
def triton_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PATH on which a ``tritonserver`` is installed; it sees the temporary folders of the tests."""
    program = install_triton(tmp_path_factory.mktemp("installed"), tmp_path_factory.getbasetemp())
    return f"{program.parent}:{os.environ['PATH']}"


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every source, exported: folders by the name of the model. Never change them."""
    folder = tmp_path_factory.mktemp("bundles")
    found = {name: make_bundle(name, folder / name) for name in SOURCES}
    (folder / "logged").mkdir()
    save_network(folder / "logged")
    with logged_models(folder / "logged", folder / "logged/m.onnx") as uris:
        for flavour in LOGGED:
            name = f"mlflow-{flavour}"
            found[name] = export_bundle(uris[flavour], name, folder / name)
    return found


@pytest.fixture(scope="session")
def served(bundles: dict[str, Path], triton_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    repository = tmp_path_factory.mktemp("repository")
    for name, bundle in bundles.items():
        shutil.copytree(bundle / "models" / name, repository / name)
    http, grpc, metrics = free_ports()
    address = Address(host="127.0.0.1", http=http, grpc=grpc, metrics=metrics)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", triton_path)
        launch = find(repository, address, Accelerator.cpu, None, "1g", print)
    server = ServerProcess(launch)
    try:
        server.wait_until(lambda: all(is_ready(address, name) for name in bundles), LOAD_SECONDS)
        yield Served(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", bundles)
    finally:
        server.stop()


@pytest.fixture
def network(bundles: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a bundle that a test may break."""
    return Path(shutil.copytree(bundles["onnx-fp16"], tmp_path / "network"))
