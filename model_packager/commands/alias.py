"""Aliases: names for bundles that can be moved."""

from __future__ import annotations

from dataclasses import replace

from model_packager import transfer
from model_packager.console import Reporter
from model_packager.manifest import check_alias, parse_reference
from model_packager.stores import open_store


def run(uri: str, alias: str, reporter: Reporter) -> None:
    """Point ``alias`` at what ``uri`` means now, after its manifest was read and verified.

    Raises AliasConflict if another command moved the alias between our look at it and our write.
    """
    reference = parse_reference(uri)
    check_alias(alias)
    store = open_store(reference.root)
    digest = transfer.resolve(reference, store)
    manifest = transfer.read_manifest(reference, store, digest)
    previous = store.move_alias(reference.name, alias, digest)
    target = replace(reference, version=None, digest=None, alias=alias)
    fields = {"uri": str(target), "digest": digest, "version": manifest.version, "previous": previous}
    before = f"was {previous}" if previous else "new"
    reporter.result(fields, f"{target} is version {manifest.version}, {digest} ({before})")
