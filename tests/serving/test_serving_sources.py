"""Every kind of source, on a real Triton, answers over HTTP and gRPC what was recorded when it was exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed_triton import Served
from source_catalogue import LOGGED, SOURCES

from model_packager import transfer
from model_packager.commands import parity
from model_packager.commands.replay import replay
from model_packager.console import OutputFormat, Reporter
from model_packager.folder import read_manifest, verify_folder
from model_packager.manifest import Manifest, parse_root
from model_packager.stores import open_store

NAMES = [*SOURCES, *(f"mlflow-{flavour}" for flavour in LOGGED)]


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_of_every_source_is_served_with_its_recorded_answers(
    served: Served, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = served.bundles[name]
    manifest = verify_folder(bundle)
    replay(bundle, manifest, served.http, served.grpc, None, Reporter(OutputFormat.json))
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert [result["protocol"] for result in report["protocols"]] == ["http", "grpc"]
    assert all(result["cases"] == len(manifest.golden.cases) > 0 for result in report["protocols"])


@pytest.mark.parametrize("name", NAMES)
def test_a_published_bundle_of_every_source_passes_parity_on_a_real_server(
    served: Served, name: str, tmp_path: Path
) -> None:
    root = parse_root(f"file://{tmp_path}/store")
    transfer.push(served.bundles[name], root, open_store(root, create=True))
    log = tmp_path / "log"
    parity.run(f"{root}/{name}:1", None, [served.http], 60.0, log, Reporter(OutputFormat.json))
    report = json.loads(log.read_bytes())
    assert report["cases"] == len(read_manifest(served.bundles[name]).golden.cases) > 0
    assert (report["differing"], "reason" in report) == (0, False)


def _inputs(manifest: Manifest) -> set[str]:
    return {tensor.datatype for tensor in manifest.contract.inputs}


def _outputs(manifest: Manifest) -> set[str]:
    return {tensor.datatype for tensor in manifest.contract.outputs}


def test_what_was_served_has_every_shape_and_datatype_that_is_hard(bundles: dict[str, Path]) -> None:
    found = {name: read_manifest(bundle) for name, bundle in bundles.items()}
    frameworks = {manifest.provenance.source.framework for manifest in found.values()}
    assert frameworks == {"torch", "sklearn", "xgboost", "lightgbm", "keras", "onnx"}
    assert "BYTES" in _inputs(found["onnx-text"]) & _outputs(found["onnx-text"])
    assert "BYTES" in _outputs(found["sklearn-text-labels"])
    assert _inputs(found["onnx-two-inputs"]) == {"FP32", "INT64"}
    unbatched = {name for name, manifest in found.items() if manifest.contract.max_batch_size == 0}
    assert unbatched == {"torch-one-size", "onnx-one-size", "onnx-scalar"}
    assert {name for name, m in found.items() if m.provenance.precision} == {"onnx-int8", "onnx-fp16"}
    reshaped = {
        name for name, bundle in bundles.items() if "reshape" in (bundle / "models" / name / "config.pbtxt").read_text()
    }
    assert {"onnx-two-inputs", "torch-two-inputs", "sklearn-classifier"} <= reshaped
    assert [tensor.shape for tensor in found["onnx-scalar"].contract.outputs] == [(1,)]
    beside = bundles["onnx-weights-beside"] / "models/onnx-weights-beside/1/model.onnx.data"
    assert beside.stat().st_size >= 64 * 32 * 4
