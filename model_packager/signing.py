"""Signatures on bundles: OpenSSF model signing with a key pair.

What is signed is the manifest, which names every other file with its hash; so one small signature covers the bundle,
can be checked before anything is downloaded, and does not change the digest. The signature is kept beside the bundle,
as ``<folder>.sig`` unless another place is given: a file inside would be unlisted, and listing it would change what it
signs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_packager.errors import InvalidUsage, MissingExtra, SignatureInvalid, SignatureMissing
from model_packager.folder import verify_folder
from model_packager.manifest import MANIFEST_NAME, Manifest

MAX_SIGNATURE_BYTES = 1024 * 1024


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
    if target.resolve().is_relative_to(folder.resolve()):
        raise InvalidUsage(f"The signature {target} would be an unlisted file of the bundle; keep it beside {folder}.")
    _check_key(key, "private")
    try:
        from model_signing import signing
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    with _only_manifest(manifest) as content:
        made = content.parent / "signature"
        try:
            signing.Config().use_elliptic_key_signer(private_key=key).sign(content, made)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise InvalidUsage(f"The bundle could not be signed with {key}: {_line(error)}.") from error
        shutil.copyfile(made, target)
    return target


def verify(folder: Path, key: Path, signature: Path | None = None) -> Manifest:
    """Verify the bundle and its signature against a public key (PEM). Raises SignatureMissing, SignatureInvalid."""
    manifest = verify_folder(folder)
    verify_manifest(manifest, signature or signature_path(folder), key)
    return manifest


def verify_manifest(manifest: Manifest, signature: Path, key: Path) -> None:
    """Check the signature of a manifest, which may come from a store. Raises SignatureMissing, SignatureInvalid."""
    _check_key(key, "public")
    if not signature.is_file():
        raise SignatureMissing(f"There is no signature {signature}; sign the bundle with model-packager sign.")
    if signature.stat().st_size > MAX_SIGNATURE_BYTES:
        raise SignatureInvalid(f"The signature {signature} has more than {MAX_SIGNATURE_BYTES} bytes.")
    try:
        from model_signing import verifying
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    with _only_manifest(manifest) as content:
        try:
            verifying.Config().use_elliptic_key_verifier(public_key=key).verify(content, signature)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise SignatureInvalid(
                f"The signature {signature} is not one of {manifest.digest()} by the key {key}: {_line(error)}."
            ) from error


@contextmanager
def _only_manifest(manifest: Manifest) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="model-packager-") as place:
        content = Path(place) / "bundle"
        content.mkdir()
        (content / MANIFEST_NAME).write_bytes(manifest.canonical_bytes())
        yield content


def _check_key(key: Path, kind: str) -> None:
    if not key.is_file():
        raise InvalidUsage(f"The {kind} key {key} does not exist; make one with openssl ecparam -name prime256v1.")


def _missing(error: ModuleNotFoundError) -> MissingExtra:
    return MissingExtra(f"Signatures need the Python package {error.name}; pip install 'tidegate[sign]'.")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(". ")
