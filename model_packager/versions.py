"""What a semantic version promises about the contract, and which published version it promises it to.

A version such as ``3`` or ``2026-11`` promises nothing but its bytes. One of the form ``MAJOR.MINOR.PATCH`` follows
Semantic Versioning 2.0.0: clients of the version before it go on working unless MAJOR was raised, and find nothing new
unless MINOR was. While MAJOR is 0, MINOR stands for MAJOR and PATCH for MINOR.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from model_packager.compatibility import ContractDiff, compare_contracts
from model_packager.errors import ContractBroken
from model_packager.manifest import Manifest
from model_packager.stores import Store
from model_packager.transfer import read_manifest
from model_packager.uri import ModelReference, StoreRoot

_NUMBER = "(0|[1-9][0-9]*)"
_SEMANTIC = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-[0-9a-z.-]+)?")


class SemanticVersion(NamedTuple):
    """Numbers of a version; ``release`` is False for a pre-release such as 1.2.0-rc1, which comes before 1.2.0."""

    major: int
    minor: int
    patch: int
    release: bool

    @property
    def core(self) -> tuple[int, int, int]:
        """The version without its pre-release."""
        return self.major, self.minor, self.patch


def parse_semantic(version: str) -> SemanticVersion | None:
    """None for a version of another form."""
    found = _SEMANTIC.fullmatch(version)
    if not found:
        return None
    return SemanticVersion(int(found[1]), int(found[2]), int(found[3]), found[4] is None)


def predecessor(versions: Iterable[str], version: str) -> str | None:
    """The newest release before ``version`` among published ones. Pre-releases have made no promise to anyone."""
    ours = parse_semantic(version)
    if ours is None:
        return None
    older = [(found, name) for name in versions if (found := parse_semantic(name)) and found.release]
    older = [(found, name) for found, name in older if found.core < ours.core]
    return max(older)[1] if older else None


def version_problem(old: str, new: str, found: ContractDiff) -> str | None:
    """Why ``new`` is too small a step from ``old`` for what changed, as a sentence; None if it is large enough.

    Nothing is said of versions without semantics, nor of a step back.
    """
    before, after = parse_semantic(old), parse_semantic(new)
    if before is None or after is None or after.core <= before.core or found.verdict == "Compatible":
        return None
    breaking = found.verdict == "Breaking"
    needed = _smallest(before, breaking=breaking)
    if after.core >= needed:
        return None
    what = [change.message for change in found.changes if change.breaking == breaking]
    verb = "breaks clients of" if breaking else "adds to"
    return f"{new} {verb} {old} ({'; '.join(what)}), which needs the version {'.'.join(map(str, needed))} or higher."


def check_promise(manifest: Manifest, root: StoreRoot, store: Store) -> None:
    """Compare with the version before it in the store. Raises ContractBroken if the version promises too much.

    Raises what the store raises, as FetchFailed where versions may not be listed.
    """
    if parse_semantic(manifest.version) is None:
        return
    before = predecessor(store.list_versions(manifest.name), manifest.version)
    digest = store.read_pointer(manifest.name, before) if before else None
    if before is None or digest is None:
        return
    older = read_manifest(ModelReference(root, manifest.name, version=before), store, digest)
    if problem := version_problem(before, manifest.version, compare_contracts(older.contract, manifest.contract)):
        raise ContractBroken(
            f"{manifest.name}:{problem} Export it under that version, or push it with --allow-breaking."
        )


def _smallest(before: SemanticVersion, *, breaking: bool) -> tuple[int, int, int]:
    if before.major:
        return (before.major + 1, 0, 0) if breaking else (before.major, before.minor + 1, 0)
    return (0, before.minor + 1, 0) if breaking else (0, before.minor, before.patch + 1)
