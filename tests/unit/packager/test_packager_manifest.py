"""Manifests: one canonical form, one digest, and a sentence for each way in which a foreign one can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_packager.manifest import (
    MAX_MANIFEST_BYTES,
    BundleInvalid,
    DigestMismatch,
    Manifest,
    digest_of,
    parse_manifest,
)

Fields = dict[str, Any]


@pytest.fixture(scope="module")
def raw(pristine_bundle: Path) -> bytes:
    return (pristine_bundle / "manifest.json").read_bytes()


def _encode(fields: Fields) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _set(*path: Any, to: Any) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        target: Any = fields
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = to

    return change


def _drop(*path: Any) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        target: Any = fields
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]

    return change


def _add_file(path: str) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        fields["files"].append({"path": path, "size": 1, "sha256": "0" * 64})
        fields["files"].sort(key=lambda file: file["path"])

    return change


def test_parsing_gives_back_what_was_written(raw: bytes) -> None:
    manifest = parse_manifest(raw)
    assert manifest.canonical_bytes() == raw
    assert manifest.digest() == digest_of(raw)


def test_the_digest_does_not_depend_on_the_order_of_construction(raw: bytes) -> None:
    fields = json.loads(raw)
    shuffled = json.dumps(dict(reversed(fields.items())))
    assert Manifest.model_validate_json(shuffled).digest() == digest_of(raw)


def test_an_expected_digest_is_required_to_match(raw: bytes) -> None:
    assert parse_manifest(raw, expected_digest=digest_of(raw)).name == "small"
    with pytest.raises(DigestMismatch, match="was expected"):
        parse_manifest(raw, expected_digest=digest_of(b""))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"schemaVersion":NaN}', "NaN is not a JSON number"),
        (b'{"name":"a","name":"b"}', "same key twice"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "not valid JSON"),
        (b" " * (MAX_MANIFEST_BYTES + 1), "at most"),
        (b"{}", "schemaVersion None"),
        (b'{"schemaVersion":"tidegate.dev/bundle/v2"}', "schemaVersion 'tidegate.dev/bundle/v2'"),
        (b'{"schemaVersion":{}}', "schemaVersion {}"),
        (b'{"schemaVersion":"tidegate.dev/bundle/v1"}', "name: Field required"),
    ],
)
def test_what_is_not_a_manifest_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(BundleInvalid) as refused:
        parse_manifest(data)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 700


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("name", to="Small"), "model name 'Small' is not valid"),
        (_set("version", to="../1"), "version '../1' is not valid"),
        (_set("extra", to=1), "extra: Extra inputs are not permitted"),
        (_drop("contract"), "contract: Field required"),
        (_set("files", to=[]), "files"),
        (_set("files", 0, "size", to=-1), "files.0.size"),
        (_set("files", 0, "size", to=1 << 60), "files.0.size"),
        (_set("files", 0, "size", to="1"), "files.0.size"),
        (_set("files", 0, "size", to=True), "files.0.size"),
        (_set("files", 0, "sha256", to="0" * 63), "files.0.sha256"),
        (_set("files", 0, "sha256", to="A" * 64), "files.0.sha256"),
        (_set("files", to={}), "files"),
        (_set("contract", "maxBatchSize", to=-1), "maxBatchSize"),
        (_set("contract", "inputs", to=[]), "inputs"),
        (_set("contract", "inputs", 0, "datatype", to="FLOAT"), "datatype"),
        (_set("contract", "inputs", 0, "shape", to=[8, 6]), "has no batch dimension"),
        (_set("contract", "inputs", 0, "shape", to=[-2, 6]), "shape"),
        (_set("contract", "outputs", 1, "name", to="label"), "two outputs have the same name"),
        (_set("contract", "inputs", 0, "name", to="a\nb"), "name"),
        (_set("golden", "cases", 0, "name", to="../x"), "cases.0.name"),
        (_set("golden", "cases", 0, "name", to="other"), "golden/other/request.bin"),
        (_set("golden", "tolerances", "FP32", "rtol", to=-0.1), "rtol"),
        (_set("parity", to=None), "canonical form"),
        (_set("golden", "tolerances", "FP32", "rtol", to=0), "canonical form"),
        (lambda fields: fields["files"].reverse(), "not sorted by path"),
        (_add_file("README.md"), "are the same file"),
        (_add_file("readme.MD"), "are the same file"),
        (_add_file("golden"), "is a file and a folder"),
        (_add_file("/etc/passwd"), "is absolute"),
        (_add_file("../escape"), "segment"),
        (_add_file("a/../../escape"), "segment"),
        (_add_file("./a"), "segment"),
        (_add_file("a//b"), "segment"),
        (_add_file("a/"), "segment"),
        (_add_file("a\\b"), "backslash"),
        (_add_file("C:/a"), "backslash or a character"),
        (_add_file("a\0b"), "control"),
        (_add_file("a\nb"), "control"),
        (_add_file("a\u202eb"), "control"),
        (_add_file("a "), "space"),
        (_add_file("a."), "dot"),
        (_add_file("x/" * 20 + "a"), "folders deep"),
        (_add_file("a" * 300), "too long"),
        (_add_file("manifest.json"), "is the manifest itself"),
        (_add_file("Manifest.JSON"), "is the manifest itself"),
        (_add_file("models/other/config.pbtxt"), "is outside models/small/"),
        (_add_file("Models/other/config.pbtxt"), "is outside models/small/"),
        (_set("name", to="other"), "is outside models/other/"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused_in_one_line(
    raw: bytes, change: Callable[[Fields], None], words: str
) -> None:
    fields = json.loads(raw)
    change(fields)
    with pytest.raises(BundleInvalid) as refused:
        parse_manifest(_encode(fields))
    message = str(refused.value)
    assert words in message
    assert message.isprintable()
    assert len(message) < 700


@pytest.mark.parametrize(
    ("first", "second"), [("é", "e\u0301"), ("ﬁle", "file"), ("STRASSE", "straße"), ("a/X", "A/x")]
)
def test_two_spellings_of_one_path_are_refused(raw: bytes, first: str, second: str) -> None:
    fields = json.loads(raw)
    _add_file(first)(fields)
    _add_file(second)(fields)
    with pytest.raises(BundleInvalid, match="are the same file"):
        parse_manifest(_encode(fields))


def test_spaces_in_the_json_are_not_canonical(raw: bytes) -> None:
    with pytest.raises(BundleInvalid, match="canonical form"):
        parse_manifest(json.dumps(json.loads(raw), sort_keys=True).encode())


def test_too_many_files_are_refused(raw: bytes) -> None:
    fields = json.loads(raw)
    fields["files"] = [{"path": f"f{i:05}", "size": 0, "sha256": "0" * 64} for i in range(10_001)]
    with pytest.raises(BundleInvalid, match="at most 10000"):
        parse_manifest(_encode(fields))


def test_a_manifest_cannot_be_changed_after_it_was_verified(raw: bytes) -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_manifest(raw).name = "other"
