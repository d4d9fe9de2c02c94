"""The grammar of references, which everyone who writes a URI relies on."""

from __future__ import annotations

import pytest

from model_packager.manifest import InvalidReference, ModelReference, StoreRoot, parse_reference, parse_root

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("uri", "root", "name", "version", "digest"),
    [
        ("s3://models/digits:3", StoreRoot("s3", "models", ""), "digits", "3", None),
        ("s3://models/a/b/digits:1.2.0-rc1", StoreRoot("s3", "models", "a/b"), "digits", "1.2.0-rc1", None),
        (f"s3://models/digits@sha256:{HEX}", StoreRoot("s3", "models", ""), "digits", None, f"sha256:{HEX}"),
        ("s3://models/digits:sha256", StoreRoot("s3", "models", ""), "digits", "sha256", None),
        ("file:///srv/models/digits:3", StoreRoot("file", "", "srv/models"), "digits", "3", None),
        ("file:///digits:3", StoreRoot("file", "", ""), "digits", "3", None),
        ("gs://b.example.com/x/digits:v3", StoreRoot("gs", "b.example.com", "x"), "digits", "v3", None),
        ("az://container/digits:3", StoreRoot("az", "container", ""), "digits", "3", None),
        ("oci://r.example:5000/team/digits:3", StoreRoot("oci", "r.example:5000", "team"), "digits", "3", None),
        ("pvc://claim/dir/digits:3", StoreRoot("pvc", "claim", "dir"), "digits", "3", None),
        ("s3://models/d:2026_11.21-a", StoreRoot("s3", "models", ""), "d", "2026_11.21-a", None),
        (f"s3://models/{'a' * 63}:{'1' * 63}", StoreRoot("s3", "models", ""), "a" * 63, "1" * 63, None),
    ],
)  # fmt: skip
def test_a_reference_has_one_meaning_and_one_spelling(
    uri: str, root: StoreRoot, name: str, version: str | None, digest: str | None
) -> None:
    reference = parse_reference(uri)
    assert reference == ModelReference(root, name, version=version, digest=digest)
    assert str(reference) == uri


def test_an_alias_is_neither_a_version_nor_a_digest() -> None:
    reference = parse_reference("oci://r.example:5000/team/digits@team-a.prod")
    assert reference == ModelReference(StoreRoot("oci", "r.example:5000", "team"), "digits", alias="team-a.prod")
    assert str(reference) == "oci://r.example:5000/team/digits@team-a.prod"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "such as s3://bucket"),
        ("digits:3", "such as s3://bucket"),
        ("/models/digits:3", "must start with one of"),
        ("http://models/digits:3", "must start with one of"),
        ("S3://models/digits:3", "must start with one of"),
        ("s3:/models/digits:3", "must start with one of"),
        ("s3://digits:3", "such as s3://bucket"),
        ("s3:///digits:3", "must name a bucket"),
        ("s3://key:secret@models/digits:3", "credentials and ports do not belong"),
        ("s3://models:9000/digits:3", "credentials and ports do not belong"),
        ("s3://mod els/digits:3", "must name a bucket"),
        ("file://host/models/digits:3", "three slashes"),
        ("s3://models/../digits:3", "path segment"),
        ("s3://models/./digits:3", "path segment"),
        ("s3://models//x/digits:3", "path segment"),
        ("s3://models/a b/digits:3", "path segment"),
        ("s3://models/a%2fb/digits:3", "path segment"),
        ("s3://models/a?x=1/digits:3", "path segment"),
        ("s3://models/a\\b/digits:3", "path segment"),
        ("s3://models/a\0b/digits:3", "path segment"),
        ("s3://models/dïgits/digits:3", "path segment"),
        ("s3://models/digits", "must end in name:version"),
        ("s3://models/digits:", "version '' is not valid"),
        ("s3://models/digits:3\n", "is not valid"),
        ("s3://models/digits:-3", "is not valid"),
        ("s3://models/digits:RC1", "is not valid"),
        (f"s3://models/digits:{'1' * 64}", "is not valid"),
        ("s3://models/Digits:3", "model name 'Digits' is not valid"),
        ("s3://models/-digits:3", "is not valid"),
        ("s3://models/di_gits:3", "is not valid"),
        (f"s3://models/{'a' * 64}:3", "is not valid"),
        ("s3://models/digits@sha256:abc", "digest 'sha256:abc' is not valid"),
        (f"s3://models/digits@sha256:{HEX.upper()}", "is not valid"),
        (f"s3://models/digits@md5:{HEX}", "is not valid"),
        ("s3://models/digits@sha256", "not sha256"),
        (f"s3://models/digits@{HEX}", "alias"),
        ("s3://models/digits@Prod", "alias 'Prod' is not valid"),
        ("s3://models/digits@", "alias '' is not valid"),
        ("s3://models/digits@prod@x", "is not valid"),
        ("s3://models/digits:prod@x", "is not valid"),
        ("s3://models/digits:aliases", "reserved"),
        (f"s3://models/digits:3@sha256:{HEX}", "is not valid"),
        (f"s3://models/{'a/' * 600}digits:3", "characters long"),
    ],
)
def test_what_is_not_a_reference_is_refused_in_one_line(uri: str, words: str) -> None:
    with pytest.raises(InvalidReference) as refused:
        parse_reference(uri)
    message = str(refused.value)
    assert words in message
    assert message.isprintable()
    assert len(message) < 700


def test_a_root_may_end_in_a_slash() -> None:
    assert parse_root("s3://models/a/") == parse_root("s3://models/a")


def test_a_reference_is_pinned_to_the_bytes_it_meant() -> None:
    pinned = parse_reference("s3://models/digits:3").at(f"sha256:{HEX}")
    assert str(pinned) == f"s3://models/digits@sha256:{HEX}"
