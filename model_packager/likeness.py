"""Is an answer the recorded one? Floats within the tolerance of the bundle, everything else exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model_packager.manifest import Contract, Golden, Tolerance
from model_packager.wire import FLOATS, WireTensor, numbers, values

_EXACT = Tolerance(rtol=0.0, atol=0.0)


@dataclass(frozen=True)
class Likeness:
    """``error`` is the largest difference of two finite floats; ``faults`` say of each wrong output what is wrong."""

    error: float
    faults: tuple[tuple[str, str], ...]


def compare(got: dict[str, WireTensor], want: dict[str, WireTensor], contract: Contract, golden: Golden) -> Likeness:
    """Every output of the contract; raises ValueError if ``want`` itself cannot be read."""
    error = 0.0
    faults: list[tuple[str, str]] = []
    for tensor in contract.outputs:
        recorded, answer = want[tensor.name], got.get(tensor.name)
        tolerance = golden.tolerances.get(tensor.datatype, _EXACT)
        difference, fault = (0.0, "is not in the answer") if answer is None else _tensor(answer, recorded, tolerance)
        error = max(error, difference)
        if fault:
            faults.append((tensor.name, fault))
    return Likeness(error, tuple(faults))


def _tensor(got: WireTensor, want: WireTensor, tolerance: Tolerance) -> tuple[float, str | None]:
    if got.datatype != want.datatype:
        return 0.0, f"has the datatype {got.datatype!a:.40}, recorded is {want.datatype}"
    if got.shape != want.shape:
        return 0.0, f"has the shape {list(got.shape)!s:.100}, recorded is {list(want.shape)}"
    if got.data == want.data:
        return 0.0, None
    if len(got.data) != len(want.data) and want.datatype != "BYTES":
        return 0.0, f"has {len(got.data)} bytes, recorded are {len(want.data)}"
    try:
        return _floats(got, want, tolerance) if want.datatype in FLOATS else (0.0, _exact(got, want))
    except ValueError as error:
        return 0.0, f"cannot be read: {error}"


def _exact(got: WireTensor, want: WireTensor) -> str:
    for index, (ours, theirs) in enumerate(zip(values(got), values(want), strict=False)):
        if ours != theirs:
            return f"is {_shown(ours)} at {_place(index, want.shape)}, recorded is {_shown(theirs)}"
    return "has other bytes than recorded"  # texts more or fewer, or a true that is not 1


def _floats(got: WireTensor, want: WireTensor, tolerance: Tolerance) -> tuple[float, str | None]:
    largest, fault = 0.0, None
    for index, (ours, theirs) in enumerate(zip(numbers(got), numbers(want), strict=True)):
        if ours == theirs:
            continue
        difference = abs(ours - theirs)
        allowed = tolerance.atol + tolerance.rtol * abs(theirs)
        if math.isfinite(difference):
            largest = max(largest, difference)
            within = difference <= allowed
        else:
            within = math.isnan(ours) and math.isnan(theirs)
        if not within and fault is None:
            place = _place(index, want.shape)
            fault = f"is {ours:.9g} at {place}, recorded is {theirs:.9g}, and {allowed:.3g} is the allowed difference"
    return largest, fault


def _place(index: int, shape: tuple[int, ...]) -> str:
    """The position in each dimension of the value with this number."""
    found: list[int] = []
    for size in reversed(shape):
        index, position = divmod(index, size or 1)
        found.insert(0, position)
    return str(found)


def _shown(value: float | bytes) -> str:
    return repr(value) if not isinstance(value, bytes) else ascii(value[:40].decode(errors="replace"))
