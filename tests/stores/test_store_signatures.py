"""Signatures in every kind of store: a real S3 server, a real registry, and folders."""

from __future__ import annotations

import json
import shutil
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from registry_server import RegistryServer
from signing_keys import key_pair
from store_bundles import variant

from model_packager import placing, transfer
from model_packager.commands.bundles import open_signed
from model_packager.errors import ArtifactNotFound, FetchFailed, SignatureInvalid, SignatureMissing
from model_packager.folder import read_manifest
from model_packager.keys import read_keys
from model_packager.manifest import Manifest, digest_of, parse_root
from model_packager.signing import MAX_SIGNATURE_BYTES, parse_signature, sign_manifest
from model_packager.stores import Store, oci, open_store
from model_packager.stores.oci_images import Repository
from model_packager.stores.oci_signatures import SIGNATURE_TYPE, signature_tag

KEY_ID = "a" * 64
ACCEPT = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def oci_root(registry: RegistryServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A path of its own in the registry, nobody's credentials, and no rivals to wait for."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))
    monkeypatch.delenv("OCI_USERNAME", raising=False)
    monkeypatch.setattr(oci, "SETTLE_SECONDS", 0.0)
    return f"oci://{registry.address}/signed/{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=["file", "s3", "oci"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "oci":
        yield request.getfixturevalue("oci_root")
    elif request.param == "file":
        yield f"file://{tmp_path}/store"
    else:
        folder = request.getfixturevalue("s3_environment").bucket(f"signed-{uuid.uuid4().hex[:8]}")
        yield f"s3://{folder.name}/team"
        shutil.rmtree(folder)


def _push(folder: Path, root: str, **options: Any) -> tuple[Store, Manifest]:
    """Publish, and open the store anew as a reader does."""
    parsed = parse_root(root)
    transfer.push(folder, parsed, open_store(parsed, create=True), **options)
    return open_store(parsed), read_manifest(folder)


def _read(store: Store, manifest: Manifest, key_id: str = KEY_ID, limit: int = 1000) -> bytes | None:
    return store.read_signature(manifest.name, manifest.digest(), key_id, limit)


def test_what_was_published_with_a_signature_is_fetched_with_it(bundle: Path, root: str, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "key")
    keys = read_keys(public)
    signed = sign_manifest(read_manifest(bundle), private)
    _push(bundle, root, signature=signed)
    store, manifest, found = open_signed(f"{root}/wide:1", None, public)
    assert found is not None
    assert (found.data, found.key_id) == (signed.data, keys[0].key_id)
    assert placing.pull(manifest, store, tmp_path / "there")


class Counting:
    """A store that counts the files that are asked for."""

    def __init__(self, store: Store) -> None:
        self.store, self.blobs = store, 0

    def read_blob(self, digest: str, start: int, end: int) -> bytes:
        self.blobs += 1
        return self.store.read_blob(digest, start, end)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def test_of_an_unsigned_or_wrongly_signed_bundle_no_file_is_asked_for(
    bundle: Path, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = key_pair(tmp_path, "key")
    foreign, _ = key_pair(tmp_path, "foreign")
    other = variant(bundle, tmp_path / "other", "other", "2")
    writer, manifest = _push(bundle, root)
    counting: list[Counting] = []

    def opened(*arguments: Any, **options: Any) -> Counting:
        counting.append(Counting(open_store(*arguments, **options)))
        return counting[-1]

    monkeypatch.setattr("model_packager.commands.bundles.open_store", opened)
    key_id = read_keys(public)[0].key_id
    for data in (None, sign_manifest(manifest, foreign).data, sign_manifest(read_manifest(other), private).data):
        if data is not None:
            writer.put_signature(manifest.name, manifest.digest(), key_id, data)
        with pytest.raises(SignatureMissing if data is None else SignatureInvalid) as refused:
            open_signed(f"{root}/wide:1", None, public)
        assert manifest.digest() in str(refused.value)
    assert [each.blobs for each in counting] == [0, 0, 0]


def test_a_signature_is_found_only_by_its_bundle_and_its_key(bundle: Path, root: str, tmp_path: Path) -> None:
    store, manifest = _push(bundle, root)
    _, other = _push(variant(bundle, tmp_path / "other", "other", "2"), root)
    store.put_signature(manifest.name, manifest.digest(), KEY_ID, b"ours")
    assert _read(store, manifest) == b"ours"
    assert _read(store, manifest, "b" * 64) is None
    assert _read(store, other) is None


def test_a_newer_signature_by_a_key_takes_the_place_of_its_older_one(bundle: Path, root: str) -> None:
    store, manifest = _push(bundle, root)
    for data in (b"first", b"second", b"second"):
        store.put_signature(manifest.name, manifest.digest(), KEY_ID, data)
        assert _read(open_store(parse_root(root)), manifest) == data


def test_a_signature_is_read_up_to_a_limit(bundle: Path, root: str) -> None:
    store, manifest = _push(bundle, root)
    store.put_signature(manifest.name, manifest.digest(), KEY_ID, b"x" * 1000)
    assert _read(store, manifest) == b"x" * 1000
    with pytest.raises(SignatureInvalid, match=r"has 1000 bytes, more than 999"):
        _read(store, manifest, limit=999)


def test_signatures_are_no_models_versions_or_aliases(bundle: Path, root: str) -> None:
    store, manifest = _push(bundle, root)
    before = (store.list_names(), store.list_versions("wide"), store.list_aliases("wide"))
    store.put_signature(manifest.name, manifest.digest(), KEY_ID, b"ours")
    assert before[1:] == (["1"], [])
    assert (store.list_names(), store.list_versions("wide"), store.list_aliases("wide")) == before


def test_a_store_that_refuses_is_not_taken_for_an_unsigned_bundle(
    bundle: Path, s3_environment: Any, locked_registry: RegistryServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    folder = s3_environment.bucket(f"refusing-{uuid.uuid4().hex[:8]}")
    for root in (f"oci://{locked_registry.address}/team", f"s3://{folder.name}"):
        with pytest.raises(FetchFailed, match=r"refused access|needs credentials"):
            _read(open_store(parse_root(root)), read_manifest(bundle))


def _manifest_of(root: str, tag: str) -> bytes:
    parsed = parse_root(root)
    url = f"http://{parsed.authority}/v2/{parsed.path}/wide/manifests/{tag}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": ACCEPT}), timeout=10) as answer:
        return bytes(answer.read())


