"""OCI images without a registry: the layout, credentials, and what a registry may ask of a client."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path

import pytest

from model_packager.errors import BundleInvalid, FetchFailed, InvalidReference
from model_packager.folder import read_manifest
from model_packager.manifest import File, StoreRoot, parse_root
from model_packager.stores import oci_layout as layout
from model_packager.stores import open_store, registry
from model_packager.stores.oci_images import parse_image
from model_packager.stores.registry_auth import DOCKER_CONFIG_JSON, Credentials, find_credentials, parse_challenge


def test_every_file_is_where_the_layout_says(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    seen = set()
    for layer in layout.layers(manifest):
        data = b"".join(layer.chunks(lambda path: (bundle / path).open("rb")))
        assert len(data) == layer.size
        for member in layer.members:
            content = (bundle / member.path).read_bytes()
            assert data[member.offset : member.offset + member.size] == content
            seen.add(member.path)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert [m.name for m in archive if m.isfile()] == [member.path for member in layer.members]
    assert seen == {"manifest.json", *(file.path for file in manifest.files)}


def test_the_layout_is_fixed_because_old_images_must_stay_readable(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    big = tuple(
        File(path=f"models/small/1/w{i:03}", size=layout.LARGE_BYTES + i, sha256=f"{i:064x}") for i in range(100)
    )
    many = manifest.model_copy(update={"files": tuple(sorted(manifest.files + big, key=lambda file: file.path))})
    found = layout.layers(many)
    assert len(found) == 2 + 96
    assert [member.path for member in found[0].members] == ["manifest.json"]
    assert found[0].members[0].offset == 512
    # The four smallest of the large files are with the small ones.
    assert {f"models/small/1/w00{i}" for i in range(4)} <= {member.path for member in found[1].members}
    assert [layer.members[0].path for layer in found[2:4]] == ["models/small/1/w004", "models/small/1/w005"]
    assert found[2].size == 3 * 512 + 512 + layout.LARGE_BYTES + 512 + 1024


def test_long_paths_and_huge_files_have_a_place_too(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    path = "models/small/1/" + "/".join(["d" * 100] * 4) + "/weights"
    files = (*manifest.files, File(path=path, size=20 << 30, sha256="0" * 64))
    layer = layout.layers(manifest.model_copy(update={"files": files}))[-1]
    headers = io.BytesIO(layer.members[0].headers)
    members = []
    while headers.tell() < len(headers.getvalue()):
        with tarfile.open(fileobj=headers) as archive:
            members.append(archive.next())
            headers.seek(members[-1].offset_data)
    assert members[-1].isfile()
    assert (members[-1].name, members[-1].size) == (path, 20 << 30)
    assert members[-1].offset_data == layer.members[0].offset


NO_BUNDLES = {
    "no JSON": b"{",
    "a list": b"[]",
    "no annotations": b'{"layers":[]}',
    "an index": b'{"manifests":[],"annotations":{}}',
    "a digest that is none": b'{"annotations":{"dev.tidegate.bundle.digest":"x"},"layers":[]}',
}


@pytest.mark.parametrize("what", NO_BUNDLES)
def test_an_image_of_something_else_is_no_bundle(what: str) -> None:
    with pytest.raises(BundleInvalid, match="The tag 1 is not a bundle"):
        parse_image(NO_BUNDLES[what], "The tag 1")


def test_an_image_in_a_newer_layout_is_refused(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    layers = [(layer, f"sha256:{number:064x}") for number, layer in enumerate(layout.layers(manifest))]
    data = json.loads(layout.image(manifest, layers)[1])
    assert parse_image(json.dumps(data).encode(), "x").bundle == manifest.digest()
    data["annotations"]["dev.tidegate.bundle.layout"] = "2"
    with pytest.raises(BundleInvalid, match="newer release"):
        parse_image(json.dumps(data).encode(), "x")


def _docker(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (folder / "config.json").write_text(text)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.delenv("OCI_USERNAME", raising=False)


def test_credentials_come_from_where_container_tools_keep_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = base64.b64encode(b"me:pass:word").decode()
    _docker(tmp_path, monkeypatch, json.dumps({"auths": {"r.example:5000": {"auth": auth}}}))
    assert find_credentials("r.example:5000") == Credentials("me", "pass:word")
    assert find_credentials("other.example") is None
    assert "pass" not in repr(find_credentials("r.example:5000"))
    monkeypatch.setenv("OCI_USERNAME", "robot")
    monkeypatch.setenv("OCI_PASSWORD", "x")
    assert find_credentials("other.example") == Credentials("robot", "x")


def test_a_credential_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text('#!/bin/sh\nread host\necho "{\\"Username\\":\\"$host\\",\\"Secret\\":\\"s\\"}"\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    _docker(tmp_path, monkeypatch, json.dumps({"credHelpers": {"r.example": "test"}}))
    assert find_credentials("r.example") == Credentials("r.example", "s")


def test_the_text_of_a_pull_secret_goes_before_the_configuration_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _docker(tmp_path, monkeypatch, json.dumps({"auths": {"r.example": {"auth": base64.b64encode(b"a:b").decode()}}}))
    secret = {
        "r.example": {"username": "me", "password": "x"},
        "s.example": {"auth": base64.b64encode(b"s:y").decode()},
    }
    monkeypatch.setenv(DOCKER_CONFIG_JSON, json.dumps({"auths": secret, "credsStore": "test"}))
    assert find_credentials("r.example") == Credentials("me", "x")
    assert find_credentials("s.example") == Credentials("s", "y")
    assert find_credentials("other.example") is None, "a Secret runs no program"
    monkeypatch.setenv("OCI_USERNAME", "robot")
    assert find_credentials("r.example") == Credentials("robot", "")


@pytest.mark.parametrize("text", ["{", '{"auths":{"r.example":{"auth":"%%%"}}}', "[]"])
def test_credentials_that_cannot_be_read_are_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    _docker(tmp_path, monkeypatch, text)
    with pytest.raises(FetchFailed, match="cannot be read"):
        find_credentials("r.example")
    monkeypatch.setenv(DOCKER_CONFIG_JSON, text)
    with pytest.raises(FetchFailed, match=f"{DOCKER_CONFIG_JSON} cannot be read"):
        find_credentials("r.example")


def test_a_challenge_is_understood() -> None:
    found = parse_challenge('Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push"')
    assert (found.scheme, found.realm) == ("bearer", "https://auth.example/token")
    assert found.query == {"service": "r", "scope": "repository:a/b:pull,push"}
    assert parse_challenge("Basic realm=x").scheme == "basic"


@pytest.mark.parametrize(
    ("netloc", "plain"),
    [
        ("127.0.0.1:5000", True),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("r.example:5000", True),
        ("r.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
    ],
)
def test_plain_http_is_for_this_machine_and_for_what_was_listed(
    netloc: str, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(registry.PLAIN_HTTP, "s.example, r.example:5000")
    assert registry.may_be_plain(netloc) is plain


def test_a_path_that_no_repository_can_have_is_refused() -> None:
    with pytest.raises(InvalidReference, match="cannot be part of a repository"):
        open_store(parse_root("oci://r.example/Team"))


def test_a_registry_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "RETRIES", 0)
    with pytest.raises(FetchFailed, match="could not be used"):
        open_store(StoreRoot("oci", "127.0.0.1:1", "team")).read_pointer("small", "1")
