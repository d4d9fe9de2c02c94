"""A signature covers the whole bundle, leaves its digest alone, and is refused when anything differs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from signing_keys import key_pair

from model_packager import keys as public_keys
from model_packager import signing
from model_packager.errors import BundleInvalid, InvalidUsage, PackagerError, SignatureInvalid, SignatureMissing
from model_packager.folder import read_manifest, verify_folder
from model_packager.manifest import Manifest


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return key_pair(tmp_path, "key")


def _verify(bundle: Path, key: Path) -> Manifest:
    return signing.verify(bundle, public_keys.read_keys(key))[0]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_signed_bundle_is_verified_and_keeps_its_digest(
    bundle: Path, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    private, public = key_pair(tmp_path, "key", curve)
    before = read_manifest(bundle).digest()
    assert signing.sign(bundle, private) == bundle.parent / "bundle.sig"
    assert _verify(bundle, public).digest() == before
    assert verify_folder(bundle).digest() == before


def _rename(bundle: Path) -> None:
    manifest = Manifest.model_validate_json((bundle / "manifest.json").read_bytes())
    (bundle / "manifest.json").write_bytes(manifest.model_copy(update={"version": "2"}).canonical_bytes())


def _cut(bundle: Path) -> None:
    path = signing.signature_path(bundle)
    path.write_bytes(path.read_bytes()[:-100])


def _rewrite(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """A change of the JSON of the signature."""

    def apply(bundle: Path) -> None:
        path = signing.signature_path(bundle)
        fields = json.loads(path.read_bytes())
        change(fields)
        path.write_text(json.dumps(fields))

    return apply


def _statement(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """A change of what was signed, without a new signature of it."""

    def apply(fields: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(fields["dsseEnvelope"]["payload"]))
        change(statement)
        fields["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    return _rewrite(apply)


NO_SIGNATURE = "is not a signature of a bundle"
TAMPERED: dict[str, tuple[Callable[[Path], object], type[PackagerError], str]] = {
    "an altered file": (lambda b: (b / "README.md").write_text("evil"), BundleInvalid, "README.md"),
    "another manifest": (_rename, SignatureInvalid, "and of sha256:.*, not of sha256:"),
    "no signature": (lambda b: signing.signature_path(b).unlink(), SignatureMissing, "no signature"),
    "half a signature": (_cut, SignatureInvalid, NO_SIGNATURE),
    "a signature that is no JSON": (
        lambda b: signing.signature_path(b).write_bytes(b"\x80\x04."), SignatureInvalid, NO_SIGNATURE),
    "a signature that is nested too deeply": (
        lambda b: signing.signature_path(b).write_bytes(b"[" * 200_000), SignatureInvalid, NO_SIGNATURE),
    "a signature of two megabytes": (
        lambda b: signing.signature_path(b).write_bytes(b" " * (2 << 20)), SignatureInvalid, "more than 1048576 bytes"),
    "a certificate in place of a key": (
        _rewrite(lambda f: f.update(verificationMaterial={"certificate": {"rawBytes": ""}})), SignatureInvalid,
        NO_SIGNATURE),
    "two signatures in one": (
        _rewrite(lambda f: f["dsseEnvelope"]["signatures"].append({"sig": "AA=="})), SignatureInvalid, NO_SIGNATURE),
    "no signature inside": (
        _rewrite(lambda f: f["dsseEnvelope"].update(signatures=[{"sig": ""}])), SignatureInvalid, "was not made by"),
    "another statement": (
        _statement(lambda s: s["subject"][0].update(name="other")), SignatureInvalid, "was not made by the key"),
    "a statement of more files": (
        _statement(lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0])), SignatureInvalid,
        NO_SIGNATURE),
    "a statement of no file": (
        _statement(lambda s: s["predicate"].update(resources=[])), SignatureInvalid, NO_SIGNATURE),
    "a statement by another hash": (
        _statement(lambda s: s["predicate"]["resources"][0].update(algorithm="blake2b")), SignatureInvalid,
        NO_SIGNATURE),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_whatever_was_changed_after_signing_is_refused(bundle: Path, keys: tuple[Path, Path], what: str) -> None:
    change, error, words = TAMPERED[what]
    signing.sign(bundle, keys[0])
    change(bundle)
    with pytest.raises(error, match=words):
        _verify(bundle, keys[1])


def test_a_signature_by_another_key_is_refused_with_both_keys_and_the_digest(
    bundle: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = key_pair(tmp_path, "other")
    signing.sign(bundle, private)
    with pytest.raises(SignatureInvalid) as refused:
        _verify(bundle, keys[1])
    for named in (keys[1], public):
        assert public_keys.read_keys(named)[0].key_id in str(refused.value)
    assert verify_folder(bundle).digest() in str(refused.value)


def test_a_signature_that_claims_the_trusted_key_is_refused(
    bundle: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    signing.sign(bundle, key_pair(tmp_path, "other")[0])
    trusted = public_keys.read_keys(keys[1])[0].key_id
    _rewrite(lambda fields: fields["verificationMaterial"]["publicKey"].update(hint=trusted))(bundle)
    with pytest.raises(SignatureInvalid, match="was not made by the key"):
        _verify(bundle, keys[1])


def test_what_is_verified_is_what_was_looked_at(bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    """A second spelling of a field must not give the verifier another statement than the one that was inspected."""
    signing.sign(bundle, keys[0])
    genuine = json.loads(signing.signature_path(bundle).read_bytes())
    signing.sign(bundle, key_pair(tmp_path, "other")[0])
    trusted = public_keys.read_keys(keys[1])[0].key_id
    _rewrite(
        lambda fields: fields.update(
            verificationMaterial={"publicKey": {"hint": trusted}}, dsse_envelope=genuine["dsseEnvelope"]
        )
    )(bundle)
    with pytest.raises(SignatureInvalid, match="was not made by the key"):
        _verify(bundle, keys[1])


def test_a_signature_inside_the_bundle_is_refused(bundle: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidUsage, match="unlisted"):
        signing.sign(bundle, keys[0], bundle / "x.sig")
    assert verify_folder(bundle).name == "small"


def test_what_is_no_key_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no key")
    for path in (tmp_path / "no.pem", tmp_path / "absent.pem"):
        with pytest.raises(InvalidUsage, match=r"key|signed"):
            signing.sign(bundle, path)


def test_a_signature_names_the_key_by_the_sha256_of_its_file(bundle: Path, keys: tuple[Path, Path]) -> None:
    signing.sign(bundle, keys[0])
    found = signing.read_signature(signing.signature_path(bundle))
    assert found.key_id == hashlib.sha256(keys[1].read_bytes()).hexdigest()
    assert found.key_id == public_keys.read_keys(keys[1])[0].key_id
    assert found.digest == read_manifest(bundle).digest()


def test_while_keys_are_rotated_the_old_and_the_new_one_count(
    bundle: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    new = key_pair(tmp_path, "new")
    both = tmp_path / "both.pub"
    both.write_bytes(b"# until the end of the year\n" + keys[1].read_bytes() + b"\r\n" + new[1].read_bytes())
    for private in (keys[0], new[0]):
        signing.sign(bundle, private)
        assert _verify(bundle, both).name == "small"
    assert len(public_keys.read_keys(both)) == 2


def _pems(tmp_path: Path) -> dict[str, str]:
    private, public = key_pair(tmp_path, "pem")
    curve = key_pair(tmp_path, "curve", ec.SECP256K1())[1].read_text()
    good = public.read_text()
    many = "".join(key_pair(tmp_path, f"k{number}")[1].read_text() for number in range(9))
    return {
        "nothing": "",
        "spaces": " \n",
        "text": "not a key",
        "a private key": private.read_text(),
        "a private key beside a public one": good + private.read_text(),
        "a damaged key beside a good one": good + good.replace("M", "!", 5),
        "a key without its end": good + good[:-30],
        "a certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "another curve": curve,
        "nine keys": many,
        "a megabyte": good + " " * (1 << 20),
    }


NOT_KEYS = {
    "nothing": "holds no public key",
    "spaces": "holds no public key",
    "text": "holds no public key",
    "a private key": "holds a private key",
    "a private key beside a public one": "holds a private key",
    "a damaged key beside a good one": "no public key in PEM",
    "a key without its end": "no public key in PEM",
    "a certificate": "no public key in PEM",
    "another curve": "of another kind",
    "nine keys": "at most 8",
    "a megabyte": "more than 65536",
}


@pytest.mark.parametrize("source", ["file", "variable"])
@pytest.mark.parametrize("what", NOT_KEYS)
def test_a_demand_that_cannot_be_understood_is_refused_and_never_means_no_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, source: str
) -> None:
    text = _pems(tmp_path)[what]
    path = tmp_path / "keys"
    path.write_text(text)
    if source == "variable":
        monkeypatch.setenv(public_keys.VARIABLE, text)
    with pytest.raises(InvalidUsage, match=NOT_KEYS[what]) as refused:
        public_keys.demanded_keys(path if source == "file" else None)
    assert str(path) in str(refused.value) or public_keys.VARIABLE in str(refused.value)
    assert not any(line in str(refused.value) for line in text.splitlines() if len(line) == 64)


def test_a_key_and_the_variable_together_are_refused(keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(public_keys.VARIABLE, keys[1].read_text())
    with pytest.raises(InvalidUsage, match="not both"):
        public_keys.demanded_keys(keys[1])
    assert public_keys.demanded_keys(None) == public_keys.read_keys(keys[1])
