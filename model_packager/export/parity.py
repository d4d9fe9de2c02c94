"""Comparing two sets of outputs: exact for what is counted or named, within tolerance for what is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from model_packager.export.tensors import Array
from model_packager.manifest import Datatype, OutputParity, Tensor, Tolerance

_DEFAULTS: dict[str, tuple[float, float]] = {"FP64": (1e-5, 1e-7), "FP32": (1e-3, 1e-5), "FP16": (1e-2, 1e-3)}


# Of a model in reduced precision, whatever the datatype that its outputs are cast to.
_REDUCED: dict[str, tuple[float, float]] = {"fp16": (1e-2, 1e-3), "int8": (1e-1, 5e-2)}
REDUCED_AGREEMENT = 0.99


def tolerances(
    outputs: list[Tensor], rtol: float | None, atol: float | None, precision: str | None = None
) -> dict[Datatype, Tolerance]:
    """Tolerance by datatype of the outputs. ``rtol`` and ``atol`` replace the defaults of floating-point types."""
    found: dict[Datatype, Tolerance] = {}
    for kind in sorted({tensor.datatype for tensor in outputs}):
        default = _DEFAULTS.get(kind)
        if default is not None and precision is not None:
            default = _REDUCED[precision]
        if default is None:
            found[kind] = Tolerance(rtol=0.0, atol=0.0)
        else:
            found[kind] = Tolerance(
                rtol=default[0] if rtol is None else rtol, atol=default[1] if atol is None else atol
            )
    return found


@dataclass
class OutputComparison:
    """Differences of one output, gathered over all cases. ``fault`` is the first thing that is not acceptable.

    ``min_agreement`` below 1 is for models of reduced precision: so large a share of the labels, or of the rows'
    highest scores, must be the source's; see :meth:`verdict`.
    """

    tensor: Tensor
    tolerance: Tolerance
    min_agreement: float = 1.0
    fault: str | None = None
    _absolute: list[Array] = field(default_factory=list)
    _relative: list[Array] = field(default_factory=list)
    _agreement: list[Array] = field(default_factory=list)

    def add(self, case: str, got: Array, want: Array) -> bool:
        """Compare one answer with the one of the source; true if it is the same within tolerance."""
        problem = self._compare(np.asarray(got), np.asarray(want))
        counted = self.min_agreement < 1 and self.tensor.datatype not in _DEFAULTS and np.shape(got) == np.shape(want)
        if problem and self.fault is None and not counted:
            self.fault = f"The output {self.tensor.name!a} {problem} (case {case})."
        return problem is None

    def verdict(self) -> str | None:
        """What is not acceptable over all cases, as a sentence, or None."""
        if self.fault is None and self.min_agreement < 1 and self._agreement:
            share = float(np.concatenate(self._agreement).mean())
            if share < self.min_agreement:
                return (
                    f"The output {self.tensor.name!a} agrees with the source in {share:.1%} of the rows; "
                    f"{self.min_agreement:.1%} are needed."
                )
        return self.fault

    def _compare(self, got: Array, want: Array) -> str | None:
        if got.shape != want.shape:
            return f"has the shape {list(got.shape)} instead of {list(want.shape)}"
        if self.tensor.datatype not in _DEFAULTS:
            equal = got.astype(str) == want.astype(str) if self.tensor.datatype == "BYTES" else got == want
            self._note(np.where(equal, 0.0, 1.0), np.where(equal, 0.0, 1.0))
            if self.min_agreement < 1:
                self._agreement.append(np.asarray(equal).ravel())
            return None if equal.all() else f"differs in {int((~equal).sum())} of {equal.size} values"
        got, want = got.astype(np.float64), want.astype(np.float64)
        if want.ndim > 1 and want.shape[-1] > 1:
            self._agreement.append((got.argmax(axis=-1) == want.argmax(axis=-1)).ravel())
        finite = np.isfinite(want)
        if not np.array_equal(got[~finite], want[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
            return "has NaN or infinity in other places"
        difference = np.abs(got[finite] - want[finite])
        size = np.abs(want[finite])
        # Below atol a ratio says nothing about the model, only about rounding.
        self._note(difference, np.divide(difference, size, out=np.zeros_like(size), where=size > self.tolerance.atol))
        over = difference - (self.tolerance.atol + self.tolerance.rtol * size)
        if not over.size or over.max() <= 0:
            return None
        worst = int(over.argmax())
        return (
            f"is {got[finite][worst]:.6g} where the source says {want[finite][worst]:.6g}, a difference of "
            f"{difference[worst]:.2g}; {self.tolerance.atol:g} + {self.tolerance.rtol:g} of the value is allowed"
        )

    def _note(self, absolute: Array, relative: Array) -> None:
        self._absolute.append(absolute.ravel())
        self._relative.append(relative.ravel())

    def summary(self) -> OutputParity:
        """Figures for the manifest, to three digits."""
        absolute = np.concatenate(self._absolute) if self._absolute else np.zeros(1)
        relative = np.concatenate(self._relative) if self._relative else np.zeros(1)
        agreement = np.concatenate(self._agreement) if self._agreement else None
        return OutputParity(
            name=self.tensor.name,
            max_abs=_digits(absolute.max(initial=0.0)),
            p99_abs=_digits(float(np.percentile(absolute, 99)) if absolute.size else 0.0),
            max_rel=_digits(relative.max(initial=0.0)),
            p99_rel=_digits(float(np.percentile(relative, 99)) if relative.size else 0.0),
            argmax_agreement=None if agreement is None else _digits(agreement.mean()),
        )


def _digits(value: float) -> float:
    return float(f"{float(value):.3g}")
