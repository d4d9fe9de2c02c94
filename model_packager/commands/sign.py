"""``model-packager sign`` and the signature part of ``verify``."""

from __future__ import annotations

from pathlib import Path

from model_packager import signing
from model_packager.console import Reporter
from model_packager.folder import read_manifest
from model_packager.uri import check_digest


def sign(folder: Path, key: Path, signature: Path | None, reporter: Reporter) -> None:
    """Sign, and print where the signature is."""
    made = signing.sign(folder, key, signature)
    digest = read_manifest(folder).digest()
    reporter.result({"digest": digest, "signature": str(made)}, f"{made}: signature of {digest}")


def verify(folder: Path, digest: str | None, key: Path, signature: Path | None, reporter: Reporter) -> None:
    """Verify the content and the signature."""
    read_manifest(folder, expected_digest=check_digest(digest) if digest else None)
    manifest = signing.verify(folder, key, signature)
    fields = {"digest": manifest.digest(), "name": manifest.name, "version": manifest.version, "verified": True}
    reporter.result({**fields, "signed": True}, f"{folder}: verified and signed, {manifest.digest()}")
