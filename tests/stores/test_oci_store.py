"""Publishing to and fetching from a real OCI registry."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from registry_server import RegistryServer
from store_actions import fetch, publish, race

from model_packager import transfer
from model_packager.errors import ArtifactNotFound, BundleInvalid, FetchFailed, VersionConflict
from model_packager.folder import describe, read_manifest, verify_folder
from model_packager.manifest import MANIFEST_NAME, parse_root
from model_packager.stores import oci, open_store

ACCEPT = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def root(registry: RegistryServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A path of its own in the registry, and nobody's credentials."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))
    monkeypatch.delenv("OCI_USERNAME", raising=False)
    return f"oci://{registry.address}/team/{uuid.uuid4().hex[:8]}"


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what has no rivals."""
    monkeypatch.setattr(oci, "SETTLE_SECONDS", 0.0)


def _get(root: str, path: str) -> bytes:
    parsed = parse_root(root)
    url = f"http://{parsed.authority}/v2/{parsed.path}/wide/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": ACCEPT}), timeout=10) as answer:
        return bytes(answer.read())


def _variant(bundle: Path, to: Path, card: str, version: str = "1") -> Path:
    shutil.copytree(bundle, to)
    (to / "README.md").write_text(card)
    manifest = read_manifest(to).model_copy(update={"version": version})
    files = tuple(describe(to, file.path) for file in manifest.files)
    (to / MANIFEST_NAME).write_bytes(manifest.model_copy(update={"files": files}).canonical_bytes())
    return to


@pytest.mark.usefixtures("settled")
def test_a_bundle_comes_back_from_a_registry_byte_for_byte(bundle: Path, root: str, tmp_path: Path) -> None:
    uri = publish(bundle, root)
    assert uri == f"{root}/wide:1"
    digest = verify_folder(bundle).digest()
    assert fetch(uri, tmp_path / "by-version").digest() == digest
    fetch(f"{root}/wide@{digest}", tmp_path / "by-digest")
    assert verify_folder(tmp_path / "by-version").digest() == verify_folder(tmp_path / "by-digest").digest() == digest


@pytest.mark.usefixtures("settled")
def test_the_image_is_one_that_a_container_runtime_can_unpack(bundle: Path, root: str, tmp_path: Path) -> None:
    publish(bundle, root)
    data = _get(root, "manifests/1")
    reference = open_store(parse_root(root)).image_reference("wide", read_manifest(bundle).digest())
    assert reference == f"{root.removeprefix('oci://')}/wide@sha256:{hashlib.sha256(data).hexdigest()}"
    image = json.loads(data)
    config = json.loads(_get(root, f"blobs/{image['config']['digest']}"))
    assert image["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    # Uncompressed layers: the identity of a layer and of its content are the same.
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in image["layers"]]
    for layer in image["layers"]:
        data = _get(root, f"blobs/{layer['digest']}")
        assert hashlib.sha256(data).hexdigest() == layer["digest"].removeprefix("sha256:")
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = archive.getmembers()
            assert {(m.mtime, m.uid, m.gid) for m in members} == {(0, 0, 0)}
            assert [m.name for m in members if m.isfile()] == sorted(m.name for m in members if m.isfile())
            archive.extractall(tmp_path / "unpacked", filter="data")
    assert verify_folder(tmp_path / "unpacked").digest() == read_manifest(bundle).digest()


@pytest.mark.usefixtures("settled")
def test_the_image_says_what_it_is_in_standard_annotations(bundle: Path, root: str) -> None:
    publish(bundle, root)
    image = json.loads(_get(root, "manifests/1"))
    assert image["annotations"]["dev.tidegate.bundle.digest"] == read_manifest(bundle).digest()
    assert image["annotations"]["org.opencontainers.image.version"] == "1"
    paths = [layer.get("annotations", {}).get("org.cncf.model.filepath") for layer in image["layers"]]
    assert paths == ["manifest.json", None, "models/wide/1/model.onnx"]


@pytest.mark.usefixtures("settled")
def test_equal_weights_of_two_versions_are_uploaded_once(bundle: Path, root: str, tmp_path: Path) -> None:
    publish(bundle, root)
    second = _variant(bundle, tmp_path / "second", "second", version="2")
    sent: dict[str, int] = {}
    publish(second, root, lambda path, size: sent.update({path: size}))
    assert sent["models/wide/1/model.onnx"] == 0
    assert sent["README.md"] == len("second")


@pytest.mark.usefixtures("settled")
def test_publishing_again_to_a_registry_sends_nothing(bundle: Path, root: str) -> None:
    publish(bundle, root)
    sent: list[int] = []
    publish(bundle, root, lambda path, size: sent.append(size))
    assert sent
    assert not any(sent)


@pytest.mark.usefixtures("settled")
def test_a_version_in_a_registry_never_changes_its_meaning(bundle: Path, root: str, tmp_path: Path) -> None:
    publish(bundle, root)
    with pytest.raises(VersionConflict, match=read_manifest(bundle).digest()):
        publish(_variant(bundle, tmp_path / "other", "other"), root)
    assert fetch(f"{root}/wide:1", tmp_path / "bundle").digest() == read_manifest(bundle).digest()


