"""``model-packager sign`` and ``verify``, for folders and for what is in a store."""

from __future__ import annotations

from pathlib import Path

from model_packager import signing, transfer
from model_packager.commands.bundles import open_reference, open_signed
from model_packager.console import Reporter
from model_packager.errors import InvalidUsage
from model_packager.folder import read_manifest, verify_folder
from model_packager.keys import VARIABLE, demanded_keys
from model_packager.manifest import Manifest
from model_packager.uri import check_digest, parse_reference


def sign(target: str, key: Path, signature: Path | None, reporter: Reporter) -> None:
    """Sign a folder or a published bundle, and print where the signature is."""
    if "://" not in target:
        made = signing.sign(Path(target), key, signature)
        digest = read_manifest(Path(target)).digest()
        fields = {"digest": digest, "signature": str(made), "signedBy": signing.read_signature(made).key_id}
        reporter.result(fields, f"{made}: signature of {digest}")
        return
    if signature is not None:
        raise InvalidUsage("The signature of a published bundle is kept in its store; leave --signature out.")
    store, manifest = open_reference(target, None)
    new = signing.sign_manifest(manifest, key)
    store.put_signature(manifest.name, new.digest, new.key_id, new.data)
    pinned = parse_reference(target).at(new.digest)
    reporter.result(
        {"digest": new.digest, "uri": str(pinned), "signedBy": new.key_id}, f"{pinned}: signed by {new.key_id}"
    )


def verify(target: str, digest: str | None, key: Path | None, signature: Path | None, reporter: Reporter) -> None:
    """Recompute everything, in a folder or in a store, and check the signature if one is demanded."""
    if "://" in target:
        manifest, signed = _verify_published(target, digest, key, signature, reporter)
    else:
        manifest, signed = _verify_folder(Path(target), digest, key, signature)
    fields = {"digest": manifest.digest(), "name": manifest.name, "version": manifest.version, "verified": True}
    verdict = f"verified{' and signed' if signed else ''}, {len(manifest.files)} files, {manifest.digest()}"
    if signed:
        fields |= {"signed": True, "signedBy": signed.key_id}
    reporter.result(fields, f"{target}: {verdict}")


def _verify_folder(
    folder: Path, digest: str | None, key: Path | None, signature: Path | None
) -> tuple[Manifest, signing.Signature | None]:
    keys = demanded_keys(key)
    expected = check_digest(digest) if digest else None
    if not keys:
        _check_no_signature(signature)
        return verify_folder(folder, expected_digest=expected), None
    read_manifest(folder, expected_digest=expected)
    return signing.verify(folder, keys, signature)


def _verify_published(
    uri: str, digest: str | None, key: Path | None, signature: Path | None, reporter: Reporter
) -> tuple[Manifest, signing.Signature | None]:
    signed: signing.Signature | None
    if signature is None:
        store, manifest, signed = open_signed(uri, digest, key)
    else:
        keys = demanded_keys(key)
        if not keys:
            _check_no_signature(signature)
        store, manifest = open_reference(uri, digest)
        signed = signing.read_signature(signature)
        signing.verify_signature(manifest, signed, keys)
    with reporter.transferring("verifying", manifest.sizes) as progress:
        transfer.verify_files(manifest, store, progress)
    return manifest, signed


def _check_no_signature(signature: Path | None) -> None:
    if signature is not None:
        raise InvalidUsage(f"A signature is checked by a public key only; give --key or set {VARIABLE}.")
