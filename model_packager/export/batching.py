"""Is the first dimension a batch? A symbolic name in the graph is a claim; only running the model shows it."""

from __future__ import annotations

import numpy as np

from model_packager.errors import ExportFailed
from model_packager.export.parity import OutputComparison
from model_packager.export.runtime import Session
from model_packager.export.samples import take_rows
from model_packager.export.tensors import Array, Arrays
from model_packager.manifest import Datatype, Tensor, Tolerance


def batch_sizes(maximum: int) -> tuple[int, ...]:
    """The sizes to try: 1, 2, 3 and the maximum, as far as the maximum allows; none for a maximum of 0."""
    return tuple(sorted({size for size in (1, 2, 3, maximum) if 0 < size <= maximum}))


def buckets(maximum: int) -> tuple[int, ...]:
    """Powers of two up to the maximum, and the maximum: the sizes to warm up and to measure; none for 0."""
    powers = [1 << exponent for exponent in range(maximum.bit_length())]
    return tuple(sorted({*powers, maximum} - {0}))


def batch_problem(
    session: Session,
    inputs: list[Tensor],
    outputs: list[Tensor],
    sample: Arrays,
    maximum: int,
    tolerances: dict[Datatype, Tolerance],
) -> str | None:
    """Why requests may not be put together in batches of up to ``maximum``, as a sentence, or None if they may."""
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            if not tensor.shape or tensor.shape[0] != -1:
                return f"The {kind} {tensor.name!a} has the fixed shape {list(tensor.shape)}."
    sizes = batch_sizes(maximum)
    try:
        single = [session.run(_row(sample, row)) for row in range(min(3, maximum))]
        answers = {size: session.run(take_rows(sample, size)) for size in sizes}
    except ExportFailed as error:
        return f"The model does not run at the batch sizes {', '.join(map(str, sizes))}: {error}"
    for index, tensor in enumerate(outputs):
        comparison = OutputComparison(tensor, tolerances[tensor.datatype])
        for size, answer in answers.items():
            got = answer[index]
            if got.ndim == 0 or len(got) != size:
                return f"The output {tensor.name!a} has the shape {list(got.shape)} for a batch of {size}."
            rows = min(size, len(single))
            want: list[Array] = [single[row][index] for row in range(rows)]
            if len({value.shape for value in want}) != 1 or want[0].shape[1:] != got.shape[1:]:
                return f"The output {tensor.name!a} changes its other dimensions with the batch size."
            comparison.add(f"batch {size}", got[:rows], np.concatenate(want))
        if comparison.fault:
            return f"A row's answer depends on the other rows of its batch. {comparison.fault}"
    return None


def _row(sample: Arrays, row: int) -> Arrays:
    return {name: np.ascontiguousarray(value[[row % len(value)]]) for name, value in sample.items()}
