"""May version B take the place of version A under the clients of A? A comparison of two contracts.

Pure, and with pydantic and the standard library only, so that a controller can ask before it moves traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from model_packager.schema import Contract, Tensor

Verdict = Literal["Compatible", "Additive", "Breaking"]
Reason = Literal[
    "InputAdded", "InputRemoved", "OutputAdded", "OutputRemoved", "DatatypeChanged", "RankChanged",
    "ShapeNarrowed", "ShapeWidened", "ShapeChanged", "LabelsChanged", "LabelsAdded",
    "MaxBatchSizeLowered", "MaxBatchSizeRaised", "BatchingChanged",
]  # fmt: skip
_ADDITIVE: Final = ("OutputAdded", "ShapeWidened", "LabelsAdded", "MaxBatchSizeRaised")


@dataclass(frozen=True)
class Change:
    """One difference: what kind, of which tensor (empty for the contract itself), and in words."""

    reason: Reason
    subject: str
    message: str

    @property
    def breaking(self) -> bool:
        """Whether a client of A may fail with B."""
        return self.reason not in _ADDITIVE


@dataclass(frozen=True)
class ContractDiff:
    """All changes from A to B, in a fixed order."""

    changes: tuple[Change, ...]

    @property
    def verdict(self) -> Verdict:
        """``Compatible``: the same promise. ``Additive``: more than was promised. ``Breaking``: less, or another."""
        if any(change.breaking for change in self.changes):
            return "Breaking"
        return "Additive" if self.changes else "Compatible"


def compare_contracts(old: Contract, new: Contract) -> ContractDiff:
    """What a client that was written for ``old`` meets at ``new``."""
    changes = [
        *_names("Input", old.inputs, new.inputs),
        *_names("Output", old.outputs, new.outputs),
        *_tensors("input", old.inputs, new.inputs),
        *_tensors("output", old.outputs, new.outputs),
        *_batch(old.max_batch_size, new.max_batch_size),
    ]
    return ContractDiff(tuple(changes))


def _names(kind: Literal["Input", "Output"], old: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> list[Change]:
    before, after = {tensor.name for tensor in old}, {tensor.name for tensor in new}
    removed: Reason = "InputRemoved" if kind == "Input" else "OutputRemoved"
    added: Reason = "InputAdded" if kind == "Input" else "OutputAdded"
    what = kind.lower()
    need = ", which every request must have" if kind == "Input" else ""
    return [
        *(Change(removed, name, f"the {what} {name!a} is gone or renamed") for name in sorted(before - after)),
        *(Change(added, name, f"the {what} {name!a} is new{need}") for name in sorted(after - before)),
    ]


def _tensors(kind: str, old: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> list[Change]:
    after = {tensor.name: tensor for tensor in new}
    changes: list[Change] = []
    for tensor in old:
        if tensor.name in after:
            changes += _tensor(kind, tensor, after[tensor.name])
    return changes


def _tensor(kind: str, old: Tensor, new: Tensor) -> list[Change]:
    found: list[Change] = []

    def add(reason: Reason, words: str) -> None:
        found.append(Change(reason, old.name, f"the {kind} {old.name!a} {words}"))

    if old.datatype != new.datatype:
        add("DatatypeChanged", f"was {old.datatype} and is {new.datatype}")
    shapes = f"had the shape {list(old.shape)} and has {list(new.shape)}"
    if len(old.shape) != len(new.shape):
        add("RankChanged", shapes)
    elif old.shape != new.shape:
        pairs = [(before, after) for before, after in zip(old.shape, new.shape, strict=True) if before != after]
        # An input must take what it took; an output must not give what it never gave.
        if kind == "input" and all(after == -1 for _, after in pairs):
            add("ShapeWidened", shapes)
        elif kind == "output" and all(before == -1 for before, _ in pairs):
            add("ShapeWidened", f"{shapes}, which is among what it could have")
        else:
            add("ShapeNarrowed" if all(before == -1 for before, _ in pairs) else "ShapeChanged", shapes)
    if old.labels is None and new.labels is not None:
        add("LabelsAdded", f"now has {len(new.labels)} labels")
    elif old.labels != new.labels:
        add("LabelsChanged", "has other labels or another order of them")
    return found


def _batch(old: int, new: int) -> list[Change]:
    if old == new:
        return []
    words = f"the maximum batch size was {old} and is {new}"
    if (old == 0) != (new == 0):
        return [Change("BatchingChanged", "", words)]
    return [Change("MaxBatchSizeRaised" if new > old else "MaxBatchSizeLowered", "", words)]
