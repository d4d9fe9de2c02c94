"""Verification of a bundle folder: whatever is not exactly the bundle is refused, with the file named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from model_packager.errors import ArtifactNotFound, BundleInvalid, DigestMismatch
from model_packager.folder import verify_folder

CONFIG = "models/small/config.pbtxt"


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _replace_by_link(path: Path) -> None:
    moved = path.parent.parent.parent.parent / "outside"
    path.rename(moved)
    path.symlink_to(moved)


def _link_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").rename(bundle.parent / "manifest")
    (bundle / "manifest.json").symlink_to(bundle.parent / "manifest")


def _link_folder(bundle: Path) -> None:
    (bundle / "golden").rename(bundle.parent / "elsewhere")
    (bundle / "golden").symlink_to(bundle.parent / "elsewhere")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "an altered file": (lambda b: _flip(b / CONFIG), "'models/small/config.pbtxt' was altered"),
    "a longer file": (lambda b: _append(b / CONFIG, b"\n"), "'models/small/config.pbtxt' has"),
    "a missing file": (lambda b: (b / CONFIG).unlink(), f"'{CONFIG}' is listed in the manifest but missing"),
    "an unlisted file": (lambda b: (b / "extra").touch(), "'extra' in .* is not listed"),
    "an unlisted hidden file": (lambda b: (b / ".hidden").touch(), "'.hidden' in .* is not listed"),
    "an unlisted version": (lambda b: (b / "models/small/2").write_text("x"), "is not listed"),
    "a link": (lambda b: _replace_by_link(b / CONFIG), "is a link"),
    "a dangling link": (lambda b: (b / "extra").symlink_to("nowhere"), "'extra' is a link"),
    "a linked folder": (_link_folder, "'golden' is a link"),
    "a hard link": (lambda b: os.link(b / CONFIG, b.parent / "other-name"), "has 2 hard links"),
    "a pipe": (lambda b: os.mkfifo(b / "extra"), "'extra' is not a regular file"),
    "a linked manifest": (_link_manifest, "'manifest.json' is a link"),
    "a name with a line break": (lambda b: (b / "a\nb").touch(), "control"),
}  # fmt: skip


def test_an_untouched_bundle_is_verified(bundle: Path) -> None:
    assert verify_folder(bundle).name == "small"


@pytest.mark.parametrize("what", REFUSED)
def test_a_bundle_that_is_not_exactly_its_manifest_is_refused(bundle: Path, what: str) -> None:
    change, words = REFUSED[what]
    change(bundle)
    with pytest.raises(BundleInvalid, match=words):
        verify_folder(bundle)


def test_another_bundle_than_the_expected_is_refused(bundle: Path) -> None:
    with pytest.raises(DigestMismatch):
        verify_folder(bundle, expected_digest="sha256:" + "0" * 64)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFound, match="has no manifest"):
        verify_folder(tmp_path)


def test_an_empty_folder_beside_the_files_is_harmless(bundle: Path) -> None:
    (bundle / "empty").mkdir()
    assert verify_folder(bundle).name == "small"
