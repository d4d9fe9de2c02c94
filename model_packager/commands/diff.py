"""``model-packager diff``: may B take the place of A, and what else changes?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from model_packager.commands.bundles import open_reference
from model_packager.compatibility import Change, compare_contracts
from model_packager.console import Reporter
from model_packager.errors import ContractBroken, InvalidUsage
from model_packager.folder import verify_folder
from model_packager.manifest import Manifest


def diff(old: str, new: str, reporter: Reporter, *, allow_breaking: bool) -> None:
    """Report; raises ContractBroken after the report if a client of A may fail with B, unless that is allowed."""
    before, after = _load(old), _load(new)
    found = compare_contracts(before.contract, after.contract)
    numbers = None if "://" in old or "://" in new else _numeric(Path(old), Path(new), before, after)
    fields: dict[str, Any] = {
        "old": _identity(before),
        "new": _identity(after),
        "verdict": found.verdict,
        "changes": [_fields(change) for change in found.changes],
        "latency": _latency(before, after),
        "numeric": numbers,
    }
    reporter.result(fields, "\n".join(_lines(fields)))
    breaking = [change.message for change in found.changes if change.breaking]
    if breaking and not allow_breaking:
        raise ContractBroken(f"Clients of {before.name}:{before.version} may fail: {'; '.join(breaking)}.")


def _load(target: str) -> Manifest:
    return open_reference(target, None)[1] if "://" in target else verify_folder(Path(target))


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


def _numeric(old: Path, new: Path, before: Manifest, after: Manifest) -> list[dict[str, Any]] | None:
    """Largest differences of B from A on the golden inputs of A, or None where the inputs do not fit or do not run."""
    same = {(t.name, t.datatype) for t in before.contract.inputs} == {
        (t.name, t.datatype) for t in after.contract.inputs
    }
    try:
        import numpy as np

        from model_packager.export.golden import read_case
        from model_packager.local import open_model
    except ModuleNotFoundError:
        return None
    if not same:
        return None
    models = [open_model(old, before), open_model(new, after)]
    worst: dict[str, dict[str, Any]] = {}
    for case in before.golden.cases:
        inputs, _ = read_case(old, case.name)
        try:
            first, second = (model(inputs) for model in models)
        except InvalidUsage:
            return None
        for name in sorted(first.keys() & second.keys()):
            ours, theirs = first[name], second[name]
            entry = worst.setdefault(name, {"output": name, "maxAbs": 0.0, "equal": True})
            entry["equal"] = bool(entry["equal"] and np.array_equal(ours, theirs))
            if ours.shape != theirs.shape or ours.dtype.kind not in "fiub" or theirs.dtype.kind not in "fiub":
                entry["maxAbs"] = None if not entry["equal"] else entry["maxAbs"]
            elif ours.size and entry["maxAbs"] is not None:
                difference = float(np.max(np.abs(ours.astype(np.float64) - theirs.astype(np.float64))))
                entry["maxAbs"] = max(entry["maxAbs"], difference) if math.isfinite(difference) else None
    return [worst[name] for name in sorted(worst)]


def _lines(fields: dict[str, Any]) -> list[str]:
    old, new = fields["old"], fields["new"]
    lines = [f"{fields['verdict']}: {old['name']}:{old['version']} -> {new['name']}:{new['version']}"]
    for change in fields["changes"]:
        lines.append(f"  {'breaking' if change['breaking'] else 'additive'} {change['reason']}: {change['message']}")
    for what in ("sizeBytes", "opset", "ir"):
        lines.append(f"  {what}  {old[what]} -> {new[what]}")
    for point in fields["latency"]:
        lines.append(
            f"  batch {point['batchSize']}  p50 {point['oldP50Ms']} -> {point['newP50Ms']} ms, "
            f"p95 {point['oldP95Ms']} -> {point['newP95Ms']} ms"
        )
    if fields["numeric"] is None:
        return [*lines, "  numeric difference not measured (needs two folders with inputs that fit)"]
    for entry in fields["numeric"]:
        shown = "not comparable" if entry["maxAbs"] is None else f"{entry['maxAbs']:g}"
        lines.append(f"  output {entry['output']}: largest difference {shown}{', equal' if entry['equal'] else ''}")
    return lines
