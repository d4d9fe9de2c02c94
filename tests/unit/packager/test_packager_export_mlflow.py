"""Exporting from MLflow: a version in production leads back to its run, and the run to the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from source_mlflow import logged_models
from typer.testing import CliRunner

from model_packager.cli import app
from model_packager.errors import ArtifactNotFound, FetchFailed, InvalidUsage
from model_packager.export.mlflow import log_back
from model_packager.folder import read_manifest, verify_folder
from model_packager.manifest import Manifest


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, onnx_file: Path) -> Iterator[dict[str, str]]:
    """URIs of models in a local registry, and the run that logged them."""
    with logged_models(tmp_path_factory.mktemp("mlflow"), onnx_file) as uris:
        yield uris


def _export(uri: str, out: Path, *options: str) -> Manifest:
    command = ["export", uri, "--name", "m", "--version", "1", "-o", str(out), *options]
    result = CliRunner().invoke(app, command)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return read_manifest(out)


@pytest.mark.parametrize("form", ["models:/digits@champion", "models:/digits/1", "runs:/{run}/a"])
def test_a_model_is_found_by_every_name_and_leads_back_to_its_run(
    logged: dict[str, str], tmp_path: Path, form: str
) -> None:
    uri = form.format(run=logged["run"])
    manifest = _export(uri, tmp_path / "out")
    assert verify_folder(tmp_path / "out") == manifest
    assert manifest.provenance.mlflow is not None
    assert manifest.provenance.mlflow.run_id == logged["run"]
    assert manifest.provenance.mlflow.model == ("models:/digits/1" if form.startswith("models") else uri)


def test_a_run_gets_the_digest_the_parity_and_the_latency_of_its_bundle(logged: dict[str, str], tmp_path: Path) -> None:
    manifest = _export("models:/digits@champion", tmp_path / "out", "--profile", "--max-batch-size", "2")
    client = mlflow.MlflowClient()
    run = client.get_run(logged["run"]).data
    assert run.tags["tidegate.digest"] == manifest.digest()
    assert run.tags["tidegate.bundle"] == "m:1"
    assert run.metrics["tidegate.latency.batch_2.p95_ms"] > 0
    assert run.metrics["tidegate.parity.probabilities.argmax_agreement"] == 1
    assert client.get_model_version("digits", "1").tags["tidegate.digest"] == manifest.digest()


@pytest.mark.parametrize(
    ("flavour", "framework"),
    [("xgboost", "xgboost"), ("lightgbm", "lightgbm"), ("onnx", "onnx"), ("keras", "keras"), ("pytorch", "torch")],
)
def test_a_flavour_is_exported_as_its_framework(
    logged: dict[str, str], tmp_path: Path, flavour: str, framework: str
) -> None:
    manifest = _export(logged[flavour], tmp_path / "out")
    assert manifest.provenance.source.framework == framework
    assert manifest.contract.max_batch_size > 1
    assert manifest.provenance.mlflow is not None
    assert manifest.provenance.mlflow.model == logged[flavour]


def test_a_pickle_in_mlflow_is_loaded_only_on_request(logged: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InvalidUsage, match="runs whatever code its author put in"):
        _export(logged["pickle"], tmp_path / "out")
    assert _export(logged["pickle"], tmp_path / "out", "--allow-pickle").provenance.source.format == "pickle"


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("models:/digits@loser", ArtifactNotFound, "MLflow has no model models:/digits@loser"),
        ("models:/digits/9", ArtifactNotFound, "MLflow has no model models:/digits/9"),
        ("models:/digits/Production", InvalidUsage, "is not the name of a model"),
        ("models:/digits/latest", InvalidUsage, "is not the name of a model"),
        ("wrapper", InvalidUsage, "log its booster instead"),
        ("module", InvalidUsage, 'has no model.pt2; log it with serialization_format="pt2"'),
    ],
)
def test_what_mlflow_does_not_have_is_named(
    logged: dict[str, str], tmp_path: Path, uri: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        _export(logged.get(uri, uri), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_server_that_cannot_be_reached_is_named_and_loses_no_bundle(
    logged: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = _export("models:/digits/1", tmp_path / "out")
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    try:
        mlflow.set_tracking_uri("http://127.0.0.1:9")
        said: list[str] = []
        log_back(manifest, said.append)
        assert said[0].startswith("note: the bundle is complete, but MLflow was not told of it")
        with pytest.raises(FetchFailed, match=r"MLflow at http://127\.0\.0\.1:9 could not be asked"):
            _export("models:/digits@champion", tmp_path / "again")
    finally:
        mlflow.set_tracking_uri(before)
