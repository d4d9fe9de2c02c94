"""Publishing and resolving, against a folder and against stores that fail."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError

from model_packager import transfer
from model_packager.errors import (
    ArtifactNotFound,
    BundleInvalid,
    DigestMismatch,
    FetchFailed,
    InvalidReference,
    PackagerError,
    VersionConflict,
)
from model_packager.folder import describe, read_manifest
from model_packager.manifest import File, StoreRoot, parse_reference, parse_root
from model_packager.stores import CHUNK_BYTES, backends, open_store
from model_packager.stores.objects import ObjectStore


@pytest.fixture
def root(tmp_path: Path) -> StoreRoot:
    return parse_root(f"file://{tmp_path}/store")


@pytest.fixture
def store(root: StoreRoot) -> ObjectStore:
    found = open_store(root, create=True)
    assert isinstance(found, ObjectStore)
    return found


def _republish(bundle: Path, card: str) -> str:
    (bundle / "README.md").write_text(card)
    manifest = read_manifest(bundle)
    changed = manifest.model_copy(update={"files": tuple(describe(bundle, file.path) for file in manifest.files)})
    (bundle / "manifest.json").write_bytes(changed.canonical_bytes())
    return changed.digest()


def test_a_published_version_resolves_to_its_digest(bundle: Path, root: StoreRoot, store: ObjectStore) -> None:
    reference = transfer.push(bundle, root, store)
    digest = transfer.resolve(reference, store)
    assert digest == read_manifest(bundle).digest()
    assert transfer.read_manifest(reference, store, digest) == read_manifest(bundle)


def test_publishing_an_equal_bundle_again_is_free(bundle: Path, root: StoreRoot, store: ObjectStore) -> None:
    transfer.push(bundle, root, store)
    sent: list[int] = []
    transfer.push(bundle, root, store, lambda path, size: sent.append(size))
    assert sent
    assert not any(sent)


def test_a_version_cannot_be_published_as_something_else(bundle: Path, root: StoreRoot, store: ObjectStore) -> None:
    transfer.push(bundle, root, store)
    first = read_manifest(bundle).digest()
    second = _republish(bundle, "changed")
    with pytest.raises(VersionConflict) as refused:
        transfer.push(bundle, root, store)
    assert first in str(refused.value)
    assert second in str(refused.value)
    assert transfer.resolve(parse_reference(f"{root}/small:1"), store) == first


def test_the_publisher_that_loses_the_race_is_told(
    bundle: Path, root: StoreRoot, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "sha256:" + "1" * 64
    monkeypatch.setattr(store, "read_pointer", lambda name, version: None)
    monkeypatch.setattr(store, "create_pointer", lambda name, version, digest: other)
    with pytest.raises(VersionConflict, match=other):
        transfer.push(bundle, root, store)


def test_a_broken_bundle_is_not_published(bundle: Path, root: StoreRoot, store: ObjectStore, tmp_path: Path) -> None:
    (bundle / "extra").touch()
    with pytest.raises(BundleInvalid, match="not listed"):
        transfer.push(bundle, root, store)
    assert list((tmp_path / "store").iterdir()) == []


def test_no_version_appears_when_an_upload_fails(
    bundle: Path, root: StoreRoot, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(digest: str, source: Path | bytes, sent: object) -> bool:
        raise FetchFailed("The store is down.")

    monkeypatch.setattr(store, "put_blob", failing)
    with pytest.raises(FetchFailed):
        transfer.push(bundle, root, store)
    assert store.list_versions("small") == []


@pytest.mark.parametrize("size", [100, CHUNK_BYTES + 100], ids=["small", "in parts"])
def test_a_file_that_changes_during_the_upload_is_refused(store: ObjectStore, tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"a" * size)
    digest = f"sha256:{describe(tmp_path, 'file').sha256}"
    (tmp_path / "file").write_bytes(b"b" * size)
    with pytest.raises(BundleInvalid, match="changed while it was read"):
        store.put_blob(digest, tmp_path / "file")
    assert store.blob_size(digest) is None


def test_files_arrive_in_order_and_in_bounded_chunks(store: ObjectStore, tmp_path: Path) -> None:
    contents = {"a": b"", "b": b"x" * (2 * CHUNK_BYTES + 5), "c": b"y"}
    files = []
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        files.append(describe(tmp_path, name))
        store.put_blob(f"sha256:{files[-1].sha256}", tmp_path / name)
    got: dict[str, bytes] = {}
    for file, chunk in transfer.read_files(tuple(files), store):
        assert len(chunk) <= CHUNK_BYTES
        got[file.path] = got.get(file.path, b"") + chunk
    assert got == contents
    assert list(got) == list(contents)


def test_no_more_than_the_window_is_read_ahead(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def read(digest: str, start: int, end: int) -> bytes:
        asked.append(digest)
        return b"x"

    monkeypatch.setattr(store, "read_blob", read)
    files = tuple(File(path=f"f{i:03}", size=1, sha256=f"{i:064x}") for i in range(100))
    stream = transfer.read_files(files, store)
    next(stream)
    assert len(asked) <= transfer.READ_AHEAD
    stream.close()


WRONG: dict[str, tuple[Callable[[str], str], type[PackagerError], str]] = {
    "another version": (lambda digest: "small:2", ArtifactNotFound, "no version 2 of small; it has 1"),
    "another model": (lambda digest: "large:1", ArtifactNotFound, "no version 1 of large, nor any other"),
    "another digest": (lambda digest: "small@sha256:" + "0" * 64, ArtifactNotFound, "does not have the manifest"),
    "the digest of another model": (lambda digest: f"large@{digest}", BundleInvalid, "is of the model small"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_reference_to_something_else_is_refused(bundle: Path, root: StoreRoot, store: ObjectStore, what: str) -> None:
    transfer.push(bundle, root, store)
    tail, error, words = WRONG[what]
    reference = parse_reference(f"{root}/{tail(read_manifest(bundle).digest())}")
    with pytest.raises(error, match=words):
        transfer.read_manifest(reference, store, transfer.resolve(reference, store))


def test_a_version_whose_pointer_leads_to_another_version_is_refused(
    bundle: Path, root: StoreRoot, store: ObjectStore, tmp_path: Path
) -> None:
    transfer.push(bundle, root, store)
    pointer = tmp_path / "store/models/small/2"
    pointer.write_text(json.dumps({"digest": read_manifest(bundle).digest()}))
    reference = parse_reference(f"{root}/small:2")
    with pytest.raises(BundleInvalid, match="is of version 1, not of 2"):
        transfer.read_manifest(reference, store, transfer.resolve(reference, store))


def test_a_digest_that_was_pinned_must_still_be_meant(bundle: Path, root: StoreRoot, store: ObjectStore) -> None:
    reference = transfer.push(bundle, root, store)
    with pytest.raises(DigestMismatch, match="was expected"):
        transfer.resolve(reference, store, digest="sha256:" + "0" * 64)


def test_a_huge_manifest_is_not_even_read(
    bundle: Path, root: StoreRoot, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = transfer.push(bundle, root, store)
    digest = transfer.resolve(reference, store)
    monkeypatch.setattr(store, "blob_size", lambda digest: 1 << 40)
    with pytest.raises(BundleInvalid, match="at most"):
        transfer.read_manifest(reference, store, digest)


def test_a_store_that_this_release_lacks_is_named() -> None:
    with pytest.raises(InvalidReference, match="no store for pvc://"):
        open_store(parse_root("pvc://claim"))


def test_a_folder_that_does_not_exist_has_no_models(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFound, match="does not exist"):
        open_store(parse_root(f"file://{tmp_path}/nowhere"))


@pytest.mark.parametrize("error", [PermissionError("no"), TimeoutError("late"), GenericError("odd\n\nDebug source: x")])
def test_every_error_of_the_store_client_has_a_name(
    bundle: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise error

    for name in ("get", "head", "get_range", "put", "list_with_delimiter"):
        monkeypatch.setattr(obstore, name, broken)
    digest = "sha256:" + "0" * 64
    calls: list[Callable[[], object]] = [
        lambda: store.read_manifest("a", digest, 1),
        lambda: store.read_blob(digest, 0, 1),
        lambda: store.put_bundle(read_manifest(bundle), bundle, transfer.silent),
        lambda: store.read_pointer("a", "1"),
        lambda: store.create_pointer("a", "1", digest),
        lambda: store.list_names(),
        lambda: store.list_versions("a"),
        lambda: store.list_aliases("a"),
        lambda: store.read_alias("a", "prod"),
        lambda: store.move_alias("a", "prod", digest),
    ]
    for call in calls:
        with pytest.raises(FetchFailed) as named:
            call()
        assert "Debug" not in str(named.value)


def test_a_blob_that_another_uploaded_meanwhile_needs_no_success_of_ours(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"a")
    digest = f"sha256:{describe(tmp_path, 'file').sha256}"
    real = obstore.put

    def lost(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        raise GenericError("InvalidBlockList")

    monkeypatch.setattr(obstore, "put", lost)
    assert store.put_blob(digest, tmp_path / "file") is False
    assert store.blob_size(digest) == 1


CLIENTS = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}


@pytest.mark.parametrize("scheme", CLIENTS)
def test_every_client_gets_the_bucket_the_prefix_and_bounds(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(backends, CLIENTS[scheme], lambda bucket, **options: opened.append((bucket, options)))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    backends.open_backend(parse_root(f"{scheme}://models/team"))
    bucket, options = opened[0]
    assert (bucket, options["prefix"]) == ("models", "team")
    assert options["client_options"]["timeout"] == backends.REQUEST_TIMEOUT
    assert options["client_options"]["allow_http"] is False
    assert options["retry_config"]["max_retries"] == backends.RETRIES


def test_a_client_that_is_not_configured_is_a_named_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    with pytest.raises(FetchFailed, match="az://models could not be used"):
        open_store(parse_root("az://models"))


def test_plain_http_is_used_only_for_an_endpoint_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[dict[str, object]] = []
    monkeypatch.setattr(backends, "S3Store", lambda bucket, **kwargs: options.append(kwargs["client_options"]))
    for endpoint in ("http://127.0.0.1:9000", "https://s3.example.com", ""):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        backends.open_s3(parse_root("s3://models"))
    assert [option["allow_http"] for option in options] == [True, False, False]
