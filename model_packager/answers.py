"""The answers of two bundles to the same inputs, on this machine's CPU."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from model_packager.errors import InvalidUsage
from model_packager.export.golden import read_case
from model_packager.export.tensors import Array
from model_packager.local import open_model
from model_packager.manifest import Contract, Manifest


def same_inputs(old: Contract, new: Contract) -> bool:
    """Whether a request for one can be sent to the other at all."""
    return {(t.name, t.datatype) for t in old.inputs} == {(t.name, t.datatype) for t in new.inputs}


def differences(old: Path, new: Path, before: Manifest, after: Manifest) -> list[dict[str, Any]] | None:
    """Largest difference of B from A by output, on the golden inputs of A; None where B does not take them."""
    models = [open_model(old, before), open_model(new, after)]
    worst: dict[str, dict[str, Any]] = {}
    for case in before.golden.cases:
        inputs, _ = read_case(old, case.name)
        try:
            first, second = (model(inputs) for model in models)
        except InvalidUsage:
            return None
        for name in sorted(first.keys() & second.keys()):
            _add(worst.setdefault(name, {"output": name, "maxAbs": 0.0, "equal": True}), first[name], second[name])
    return [worst[name] for name in sorted(worst)]


def _add(entry: dict[str, Any], ours: Array, theirs: Array) -> None:
    entry["equal"] = bool(entry["equal"] and np.array_equal(ours, theirs))
    if ours.shape != theirs.shape or ours.dtype.kind not in "fiub" or theirs.dtype.kind not in "fiub":
        entry["maxAbs"] = None if not entry["equal"] else entry["maxAbs"]
    elif ours.size and entry["maxAbs"] is not None:
        difference = float(np.max(np.abs(ours.astype(np.float64) - theirs.astype(np.float64))))
        entry["maxAbs"] = max(entry["maxAbs"], difference) if math.isfinite(difference) else None