def test_in_a_registry_a_signature_is_an_artifact_that_refers_to_the_image(
    bundle: Path, oci_root: str, tmp_path: Path
) -> None:
    signed = sign_manifest(read_manifest(bundle), key_pair(tmp_path, "key")[0])
    store, manifest = _push(bundle, oci_root, signature=signed)
    tag = signature_tag(manifest.digest(), signed.key_id)
    assert tag == f"_sig.{manifest.digest().removeprefix('sha256:')}.{signed.key_id[:32]}"
    document = json.loads(_manifest_of(oci_root, tag))
    image = _manifest_of(oci_root, "1")
    assert document["subject"] == {"mediaType": ACCEPT, "digest": digest_of(image), "size": len(image)}
    assert (store.image_reference("wide", manifest.digest()) or "").endswith(f"@{document['subject']['digest']}")
    assert document["artifactType"] == SIGNATURE_TYPE
    assert [layer["mediaType"] for layer in document["layers"]] == [SIGNATURE_TYPE]
    assert document["layers"][0]["digest"] == digest_of(signed.data)
    assert parse_signature(_read(store, manifest, signed.key_id, MAX_SIGNATURE_BYTES) or b"", "It") == signed


def test_a_registry_with_immutable_tags_keeps_an_equal_signature_and_refuses_another(
    bundle: Path, oci_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, manifest = _push(bundle, oci_root)
    store.put_signature(manifest.name, manifest.digest(), KEY_ID, b"first")
    monkeypatch.setattr(Repository, "tag", lambda *given, **options: False)
    store.put_signature(manifest.name, manifest.digest(), KEY_ID, b"first")
    with pytest.raises(FetchFailed, match="must be mutable"):
        store.put_signature(manifest.name, manifest.digest(), KEY_ID, b"second")
    assert _read(store, manifest) == b"first"


def test_what_is_not_in_a_registry_cannot_be_signed_there(bundle: Path, oci_root: str) -> None:
    store, manifest = _push(bundle, oci_root)
    with pytest.raises(ArtifactNotFound, match="does not have"):
        store.put_signature(manifest.name, "sha256:" + "0" * 64, KEY_ID, b"ours")


def test_an_image_in_place_of_a_signature_is_refused(bundle: Path, oci_root: str) -> None:
    store, manifest = _push(bundle, oci_root)
    parsed = parse_root(oci_root)
    tag = signature_tag(manifest.digest(), KEY_ID)
    url = f"http://{parsed.authority}/v2/{parsed.path}/wide/manifests/{tag}"
    request = urllib.request.Request(url, _manifest_of(oci_root, "1"), headers={"Content-Type": ACCEPT}, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()
    with pytest.raises(SignatureInvalid, match="is not a signature"):
        _read(store, manifest)
