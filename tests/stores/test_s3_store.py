"""Publishing to and fetching from a real S3 server: what users are promised about versions and about failures."""

from __future__ import annotations

import json
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_actions import fetch, publish

from model_packager import transfer
from model_packager.errors import (
    ArtifactNotFound,
    BundleInvalid,
    DigestMismatch,
    FetchFailed,
    PackagerError,
    VersionConflict,
)
from model_packager.folder import describe, read_manifest, verify_folder
from model_packager.manifest import MANIFEST_NAME, parse_root
from model_packager.stores import CHUNK_BYTES, open_store


@pytest.fixture
def bucket(s3_environment: Any) -> Iterator[Path]:
    folder = s3_environment.bucket(f"models-{uuid.uuid4().hex[:8]}")
    yield folder
    shutil.rmtree(folder)


def _with_another_readme(bundle: Path, to: Path) -> Path:
    shutil.copytree(bundle, to)
    (to / "README.md").write_text("another card\n")
    manifest = read_manifest(to)
    files = tuple(describe(to, file.path) for file in manifest.files)
    (to / MANIFEST_NAME).write_bytes(manifest.model_copy(update={"files": files}).canonical_bytes())
    return to


@pytest.mark.parametrize("prefix", ["", "/team/a"])
def test_a_published_bundle_comes_back_byte_for_byte(bundle: Path, bucket: Path, tmp_path: Path, prefix: str) -> None:
    uri = publish(bundle, f"s3://{bucket.name}{prefix}")
    assert uri == f"s3://{bucket.name}{prefix}/wide:1"
    pulled = fetch(uri, tmp_path / "bundle")
    assert verify_folder(tmp_path / "bundle").digest() == pulled.digest() == verify_folder(bundle).digest()


def test_a_bundle_is_found_by_its_digest_alone(bundle: Path, bucket: Path, tmp_path: Path) -> None:
    publish(bundle, f"s3://{bucket.name}")
    digest = read_manifest(bundle).digest()
    assert fetch(f"s3://{bucket.name}/wide@{digest}", tmp_path / "bundle").digest() == digest


def test_the_store_holds_blobs_by_content_and_one_pointer(bundle: Path, bucket: Path) -> None:
    publish(bundle, f"s3://{bucket.name}")
    manifest = read_manifest(bundle)
    blobs = {f"sha256:{path.name}" for path in (bucket / "blobs" / "sha256").iterdir()}
    assert blobs == {f"sha256:{file.sha256}" for file in manifest.files} | {manifest.digest()}
    assert json.loads((bucket / "models" / "wide" / "1").read_bytes()) == {"digest": manifest.digest()}


def test_publishing_again_succeeds_and_sends_nothing(bundle: Path, bucket: Path) -> None:
    publish(bundle, f"s3://{bucket.name}")
    sent: list[int] = []
    root = parse_root(f"s3://{bucket.name}")
    transfer.push(bundle, root, open_store(root), lambda path, size: sent.append(size))
    assert sent
    assert sum(sent) == 0


def test_a_publish_that_was_cut_short_is_finished_by_the_next_one(bundle: Path, bucket: Path) -> None:
    publish(bundle, f"s3://{bucket.name}")
    (bucket / "models" / "wide" / "1").unlink()
    missing = next(file for file in read_manifest(bundle).files if file.path.endswith("model.onnx"))
    (bucket / "blobs" / "sha256" / missing.sha256).unlink()
    sent: dict[str, int] = {}
    root = parse_root(f"s3://{bucket.name}")
    transfer.push(bundle, root, open_store(root), lambda path, size: sent.update({path: size}))
    assert {path for path, size in sent.items() if size} == {missing.path}
    assert (bucket / "models" / "wide" / "1").exists()


def test_a_version_never_changes_its_meaning(bundle: Path, bucket: Path, tmp_path: Path) -> None:
    publish(bundle, f"s3://{bucket.name}")
    other = _with_another_readme(bundle, tmp_path / "other")
    with pytest.raises(VersionConflict) as refused:
        publish(other, f"s3://{bucket.name}")
    assert read_manifest(bundle).digest() in str(refused.value)
    assert read_manifest(other).digest() in str(refused.value)


