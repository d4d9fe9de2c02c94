"""Join the requests of one dynamic batch into one run of the model, and share its outputs out again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def batch_size(inputs: Mapping[str, Array]) -> int:
    """Return the first dimension shared by all inputs of one request; raises ValueError where they differ."""
    sizes = {name: array.shape[0] if array.ndim else None for name, array in inputs.items()}
    distinct = set(sizes.values())
    if len(distinct) != 1 or None in distinct:
        listing = ", ".join(f"'{name}' {size}" for name, size in sizes.items())
        raise ValueError(f"the inputs disagree on the batch size: {listing}")
    return int(next(iter(inputs.values())).shape[0])


def group_joinable(requests: Sequence[Mapping[str, Array]]) -> list[list[int]]:
    """Return the positions of the requests that can share a run, in order of arrival.

    Requests share a run when they carry the same inputs with the same shapes after the batch dimension. Triton
    batches only such requests, unless the configuration allows ragged batches.
    """
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[int]] = {}
    for position, inputs in enumerate(requests):
        key = tuple(sorted((name, array.shape[1:]) for name, array in inputs.items()))
        groups.setdefault(key, []).append(position)
    return list(groups.values())


def join(requests: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Concatenate the inputs of several requests along the batch dimension; one request passes through uncopied."""
    first = requests[0]
    if len(requests) == 1:
        return dict(first)
    return {name: np.concatenate([inputs[name] for inputs in requests], axis=0) for name in first}


def share_out(outputs: Mapping[str, Array], sizes: Sequence[int]) -> list[dict[str, Array]]:
    """Cut each output into one part a request, in the order of ``sizes`` (their batch sizes).

    Raises ValueError naming the output whose first dimension is not the whole batch: such a model does not batch.
    """
    total = sum(sizes)
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != total:
            raise ValueError(
                f"output '{name}' has the shape {list(array.shape)} for a batch of {total}: "
                "the model does not keep the batch dimension, set max_batch_size to 0"
            )
    bounds = pairwise(accumulate(sizes, initial=0))
    return [{name: array[start:end] for name, array in outputs.items()} for start, end in bounds]