def test_of_eight_publishers_to_a_registry_exactly_one_wins(bundle: Path, root: str, tmp_path: Path) -> None:
    folders = [_variant(bundle, tmp_path / f"v{number}", f"card {number}") for number in range(8)]
    winners = race(folders, root)
    assert len(winners) == 1
    assert fetch(f"{root}/wide:1", tmp_path / "bundle").digest() == winners[0]


def test_equal_publishers_to_a_registry_all_succeed(bundle: Path, root: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: publish(bundle, root), range(8))) == {f"{root}/wide:1"}


@pytest.mark.usefixtures("settled")
def test_an_altered_layer_is_refused(bundle: Path, root: str, registry: RegistryServer, tmp_path: Path) -> None:
    publish(bundle, root)
    layer = json.loads(_get(root, "manifests/1"))["layers"][2]["digest"].removeprefix("sha256:")
    blob = registry.data / f"docker/registry/v2/blobs/sha256/{layer[:2]}/{layer}/data"
    good = blob.read_bytes()
    try:
        blob.write_bytes(good[:4096] + bytes([good[4096] ^ 1]) + good[4097:])
        with pytest.raises(BundleInvalid, match="altered"):
            fetch(f"{root}/wide:1", tmp_path / "bundle")
        assert not (tmp_path / "bundle").exists()
    finally:
        blob.write_bytes(good)


@pytest.mark.usefixtures("settled")
def test_aliases_of_a_registry_move_and_are_listed(bundle: Path, root: str, tmp_path: Path) -> None:
    second = _variant(bundle, tmp_path / "second", "second", version="2")
    for folder in (bundle, second):
        publish(folder, root)
    store = open_store(parse_root(root))
    first, other = read_manifest(bundle).digest(), read_manifest(second).digest()
    assert store.move_alias("wide", "prod", first) is None
    assert store.move_alias("wide", "prod", other) == first
    assert fetch(f"{root}/wide@prod", tmp_path / "bundle").version == "2"
    assert store.list_versions("wide") == ["1", "2"]
    assert store.list_aliases("wide") == ["prod"]
    assert store.list_names() == ["wide"]


WRONG: dict[str, tuple[str, type[Exception], str]] = {
    "a version that is not there": ("wide:9", ArtifactNotFound, "no version 9 of wide, nor any other"),
    "a digest that is not there": ("wide@sha256:" + "0" * 64, ArtifactNotFound, "does not have the manifest"),
    "an alias that is not there": ("wide@prod", ArtifactNotFound, "no alias prod of wide"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_registry_does_not_have_is_named(root: str, tmp_path: Path, what: str) -> None:
    tail, error, words = WRONG[what]
    with pytest.raises(error, match=words):
        fetch(f"{root}/{tail}", tmp_path / "bundle")


def test_an_image_that_is_no_bundle_is_refused(root: str, tmp_path: Path) -> None:
    data = json.dumps({"schemaVersion": 2, "mediaType": ACCEPT, "config": _blob(root, b"{}"), "layers": []}).encode()
    _put(root, "manifests/1", data)
    with pytest.raises(BundleInvalid, match="is not a bundle"):
        fetch(f"{root}/wide:1", tmp_path / "bundle")


def test_a_file_that_changes_during_the_upload_to_a_registry_is_refused(
    bundle: Path, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _variant(bundle, tmp_path / "changing", "card")
    manifest = read_manifest(folder)
    (folder / "README.md").write_text("longer than before")
    with pytest.raises(BundleInvalid, match="changed while it was read"):
        open_store(parse_root(root)).put_bundle(manifest, folder, transfer.silent)


@pytest.mark.usefixtures("settled")
def test_a_registry_with_a_password_is_used_with_it_and_only_with_it(
    bundle: Path, locked_registry: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"oci://{locked_registry.address}/team"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(FetchFailed, match="needs credentials"):
        publish(bundle, uri)
    for password, allowed in (("wrong", False), (locked_registry.password, True)):
        locked_registry.log_in(tmp_path, password)
        if allowed:
            assert publish(bundle, uri) == f"{uri}/wide:1"
        else:
            with pytest.raises(FetchFailed, match="refused access") as refused:
                publish(bundle, uri)
            assert password not in str(refused.value)


def _blob(root: str, data: bytes) -> dict[str, Any]:
    parsed = parse_root(root)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    url = f"http://{parsed.authority}/v2/{parsed.path}/wide/blobs/uploads/"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as answer:
        location = answer.headers["Location"]
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{location}&digest={digest}", data=data, method="PUT", headers=headers)
    urllib.request.urlopen(request, timeout=10).close()
    return {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(data)}


def _put(root: str, path: str, data: bytes) -> None:
    parsed = parse_root(root)
    url = f"http://{parsed.authority}/v2/{parsed.path}/wide/{path}"
    request = urllib.request.Request(url, data=data, method="PUT", headers={"Content-Type": ACCEPT})
    urllib.request.urlopen(request, timeout=10).close()
