"""Signatures on bundles: OpenSSF model signing with a key pair.

What is signed is the manifest, which names every other file with its hash; so one small signature covers the bundle,
can be checked before anything is downloaded, and does not change the digest. It is kept beside the bundle, as
``<folder>.sig``, and in the store: a file inside would be unlisted, and listing it would change what it signs.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model_packager.errors import InvalidUsage, SignatureInvalid, SignatureMissing
from model_packager.folder import verify_folder
from model_packager.keys import PublicKey, missing
from model_packager.manifest import MANIFEST_NAME, Manifest

MAX_SIGNATURE_BYTES: Final = 1024 * 1024
MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_KEY_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature says of itself: ``data`` as it is kept, ``digest`` of the bundle, ``key_id`` of the signer.

    Nothing of it is true before :func:`verify_signature`.
    """

    data: bytes
    digest: str
    key_id: str
    envelope: dict[str, Any]


def signature_path(folder: Path) -> Path:
    """Where the signature of a bundle folder is by default: beside it."""
    folder = folder.absolute()
    return folder.with_name(f"{folder.name}.sig")


def sign(folder: Path, key: Path, signature: Path | None = None) -> Path:
    """Verify the bundle and sign it with an elliptic-curve private key (PEM); return where the signature is.

    Raises InvalidUsage for a key that cannot be used, and MissingExtra without the package model-signing.
    """
    manifest = verify_folder(folder)
    target = signature or signature_path(folder)
    check_beside(folder, target)
    target.write_bytes(sign_manifest(manifest, key).data)
    return target


def sign_manifest(manifest: Manifest, key: Path) -> Signature:
    """Sign what the manifest names. Raises InvalidUsage for a key that cannot be used, and MissingExtra."""
    if not key.is_file():
        raise InvalidUsage(f"The private key {key} does not exist; make one with openssl ecparam -name prime256v1.")
    try:
        from model_signing import signing
    except ModuleNotFoundError as error:
        raise missing(error) from error
    with _only_manifest(manifest) as content:
        made = content.parent / "signature"
        try:
            signing.Config().use_elliptic_key_signer(private_key=key).sign(content, made)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise InvalidUsage(f"The bundle could not be signed with {key}: {_line(error)}.") from error
        return parse_signature(made.read_bytes(), "The new signature")


def verify(folder: Path, keys: Sequence[PublicKey], signature: Path | None = None) -> tuple[Manifest, Signature]:
    """Verify the bundle and its signature by one of the keys. Raises SignatureMissing, SignatureInvalid."""
    manifest = verify_folder(folder)
    found = read_signature(signature or signature_path(folder))
    verify_signature(manifest, found, keys)
    return manifest, found


def read_signature(path: Path) -> Signature:
    """Read a signature file. Raises SignatureMissing, SignatureInvalid."""
    if not path.is_file():
        raise SignatureMissing(f"There is no signature {path}; sign the bundle with model-packager sign.")
    with path.open("rb") as file:
        return parse_signature(file.read(MAX_SIGNATURE_BYTES + 1), f"The signature {path}")


def parse_signature(data: bytes, where: str) -> Signature:
    """What a signature says it is, without a key. Raises SignatureInvalid for what this release does not write."""
    if len(data) > MAX_SIGNATURE_BYTES:
        raise SignatureInvalid(f"{where} has more than {MAX_SIGNATURE_BYTES} bytes; sign the bundle again.")
    try:
        fields = json.loads(data)
        hint = fields["verificationMaterial"]["publicKey"]["hint"]
        envelope = fields["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signed = json.loads(payload)["predicate"]["resources"]
        if fields["mediaType"] != MEDIA_TYPE or not _KEY_ID.fullmatch(hint) or len(envelope["signatures"]) != 1:
            raise ValueError
        # A signature of more than the manifest, or by another hash, is one for something else.
        digest = signed[0]["digest"]
        expected = {"name": MANIFEST_NAME, "algorithm": "sha256", "digest": digest}
        if signed != [expected] or not _KEY_ID.fullmatch(digest):
            raise ValueError
        clean = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": str(envelope["payloadType"]),
            "signatures": [{"sig": str(envelope["signatures"][0]["sig"]), "keyid": ""}],
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SignatureInvalid(
            f"{where} is not a signature of a bundle with a key pair; make one with model-packager sign."
        ) from error
    return Signature(data, f"sha256:{digest}", str(hint), clean)


def check_names(signature: Signature, digest: str, where: str) -> None:
    """Refuse a signature that says itself that it is of another bundle. Raises SignatureInvalid."""
    if signature.digest != digest:
        raise SignatureInvalid(
            f"{where} is by the key {signature.key_id} and of {signature.digest}, not of {digest}; sign this bundle "
            "with model-packager sign."
        )


def verify_signature(manifest: Manifest, signature: Signature, keys: Sequence[PublicKey]) -> None:
    """Check that one of the keys has signed this manifest. Raises SignatureInvalid, and MissingExtra."""
    digest = manifest.digest()
    check_names(signature, digest, "The signature")
    key = next((key for key in keys if key.key_id == signature.key_id), None)
    if key is None:
        raise SignatureInvalid(
            f"The signature of {digest} is by the key {signature.key_id}, not by {key_ids(keys)}; sign the bundle with "
            "a key that is trusted, or trust this one."
        )
    try:
        from model_signing import verifying
    except ModuleNotFoundError as error:
        raise missing(error) from error
    # What is verified is exactly what was looked at: nothing else of the file is given to the verifier.
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.key_id}, "tlogEntries": []},
        "dsseEnvelope": signature.envelope,
    }
    with _only_manifest(manifest) as content:
        made, public = content.parent / "signature", content.parent / "key"
        made.write_text(json.dumps(document))
        public.write_bytes(key.pem)
        try:
            verifying.Config().use_elliptic_key_verifier(public_key=public).verify(content, made)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise SignatureInvalid(
                f"The signature of {digest} was not made by the key {key.key_id}, as it says ({_line(error)}); it was "
                "altered, so sign the bundle again."
            ) from error


def check_beside(folder: Path, signature: Path) -> None:
    """Refuse a place for a signature inside the bundle. Raises InvalidUsage."""
    if signature.resolve().is_relative_to(folder.resolve()):
        raise InvalidUsage(
            f"The signature {signature} would be an unlisted file of the bundle; keep it beside {folder}."
        )


def key_ids(keys: Sequence[PublicKey]) -> str:
    """The ids of keys, for a message."""
    return " or ".join(key.key_id for key in keys)


@contextmanager
def _only_manifest(manifest: Manifest) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="model-packager-") as place:
        content = Path(place) / "bundle"
        content.mkdir()
        (content / MANIFEST_NAME).write_bytes(manifest.canonical_bytes())
        yield content


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(". ")
