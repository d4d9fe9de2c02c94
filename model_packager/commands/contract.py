"""``model-packager contract``: may a bundle take the place of a published one? For a controller, in a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from model_packager import termination
from model_packager.commands.bundles import open_reference
from model_packager.compatibility import ContractDiff, compare_contracts
from model_packager.console import Reporter
from model_packager.errors import InvalidUsage
from model_packager.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest

TOLD: Final = 3
"""How many changes are told in words: names of tensors are long, and a report has room for little."""
WORDS: Final = 300


def run(uri: str, successor: Path, digest: str | None, termination_log: Path | None, reporter: Reporter) -> None:
    """Report the verdict on the contract in the manifest ``successor``, whatever its size. Breaking is no failure."""
    with termination.reported(termination_log) as report:
        new = _read(successor)
        _, old = open_reference(uri, digest, look_up=digest is None)
        found = compare_contracts(old.contract, new.contract)
        report.update({"old": old.digest(), "new": new.digest(), "verdict": found.verdict, "message": sentence(found)})
    reporter.result(report, f"{found.verdict}: {old.name}:{old.version} -> {new.name}:{new.version}")


def sentence(found: ContractDiff) -> str:
    """The first changes in words, those that break clients before the others; empty if there are none."""
    changes = sorted(found.changes, key=lambda change: not change.breaking)
    told = [change.message if len(change.message) <= WORDS else change.message[:WORDS] + "..." for change in changes]
    rest = len(told) - TOLD
    return "; ".join(told[:TOLD]) + (f"; and {rest} more" if rest > 0 else "")


def _read(path: Path) -> Manifest:
    with path.open("rb") as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    if not data:
        raise InvalidUsage(f"{path} is empty; it must be the manifest of the other bundle.")
    return parse_manifest(data)
