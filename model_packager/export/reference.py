"""``reference/reference.json``: how inputs and outputs are distributed when all is well, to measure drift against.

A number has distinct cuts and the exact share of values at or below each of them; what is counted has its categories.
Rare categories and the outermost values are folded, because a bundle travels and single values may be personal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from model_packager.errors import InvalidUsage
from model_packager.export.convert import Converted
from model_packager.export.samples import conform, read_sample
from model_packager.export.tensors import FLOATS, Array, Arrays
from model_packager.manifest import Tensor

SCHEMA: Final = "tidegate.dev/reference/v1"
FILE: Final = "reference/reference.json"
MIN_ROWS: Final = 500  # fewer say too little about a distribution to raise an alarm
MAX_VARIABLES: Final = 256
_CUTS: Final = 64
_MAX_CATEGORIES: Final = 50
_RARE: Final = 10  # a category seen less often is not named
_TAILS: Final = (0.001, 0.999)


def write_reference(path: Path, converted: Converted, renamed: dict[str, str], folder: Path) -> None:
    """Read the inputs, run the exported model on them, and write both distributions below ``folder``.

    Raises InvalidUsage if there are fewer than ``MIN_ROWS`` rows or if the model does not take batches.
    """
    maximum = converted.contract.max_batch_size
    if not maximum:
        raise InvalidUsage("The model takes no batches, so the rows of --reference cannot be told apart.")
    given = {renamed.get(name, name): value for name, value in read_sample(path).items()}
    inputs = conform(given, converted.inputs)
    counts = {len(value) for value in inputs.values()}
    if len(counts) != 1 or (rows := counts.pop()) < MIN_ROWS:
        raise InvalidUsage(f"The reference {path} must have the same number of rows everywhere, {MIN_ROWS} at least.")
    parts = [
        converted.session.run({name: np.ascontiguousarray(value[at : at + maximum]) for name, value in inputs.items()})
        for at in range(0, rows, maximum)
    ]
    answers = [np.concatenate(column) for column in zip(*parts, strict=True)]
    outputs: Arrays = {tensor.name: value for tensor, value in zip(converted.outputs, answers, strict=True)}
    # Outputs first: when there are too many variables, a change there matters to everyone.
    variables = [*_variables(converted.outputs, outputs, "output"), *_variables(converted.inputs, inputs, "input")]
    fields = {"schema": SCHEMA, "rows": rows, "variables": variables[:MAX_VARIABLES]}
    (folder / FILE).parent.mkdir()
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    (folder / FILE).write_text(text, encoding="utf-8")


def _variables(tensors: list[Tensor], values: Arrays, direction: str) -> list[dict[str, Any]]:
    found = []
    for tensor in tensors:
        columns = values[tensor.name].reshape(len(values[tensor.name]), -1)
        for index in range(min(columns.shape[1], MAX_VARIABLES)):
            head = {"tensor": tensor.name, "column": index, "direction": direction, "dtype": tensor.datatype}
            found.append(head | describe_column(columns[:, index], counted=tensor.datatype not in FLOATS))
    return found


def describe_column(values: Array, *, counted: bool) -> dict[str, Any]:
    """Counts by category, or cuts and the share at or below each; NaN and infinities are ``missing``."""
    if counted:
        names, counts = np.unique(values.astype(str) if values.dtype.kind in "OSU" else values, return_counts=True)
        if len(names) <= _MAX_CATEGORIES or values.dtype.kind in "OSU":
            most = np.argsort(-counts, kind="stable")[:_MAX_CATEGORIES]
            kept = [index for index in most if counts[index] >= _RARE]
            categories = [{"value": str(names[index]), "count": int(counts[index])} for index in kept]
            other = int(counts.sum()) - sum(int(counts[index]) for index in kept)
            return {"kind": "categories", "categories": categories, "other": other, "missing": 0}
    finite = values[np.isfinite(values)]
    missing = len(values) - len(finite)
    if not len(finite):
        return {"kind": "numbers", "cuts": [], "cdf": [], "missing": missing}
    # Cuts are values of the column in its own datatype: a decimal in between would move all that equals it.
    steps = np.linspace(*_TAILS, _CUTS)
    cuts = np.unique(np.quantile(finite, steps, method="inverted_cdf"))
    at_or_below = np.searchsorted(np.sort(finite), cuts, side="right") / len(finite)
    return {
        "kind": "numbers",
        "cuts": [float(cut) for cut in cuts],
        "cdf": [round(float(share), 6) for share in at_or_below],
        "missing": missing,
        "min": float(cuts[0]),
        "max": float(cuts[-1]),
    }
