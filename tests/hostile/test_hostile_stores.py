"""Stores whose writers lie: pointers, manifests and blobs that are not what they are called."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hostile_stage import Stage, refused

from model_packager.folder import read_manifest


def _pointer(data: bytes) -> Callable[[Stage], object]:
    return lambda stage: (stage.store / "models/small/1").write_bytes(data)


def _blob(stage: Stage, change: Callable[[bytes], bytes]) -> None:
    file = max(read_manifest(stage.bundle).files, key=lambda item: item.size)
    blob = stage.store / "blobs/sha256" / file.sha256
    blob.write_bytes(change(blob.read_bytes()))


def _gone(stage: Stage) -> None:
    (stage.store / "blobs/sha256" / read_manifest(stage.bundle).files[0].sha256).unlink()


def _renamed(stage: Stage) -> None:
    (stage.store / "models/other").mkdir()
    (stage.store / "models/other/1").write_bytes((stage.store / "models/small/1").read_bytes())


PULL = ["pull", "{store}/small:1", "--to", "target"]
ROWS: dict[str, tuple[Callable[[Stage], object], list[str], str, str]] = {
    "a pointer that is no JSON": (_pointer(b"\x80\x04evil"), PULL, "BundleInvalid", "one digest"),
    "a pointer to a path": (_pointer(b'{"digest":"sha256:../../secret"}'), PULL, "BundleInvalid", "one digest"),
    "a pointer with more fields": (_pointer(b'{"digest":"x","url":"http://evil"}'), PULL, "BundleInvalid", "one digest"),  # noqa: E501
    "a pointer of a megabyte": (_pointer(b" " * (1 << 20)), PULL, "BundleInvalid", "too large"),
    "a pointer of nested lists": (_pointer(b"[" * 1000), PULL, "BundleInvalid", "one digest"),
    "a pointer to nothing": (_pointer(b'{"digest":"sha256:%s"}' % (b"0" * 64)), PULL, "ArtifactNotFound", "manifest"),
    "the pointer of another model": (_renamed, ["pull", "{store}/other:1", "--to", "t"], "BundleInvalid", "not of other"),  # noqa: E501
    "an altered blob": (lambda s: _blob(s, lambda d: d[:-1] + b"#"), PULL, "BundleInvalid", "altered"),
    "a blob that is too short": (lambda s: _blob(s, lambda d: d[:-1]), PULL, "BundleInvalid", "bytes"),
    "an empty blob": (lambda s: _blob(s, lambda d: b""), PULL, "BundleInvalid", "bytes"),
    "a missing blob": (_gone, PULL, "ArtifactNotFound", "blob"),
    "a target that is a link": (
        lambda s: (s.work / "target").symlink_to(s.outside), PULL, "InvalidUsage", "not a folder"),
    "a target that holds a link": (
        lambda s: ((s.work / "target").mkdir(), (s.work / "target/models").symlink_to(s.outside)),
        PULL, "InvalidUsage", "already holds"),
    "a planted staging folder": (
        lambda s: ((s.work / "target").mkdir(), (s.work / "target/.model-packager-partial").symlink_to(s.outside)),
        PULL, "InvalidUsage", "already holds"),
    "a URI with a way up": (
        lambda s: None, ["pull", "file:///a/../../etc/small:1", "--to", "t"], "InvalidReference", "segment"),
    "a URI with an encoded way up": (
        lambda s: None, ["pull", "file:///a/%2e%2e/small:1", "--to", "t"], "InvalidReference", "segment"),
    "a URI with credentials": (
        lambda s: None, ["pull", "s3://user:secret@bucket/small:1", "--to", "t"], "InvalidReference", "credentials"),
    "a URI of another protocol": (
        lambda s: None, ["pull", "http://169.254.169.254/small:1", "--to", "t"], "InvalidReference", "must start with"),
    "a URI with a line break": (
        lambda s: None, ["pull", "file:///a/small:1\nerror: fine", "--to", "t"], "InvalidReference", "version"),
}  # fmt: skip


@pytest.mark.parametrize("what", ROWS)
def test_a_store_that_lies_is_refused_and_nothing_is_placed(
    stage: Stage, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    build, command, reason, words = ROWS[what]
    build(stage)
    refused(stage, command, reason, words, capfd)
