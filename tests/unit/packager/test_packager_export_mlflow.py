"""Exporting from MLflow: a version in production leads back to its run, and the run to the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import mlflow.lightgbm
import mlflow.onnx
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import onnx
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from typer.testing import CliRunner

from model_packager.cli import app
from model_packager.errors import ArtifactNotFound, FetchFailed, InvalidUsage
from model_packager.export.mlflow import log_back
from model_packager.folder import read_manifest, verify_folder
from model_packager.manifest import Manifest

X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
NEEDS = {"pip_requirements": ["none"]}  # else MLflow starts a process for every model to find out


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, onnx_file: Path) -> Any:
    """URIs of models in a local registry, and the run that logged them."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        experiment = mlflow.create_experiment("digits", artifact_location=(folder / "artifacts").as_uri())
        booster = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, Y)
        linear = LogisticRegression().fit(X, Y)
        with mlflow.start_run(experiment_id=experiment) as run:
            uris = {
                "sklearn": mlflow.sklearn.log_model(
                    linear, name="a", registered_model_name="digits", serialization_format="skops", **NEEDS
                ),
                "pickle": mlflow.sklearn.log_model(linear, name="b", serialization_format="cloudpickle", **NEEDS),
                "xgboost": mlflow.xgboost.log_model(
                    xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(X, Y), name="c", **NEEDS
                ),
                "lightgbm": mlflow.lightgbm.log_model(booster.booster_, name="d", **NEEDS),
                "wrapper": mlflow.lightgbm.log_model(booster, name="e", **NEEDS),
                "onnx": mlflow.onnx.log_model(onnx.load(onnx_file), name="f", **NEEDS),
            }
        mlflow.MlflowClient().set_registered_model_alias("digits", "champion", "1")
        yield {name: info.model_uri for name, info in uris.items()} | {"run": run.info.run_id}


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


@pytest.mark.parametrize("flavour", ["xgboost", "lightgbm", "onnx"])
def test_a_flavour_is_exported_as_its_framework(logged: dict[str, str], tmp_path: Path, flavour: str) -> None:
    manifest = _export(logged[flavour], tmp_path / "out")
    assert manifest.provenance.source.framework == flavour
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