def _alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path, Path], None], type[PackagerError], str]] = {
    "an altered blob": (lambda blob, pointer: _alter(blob), BundleInvalid, "altered"),
    "a truncated blob": (lambda blob, pointer: os.truncate(blob, 1000), BundleInvalid, "has 1000 bytes"),
    "a blob cut between two parts": (
        lambda blob, pointer: os.truncate(blob, CHUNK_BYTES),
        BundleInvalid,
        f"has {CHUNK_BYTES} bytes",
    ),
    "an emptied blob": (lambda blob, pointer: os.truncate(blob, 0), BundleInvalid, "has 0 bytes"),
    "a missing blob": (lambda blob, pointer: blob.unlink(), ArtifactNotFound, "does not have the blob"),
    "a missing pointer": (lambda blob, pointer: pointer.unlink(), ArtifactNotFound, "no version 1 of wide"),
    "a pointer that is no JSON": (lambda blob, pointer: _write(pointer, b"{"), BundleInvalid, "one digest"),
    "a pointer to nothing": (
        lambda blob, pointer: _write(pointer, b'{"digest":"sha256:' + b"0" * 64 + b'"}'),
        ArtifactNotFound,
        "does not have the manifest",
    ),
    "a huge pointer": (lambda blob, pointer: _write(pointer, b" " * 5000), BundleInvalid, "too large"),
}


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_store_is_refused_and_leaves_no_folder(bundle: Path, bucket: Path, tmp_path: Path, what: str) -> None:
    uri = publish(bundle, f"s3://{bucket.name}")
    damage, error, words = DAMAGE[what]
    model = next(file for file in read_manifest(bundle).files if file.path.endswith("model.onnx"))
    damage(bucket / "blobs" / "sha256" / model.sha256, bucket / "models" / "wide" / "1")
    with pytest.raises(error, match=words):
        fetch(uri, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_small_blob_that_was_cut_is_refused(bundle: Path, bucket: Path, tmp_path: Path) -> None:
    uri = publish(bundle, f"s3://{bucket.name}")
    card = next(file for file in read_manifest(bundle).files if file.path == "README.md")
    os.truncate(bucket / "blobs" / "sha256" / card.sha256, 10)
    with pytest.raises(BundleInvalid, match="has 10 bytes"):
        fetch(uri, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_an_altered_manifest_is_refused_by_its_digest(bundle: Path, bucket: Path, tmp_path: Path) -> None:
    uri = publish(bundle, f"s3://{bucket.name}")
    _alter(bucket / "blobs" / "sha256" / read_manifest(bundle).digest().removeprefix("sha256:"))
    with pytest.raises(DigestMismatch):
        fetch(uri, tmp_path / "bundle")


def test_the_versions_that_exist_are_named_when_one_does_not(bundle: Path, bucket: Path, tmp_path: Path) -> None:
    publish(bundle, f"s3://{bucket.name}")
    with pytest.raises(ArtifactNotFound, match=r"no version 9 of wide; it has 1\."):
        fetch(f"s3://{bucket.name}/wide:9", tmp_path / "bundle")


def test_a_bucket_that_does_not_exist_is_not_found(s3_environment: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFound):
        fetch("s3://no-such-bucket/wide:1", tmp_path / "bundle")


def test_wrong_credentials_are_refused_access(
    bundle: Path, bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = publish(bundle, f"s3://{bucket.name}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(FetchFailed, match="refused access"):
        fetch(uri, tmp_path / "bundle")


def test_a_store_that_is_down_fails_within_seconds(
    s3_environment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(FetchFailed, match="could not be used"):
            fetch("s3://models/wide:1", tmp_path / "bundle")


def test_a_store_that_never_answers_is_given_up(
    s3_environment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from model_packager.stores import backends

    monkeypatch.setattr(backends, "REQUEST_TIMEOUT", timedelta(milliseconds=200))
    monkeypatch.setattr(backends, "RETRIES", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(FetchFailed, match="could not be used"):
            fetch("s3://models/wide:1", tmp_path / "bundle")
