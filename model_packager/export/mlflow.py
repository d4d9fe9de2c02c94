"""Models of an MLflow registry or run, and the way back: the run learns which bundle it became.

The tracking server is the one of MLFLOW_TRACKING_URI. An alias is resolved once and recorded as the version that it
meant, so the bundle leads to its experiment also after the alias has moved.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from model_packager.errors import ArtifactNotFound, ExportFailed, FetchFailed, InvalidUsage, PackagerError
from model_packager.export.quiet import first_line, quiet
from model_packager.export.sources import Source, SourceOptions, load_file
from model_packager.manifest import Manifest
from model_packager.schema import MlflowOrigin

# Bounds for MLflow's own client, whose defaults wait for many minutes; what the user set wins.
_BOUNDS: Final = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}
# The entry of a flavour that names its file, in the order in which flavours are tried.
_FLAVOURS: Final = {"onnx": "data", "sklearn": "pickled_model", "xgboost": "data", "lightgbm": "data"}
_KERAS_FILE: Final = "data/model.keras"
_TORCH_FILE: Final = "data/model.pt2"


def load_logged(uri: str, options: SourceOptions) -> Source:
    """Fetch and load a logged model. Raises ArtifactNotFound, FetchFailed, and what the loader of its file raises."""
    for name, value in _BOUNDS.items():
        os.environ.setdefault(name, value)
    pinned = _guard(lambda: _pin(uri), uri)
    with tempfile.TemporaryDirectory(prefix="model-packager-") as temporary:
        folder = Path(_guard(lambda: _download(pinned, temporary), uri))
        if not (folder / "MLmodel").is_file():
            raise InvalidUsage(f"{uri} is no model of MLflow: it has no file MLmodel.")
        try:
            described = Model.load(str(folder))
        except Exception as error:
            raise ExportFailed(f"The file MLmodel of {uri} cannot be read: {first_line(error)}") from error
        source = load_file(_model_file(folder, described.flavors, uri), options)
    source.info = replace(source.info, mlflow=MlflowOrigin(run_id=described.run_id, model=pinned))
    return source


def _download(uri: str, folder: str) -> str:
    with quiet():
        return str(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))


def _pin(uri: str) -> str:
    """The same model under a name that cannot move."""
    if matched := re.fullmatch(r"models:/([^/@]+)@([^/@]+)", uri):
        name, alias = matched.groups()
        return f"models:/{name}/{mlflow.MlflowClient().get_model_version_by_alias(name, alias).version}"
    if re.fullmatch(r"models:/([^/@]+/[0-9]+|m-[0-9a-f]+)", uri) or re.fullmatch(r"runs:/[^/]+/.+", uri):
        return uri
    raise InvalidUsage(
        f"{uri!a} is not the name of a model; use models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID or "
        "runs:/RUN/PATH."
    )


def _guard(call: Callable[[], str], uri: str) -> str:
    try:
        return call()
    except PackagerError:
        raise
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE"):
            raise ArtifactNotFound(f"MLflow has no model {uri}: {first_line(error)}") from error
        raise FetchFailed(f"MLflow at {mlflow.get_tracking_uri()} could not be asked: {first_line(error)}") from error
    except Exception as error:
        raise FetchFailed(f"The files of {uri} could not be fetched: {first_line(error)}") from error


def _model_file(folder: Path, flavours: dict[str, Any], uri: str) -> Path:
    """The file to load. A flavour that holds only a pickle of a module or of a wrapper is refused with the way out."""
    for flavour, key in _FLAVOURS.items():
        if flavour in flavours:
            path = (folder / str(flavours[flavour].get(key))).resolve()
            if not path.is_relative_to(folder.resolve()) or not path.is_file():
                raise InvalidUsage(f"The model {uri} names a file that it does not have: {path.name!a}.")
            if flavour == "lightgbm":
                if path.suffix in (".skops", ".pkl"):
                    raise InvalidUsage(
                        f"The model {uri} holds a wrapper of LightGBM; log its booster instead: "
                        "mlflow.lightgbm.log_model(model.booster_, ...)."
                    )
                return path.rename(path.with_suffix(".txt"))
            return path
    for flavour, name, advice in (
        ("keras", _KERAS_FILE, "log it with Keras 3"),
        ("pytorch", _TORCH_FILE, 'log it with serialization_format="pt2", because a pickled module runs code'),
    ):
        if flavour in flavours:
            if (folder / name).is_file():
                return folder / name
            raise InvalidUsage(f"The model {uri} has no {Path(name).name}; {advice}.")
    raise InvalidUsage(
        f"The model {uri} has the flavours {', '.join(sorted(flavours)) or 'none'}; those that can be exported are "
        f"{', '.join([*_FLAVOURS, 'keras', 'pytorch'])}."
    )


def log_back(manifest: Manifest, say: Callable[[str], None]) -> None:
    """Tag the run and the model version with the bundle, and log parity and latency as metrics of the run.

    The bundle is complete by now and names its run; so a server that cannot be reached is reported, not raised, and
    exporting again repeats this step.
    """
    origin = manifest.provenance.mlflow
    assert origin is not None
    client = mlflow.MlflowClient()
    tags = {"tidegate.bundle": f"{manifest.name}:{manifest.version}", "tidegate.digest": manifest.digest()}
    try:
        for key, value in tags.items():
            if origin.run_id:
                client.set_tag(origin.run_id, key, value)
            if matched := re.fullmatch(r"models:/([^/]+)/([0-9]+)", origin.model):
                client.set_model_version_tag(matched[1], matched[2], key, value)
        if origin.run_id:
            for key, number in _metrics(manifest).items():
                client.log_metric(origin.run_id, key, number)
    except Exception as error:
        say(f"note: the bundle is complete, but MLflow was not told of it: {first_line(error)} Export again to retry.")
        return
    say(f"logged {manifest.digest()} to {origin.model}")


def _metrics(manifest: Manifest) -> dict[str, float]:
    found: dict[str, float] = {}
    for output in manifest.parity.outputs if manifest.parity else ():
        name = re.sub(r"[^0-9A-Za-z_.-]", "_", output.name)
        found[f"tidegate.parity.{name}.max_abs"] = output.max_abs
        found[f"tidegate.parity.{name}.p99_abs"] = output.p99_abs
        if output.argmax_agreement is not None:
            found[f"tidegate.parity.{name}.argmax_agreement"] = output.argmax_agreement
    for point in manifest.profile.points if manifest.profile else ():
        found[f"tidegate.latency.batch_{point.batch_size}.p50_ms"] = point.p50_ms
        found[f"tidegate.latency.batch_{point.batch_size}.p95_ms"] = point.p95_ms
    return found
