"""A controller learns in a few bytes whether a bundle may take the place of another, however large both are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_packager.commands import bundles, contract
from model_packager.console import OutputFormat, Reporter
from model_packager.errors import ArtifactNotFound, BundleInvalid, DigestMismatch, InvalidUsage, PackagerError
from model_packager.folder import read_manifest
from model_packager.manifest import Contract, Manifest, Tensor, parse_root
from model_packager.stores import open_store
from model_packager.termination import MAX_BYTES
from model_packager.transfer import push

REPORTER = Reporter(OutputFormat.json)


@pytest.fixture
def published(bundle: Path, tmp_path: Path) -> str:
    root = parse_root(f"file://{tmp_path}/store")
    push(bundle, root, open_store(root, create=True))
    return f"{root}/small@{read_manifest(bundle).digest()}"


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    return read_manifest(bundle)


def successor(manifest: Manifest, place: Path, **changes: Any) -> Path:
    """The manifest of a bundle with another contract, as ``resolve --keep`` leaves it."""
    changed = manifest.model_copy(update={"contract": manifest.contract.model_copy(update=changes)})
    path = place / "next.json"
    path.write_bytes(changed.canonical_bytes())
    return path


def judge(uri: str, path: Path, digest: str | None = None) -> dict[str, Any]:
    log = path.with_suffix(".log")
    try:
        contract.run(uri, path, digest, log, REPORTER)
    finally:
        assert len(log.read_bytes()) <= MAX_BYTES
    found: dict[str, Any] = json.loads(log.read_bytes())
    return found


def test_what_resolve_keeps_is_the_verified_manifest(published: str, manifest: Manifest, tmp_path: Path) -> None:
    bundles.resolve(published, manifest.digest(), None, tmp_path / "kept.json", None, REPORTER)
    assert (tmp_path / "kept.json").read_bytes() == manifest.canonical_bytes()
    report = judge(published, tmp_path / "kept.json", manifest.digest())
    assert report == {"old": manifest.digest(), "new": manifest.digest(), "verdict": "Compatible", "message": ""}


def test_more_than_was_promised_is_additive(published: str, manifest: Manifest, tmp_path: Path) -> None:
    more = (*manifest.contract.outputs, Tensor(name="mood", datatype="FP32", shape=(-1,)))
    report = judge(published, successor(manifest, tmp_path, outputs=more))
    assert (report["verdict"], report["message"]) == ("Additive", "the output 'mood' is new")
    assert report["old"] == manifest.digest()
    assert report["new"] not in ("", report["old"])


def test_less_than_was_promised_is_breaking_and_no_failure(published: str, manifest: Manifest, tmp_path: Path) -> None:
    renamed = (manifest.contract.inputs[0].model_copy(update={"name": "picture"}),)
    report = judge(published, successor(manifest, tmp_path, inputs=renamed))
    assert report["verdict"] == "Breaking"
    assert report["message"].startswith("the input 'image' is gone or renamed; the input 'picture' is new, which")


def test_a_lower_batch_size_and_other_labels_are_seen(published: str, manifest: Manifest, tmp_path: Path) -> None:
    low = judge(published, successor(manifest, tmp_path, max_batch_size=manifest.contract.max_batch_size - 1))
    assert low["verdict"] == "Breaking"
    assert "maximum batch size" in low["message"]


@pytest.mark.parametrize("letter", ["a", "\N{GRINNING FACE}"])
def test_contracts_of_any_size_give_a_report_that_fits(
    published: str, manifest: Manifest, tmp_path: Path, letter: str
) -> None:
    names = [letter * (256 - 4) + f"{number:04}" for number in range(256)]
    many = tuple(Tensor(name=name, datatype="FP32", shape=(-1,) * 32) for name in names)
    whole = Contract(inputs=manifest.contract.inputs, outputs=many, max_batch_size=32)
    report = judge(published, successor(manifest, tmp_path, outputs=whole.outputs))
    assert report["verdict"] == "Breaking"
    assert report["message"].startswith("the output 'label' is gone or renamed; the output 'scores' is gone")
    assert report["message"].endswith(f"; and {256 + 2 - contract.TOLD} more")


def test_what_breaks_clients_is_told_first(published: str, manifest: Manifest, tmp_path: Path) -> None:
    outputs = tuple(Tensor(name=f"new{number}", datatype="FP32", shape=(-1,)) for number in range(5))
    kept = manifest.contract.outputs
    report = judge(published, successor(manifest, tmp_path, outputs=(*outputs, *kept), max_batch_size=2))
    assert report["message"].startswith("the maximum batch size was 32 and is 2; the output 'new0' is new; ")


@pytest.mark.parametrize(
    ("content", "failure"),
    [(b"", InvalidUsage), (b"{}", BundleInvalid), (b" " * (9 << 20), BundleInvalid)],
    ids=["empty", "no manifest", "too large"],
)
def test_a_file_that_is_no_manifest_is_named(
    published: str, tmp_path: Path, content: bytes, failure: type[PackagerError]
) -> None:
    (tmp_path / "next.json").write_bytes(content)
    with pytest.raises(failure):
        judge(published, tmp_path / "next.json")


def test_a_bundle_that_is_gone_is_reported(published: str, manifest: Manifest, tmp_path: Path) -> None:
    path = successor(manifest, tmp_path)
    gone = published[:-64] + "0" * 64
    with pytest.raises(ArtifactNotFound):
        judge(gone, path)
    assert json.loads(path.with_suffix(".log").read_bytes())["reason"] == "ArtifactNotFound"
    with pytest.raises(DigestMismatch):
        judge(published, path, "sha256:" + "0" * 64)
