"""``model-packager diff``: may B take the place of A, and what else changes?"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_packager import placing
from model_packager.commands.bundles import open_signed
from model_packager.compatibility import Change, compare_contracts
from model_packager.console import Reporter
from model_packager.errors import ContractBroken
from model_packager.folder import verify_folder
from model_packager.manifest import Manifest
from model_packager.stores import Store
from model_packager.versions import version_problem


@dataclass(frozen=True)
class Side:
    """One of the two bundles. ``folder`` is where it is, or where it comes to from ``store`` if its answers matter."""

    manifest: Manifest
    store: Store | None
    folder: Path

    def fetch(self, reporter: Reporter) -> Path:
        """The folder, with the bundle in it."""
        if self.store is not None:
            with reporter.transferring("fetching", self.manifest.sizes) as progress:
                placing.pull(self.manifest, self.store, self.folder, progress)
        return self.folder


def diff(old: str, new: str, reporter: Reporter, *, allow_breaking: bool, answers: bool = True) -> None:
    """Report; raises ContractBroken after the report if a client of A may fail with B, unless that is allowed.

    Without ``answers`` nothing but the manifests is read.
    """
    with tempfile.TemporaryDirectory(prefix="model-packager-") as scratch:
        sides = _load(old, Path(scratch) / "a"), _load(new, Path(scratch) / "b")
        numbers = _numeric(*sides, reporter) if answers else None
    before, after = (side.manifest for side in sides)
    found = compare_contracts(before.contract, after.contract)
    fields: dict[str, Any] = {
        "old": _identity(before),
        "new": _identity(after),
        "verdict": found.verdict,
        "changes": [_fields(change) for change in found.changes],
        "versionProblem": version_problem(before.version, after.version, found),
        "latency": _latency(before, after),
        "numeric": numbers,
    }
    reporter.result(fields, "\n".join(_lines(fields)))
    breaking = [change.message for change in found.changes if change.breaking]
    if breaking and not allow_breaking:
        raise ContractBroken(f"Clients of {before.name}:{before.version} may fail: {'; '.join(breaking)}.")


def _load(target: str, place: Path) -> Side:
    if "://" not in target:
        return Side(verify_folder(Path(target)), None, Path(target))
    store, manifest, _ = open_signed(target, None, None)
    return Side(manifest, store, place)


def _identity(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.digest(),
        "sizeBytes": manifest.size_bytes,
        "opset": manifest.compatibility.opset,
        "ir": manifest.compatibility.ir_version,
    }


def _fields(change: Change) -> dict[str, Any]:
    return {
        "reason": change.reason, "subject": change.subject, "breaking": change.breaking, "message": change.message,
    }  # fmt: skip


def _latency(before: Manifest, after: Manifest) -> list[dict[str, float]]:
    """Median and 95th percentile in ms where both were measured on the same kind of device with as many threads."""
    if before.profile is None or after.profile is None:
        return []
    if (before.profile.device, before.profile.threads) != (after.profile.device, after.profile.threads):
        return []
    later = {point.batch_size: point for point in after.profile.points}
    return [
        {
            "batchSize": point.batch_size,
            "oldP50Ms": point.p50_ms, "newP50Ms": later[point.batch_size].p50_ms,
            "oldP95Ms": point.p95_ms, "newP95Ms": later[point.batch_size].p95_ms,
        }
        for point in before.profile.points
        if point.batch_size in later
    ]  # fmt: skip


def _numeric(old: Side, new: Side, reporter: Reporter) -> list[dict[str, Any]] | None:
    """Differences of the answers, or None where they cannot be had. Bundles in a store are fetched for it."""
    try:
        from model_packager.answers import differences, same_inputs
    except ModuleNotFoundError:
        return None
    if not same_inputs(old.manifest.contract, new.manifest.contract):
        return None
    return differences(old.fetch(reporter), new.fetch(reporter), old.manifest, new.manifest)


def _lines(fields: dict[str, Any]) -> list[str]:
    old, new = fields["old"], fields["new"]
    lines = [f"{fields['verdict']}: {old['name']}:{old['version']} -> {new['name']}:{new['version']}"]
    for change in fields["changes"]:
        lines.append(f"  {'breaking' if change['breaking'] else 'additive'} {change['reason']}: {change['message']}")
    if fields["versionProblem"]:
        lines.append(f"  version  {fields['versionProblem']}")
    for what in ("sizeBytes", "opset", "ir"):
        lines.append(f"  {what}  {old[what]} -> {new[what]}")
    for point in fields["latency"]:
        lines.append(
            f"  batch {point['batchSize']}  p50 {point['oldP50Ms']} -> {point['newP50Ms']} ms, "
            f"p95 {point['oldP95Ms']} -> {point['newP95Ms']} ms"
        )
    if fields["numeric"] is None:
        return [*lines, "  answers not compared (the inputs do not fit, or it was not asked for)"]
    for entry in fields["numeric"]:
        shown = "not comparable" if entry["maxAbs"] is None else f"{entry['maxAbs']:g}"
        lines.append(f"  output {entry['output']}: largest difference {shown}{', equal' if entry['equal'] else ''}")
    return lines
