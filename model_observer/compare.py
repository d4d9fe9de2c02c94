"""Whether two answers mean the same, by the contract of the model. Pure.

One row is judged of each exchange, drawn by chance: the rows of a batch are no independent samples, and a share over
exchanges then is the share of predictions that agree, whatever the batches are like.
"""

from collections.abc import Iterable

import numpy as np

from model_observer.decode.tensors import Tensor, Tensors, Values
from model_observer.plan import Model, Output, Tolerances
from model_observer.reasons import Left, Reason

SUM_SLACK = 0.01
"""How far the sum of probabilities may be from 1, which half-precision models need."""


def agree(model: Model, ours: Tensors, theirs: Tensors, chance: float) -> bool:
    """True when every output that can be judged means the same in the drawn row; ``chance`` in [0, 1) draws it.

    Raises Left where no output can be judged. An output that only one of the two has is a difference.
    """
    judged = [
        _output(output, model, ours.get(output.name), theirs.get(output.name), chance)
        for output in _judgeable(model)
        if output.name in ours or output.name in theirs
    ]
    if not judged:
        raise Left(Reason.UNJUDGED)
    return all(judged)


def _judgeable(model: Model) -> Iterable[Output]:
    """Outputs whose rows all have one form. Rows with a length of their own would need to be aligned first."""
    inner = 1 if model.max_batch_size else 0
    return (output for output in model.outputs if -1 not in output.shape[inner:])


def _output(promise: Output, model: Model, ours: Tensor | None, theirs: Tensor | None, chance: float) -> bool:
    if ours is None or theirs is None or ours.datatype != theirs.datatype or ours.values.shape != theirs.values.shape:
        return False
    first, second = ours.values, theirs.values
    if first.size == 0:
        return True
    if model.max_batch_size and first.ndim:
        row = min(int(chance * len(first)), len(first) - 1)
        first, second = first[row], second[row]
    if ours.datatype == "BYTES" and promise.datatype != "BYTES":
        return _class_index(first) == _class_index(second)
    if first.dtype.kind != "f":
        return bool(np.array_equal(first, second))
    if promise.labelled:
        return _same_label(first, second, model.tolerances.probability)
    return _close(first, second, model.tolerances)


def _same_label(first: Values, second: Values, tolerance: float) -> bool:
    """The best class is the same; where the scores are probabilities, none of them differs by more either."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    if not np.array_equal(_best(first), _best(second)):
        return False
    if not (_probabilities(first) and _probabilities(second)):
        return True
    return bool(np.max(np.abs(first - second)) <= tolerance)


def _best(scores: Values) -> Values:
    return np.asarray(np.argmax(np.where(np.isnan(scores), -np.inf, scores), axis=-1))


def _probabilities(scores: Values) -> bool:
    inside = np.all((scores >= 0) & (scores <= 1 + SUM_SLACK))
    return bool(inside and np.all(np.abs(scores.sum(axis=-1) - 1) <= SUM_SLACK))


def _close(first: Values, second: Values, tolerances: Tolerances) -> bool:
    first, second = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = tolerances.absolute + tolerances.relative * np.maximum(np.abs(first), np.abs(second))
        near = np.abs(first - second) <= allowed
    finite = np.isfinite(first) & np.isfinite(second)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    return bool(np.all(np.where(finite, near, same)))


def _class_index(row: Values) -> bytes:
    """Of a client that asked for classes instead of scores: "score:index:label", the best one first."""
    parts = bytes(row.ravel()[0]).split(b":", 2)
    return parts[1] if len(parts) > 1 else parts[0]
