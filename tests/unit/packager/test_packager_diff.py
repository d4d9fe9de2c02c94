"""Which changes of a contract break clients, and what the command reports of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from store_bundles import rewrite_manifest

from model_packager.commands.diff import diff
from model_packager.compatibility import compare_contracts
from model_packager.console import OutputFormat, Reporter
from model_packager.errors import ContractBroken
from model_packager.manifest import Contract, Manifest, Tensor, parse_root
from model_packager.stores import open_store
from model_packager.transfer import push

IMAGE = Tensor(name="image", datatype="FP32", shape=(-1, 6))
SCORES = Tensor(name="scores", datatype="FP32", shape=(-1, 4), labels=("a", "b", "c", "d"))
MORE = Tensor(name="more", datatype="FP32", shape=(-1, 1))
OLD = {"inputs": (IMAGE,), "outputs": (SCORES,), "max_batch_size": 8}


def _image(**changes: Any) -> dict[str, Any]:
    return {"inputs": (IMAGE.model_copy(update=changes),)}


def _scores(**changes: Any) -> dict[str, Any]:
    return {"outputs": (SCORES.model_copy(update=changes),)}


ROWS: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "nothing": ({}, "Compatible", []),
    "a renamed input": (_image(name="picture"), "Breaking", ["InputRemoved", "InputAdded"]),
    "a new input": ({"inputs": (IMAGE, MORE)}, "Breaking", ["InputAdded"]),
    "a new output": ({"outputs": (SCORES, MORE)}, "Additive", ["OutputAdded"]),
    "a renamed output": (_scores(name="s"), "Breaking", ["OutputRemoved", "OutputAdded"]),
    "another datatype of an input": (_image(datatype="FP64"), "Breaking", ["DatatypeChanged"]),
    "another datatype of an output": (_scores(datatype="FP16"), "Breaking", ["DatatypeChanged"]),
    "another size of an input": (_image(shape=(-1, 7)), "Breaking", ["ShapeChanged"]),
    "any size of an input": (_image(shape=(-1, -1)), "Additive", ["ShapeWidened"]),
    "any size of an output": (_scores(shape=(-1, -1)), "Breaking", ["ShapeChanged"]),
    "another rank": (_image(shape=(-1, 6, 1)), "Breaking", ["RankChanged"]),
    "other labels": (_scores(labels=("a", "b", "d", "c")), "Breaking", ["LabelsChanged"]),
    "no labels": (_scores(labels=None), "Breaking", ["LabelsChanged"]),
    "a larger batch": ({"max_batch_size": 16}, "Additive", ["MaxBatchSizeRaised"]),
    "a smaller batch": ({"max_batch_size": 4}, "Breaking", ["MaxBatchSizeLowered"]),
    "no batch": ({"max_batch_size": 0}, "Breaking", ["BatchingChanged"]),
    "more and less": (
        {"max_batch_size": 16, **_image(shape=(-1, 7))}, "Breaking", ["ShapeChanged", "MaxBatchSizeRaised"]),
}  # fmt: skip


@pytest.mark.parametrize("what", ROWS)
def test_a_change_of_a_contract_has_a_verdict_with_its_reasons(what: str) -> None:
    changes, verdict, reasons = ROWS[what]
    found = compare_contracts(Contract(**OLD), Contract(**{**OLD, **changes}))
    assert found.verdict == verdict
    assert [change.reason for change in found.changes] == reasons


def test_a_fixed_input_that_was_free_is_narrower() -> None:
    free = Contract(**{**OLD, **_image(shape=(-1, -1))})
    assert [change.reason for change in compare_contracts(free, Contract(**OLD)).changes] == ["ShapeNarrowed"]


def _other(bundle: Path, **changes: Any) -> Path:
    other = Path(shutil.copytree(bundle, bundle.parent / "other"))
    manifest = Manifest.model_validate_json((other / "manifest.json").read_bytes())
    contract = manifest.contract.model_copy(update=changes)
    changed = manifest.model_copy(update={"version": "2", "contract": contract})
    (other / "manifest.json").write_bytes(changed.canonical_bytes())
    return other


def test_the_answers_of_equal_models_are_reported_as_equal(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = _other(bundle, max_batch_size=64)
    diff(str(bundle), str(other), Reporter(OutputFormat.json), allow_breaking=False)
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "Additive"
    assert [(entry["output"], entry["maxAbs"], entry["equal"]) for entry in report["numeric"]] == [
        ("label", 0.0, True), ("scores", 0.0, True),
    ]  # fmt: skip


def test_a_breaking_change_is_reported_and_then_fails(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = _other(bundle, max_batch_size=4)
    with pytest.raises(ContractBroken, match="maximum batch size was 32 and is 4"):
        diff(str(bundle), str(other), Reporter(OutputFormat.text), allow_breaking=False)
    assert capsys.readouterr().out.startswith("Breaking: small:1 -> small:2")
    diff(str(bundle), str(other), Reporter(OutputFormat.text), allow_breaking=True)


def test_published_bundles_are_compared_by_their_answers_too(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = parse_root(f"file://{tmp_path}/store")
    store = open_store(root, create=True)
    for folder in (bundle, _other(bundle, max_batch_size=64)):
        push(folder, root, store)
    diff(f"{root}/small:1", f"{root}/small:2", Reporter(OutputFormat.json), allow_breaking=False)
    assert [entry["equal"] for entry in json.loads(capsys.readouterr().out)["numeric"]] == [True, True]
    diff(f"{root}/small:1", str(bundle), Reporter(OutputFormat.json), allow_breaking=False, answers=False)
    assert json.loads(capsys.readouterr().out)["numeric"] is None


def test_a_version_that_is_too_small_a_step_is_named(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = rewrite_manifest(_other(bundle, max_batch_size=64), "1.0.1")
    diff(str(rewrite_manifest(bundle, "1.0.0")), str(other), Reporter(OutputFormat.text), allow_breaking=False)
    assert "needs the version 1.1.0 or higher" in capsys.readouterr().out
