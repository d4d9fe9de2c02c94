"""A signature covers the whole bundle, leaves its digest alone, and is refused when anything differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_packager import signing
from model_packager.errors import BundleInvalid, InvalidUsage, PackagerError, SignatureInvalid, SignatureMissing
from model_packager.folder import read_manifest, verify_folder
from model_packager.manifest import Manifest


def _keys(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return _keys(tmp_path, "key")


def test_a_signed_bundle_is_verified_and_keeps_its_digest(bundle: Path, keys: tuple[Path, Path]) -> None:
    before = read_manifest(bundle).digest()
    assert signing.sign(bundle, keys[0]) == bundle.parent / "bundle.sig"
    assert signing.verify(bundle, keys[1]).digest() == before
    assert verify_folder(bundle).digest() == before


def _rename(bundle: Path) -> None:
    manifest = Manifest.model_validate_json((bundle / "manifest.json").read_bytes())
    (bundle / "manifest.json").write_bytes(manifest.model_copy(update={"version": "2"}).canonical_bytes())


def _cut(bundle: Path) -> None:
    path = signing.signature_path(bundle)
    path.write_bytes(path.read_bytes()[:-100])


TAMPERED: dict[str, tuple[Callable[[Path], object], type[PackagerError], str]] = {
    "an altered file": (lambda b: (b / "README.md").write_text("evil"), BundleInvalid, "README.md"),
    "another manifest": (_rename, SignatureInvalid, "is not one of sha256:"),
    "no signature": (lambda b: signing.signature_path(b).unlink(), SignatureMissing, "no signature"),
    "half a signature": (_cut, SignatureInvalid, "is not one of"),
    "a signature that is no JSON": (
        lambda b: signing.signature_path(b).write_bytes(b"\x80\x04."), SignatureInvalid, "is not one of"),
    "a signature of two megabytes": (
        lambda b: signing.signature_path(b).write_bytes(b" " * (2 << 20)), SignatureInvalid, "bytes"),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_whatever_was_changed_after_signing_is_refused(bundle: Path, keys: tuple[Path, Path], what: str) -> None:
    change, error, words = TAMPERED[what]
    signing.sign(bundle, keys[0])
    change(bundle)
    with pytest.raises(error, match=words):
        signing.verify(bundle, keys[1])


def test_a_signature_by_another_key_is_refused(bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    signing.sign(bundle, _keys(tmp_path, "other")[0])
    with pytest.raises(SignatureInvalid, match="by the key"):
        signing.verify(bundle, keys[1])


def test_a_signature_inside_the_bundle_is_refused(bundle: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidUsage, match="unlisted"):
        signing.sign(bundle, keys[0], bundle / "x.sig")
    assert verify_folder(bundle).name == "small"


def test_what_is_no_key_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no key")
    for path in (tmp_path / "no.pem", tmp_path / "absent.pem"):
        with pytest.raises(InvalidUsage, match=r"key|signed"):
            signing.sign(bundle, path)
