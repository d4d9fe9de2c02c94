"""From the tensors of a graph to the contract that a client sees."""

from __future__ import annotations

from model_packager.errors import InvalidUsage
from model_packager.export.tensors import FLOATS
from model_packager.manifest import Contract, Tensor


def build_contract(
    inputs: list[Tensor], outputs: list[Tensor], max_batch_size: int, labels: tuple[str, ...] | None
) -> Contract:
    """The served shapes; ``labels`` go to the outputs that have a score for each of them."""
    return Contract(
        inputs=tuple(_served(tensor, max_batch_size) for tensor in inputs),
        outputs=tuple(_served(tensor, max_batch_size, labels) for tensor in outputs),
        max_batch_size=max_batch_size,
    )


def check_labels(outputs: list[Tensor], labels: tuple[str, ...]) -> None:
    """Raise InvalidUsage if no output has a score for each label."""
    if not any(_scores(tensor, labels) for tensor in outputs):
        shapes = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in outputs)
        raise InvalidUsage(f"There are {len(labels)} labels, but no output with as many scores a row; it has {shapes}.")


def _scores(tensor: Tensor, labels: tuple[str, ...]) -> bool:
    return len(tensor.shape) > 1 and tensor.shape[-1] == len(labels) and tensor.datatype in FLOATS


def _served(tensor: Tensor, max_batch_size: int, labels: tuple[str, ...] | None = None) -> Tensor:
    """As a client sees it: a server has no empty inner shape, so one value a row becomes a row of one value."""
    shape = tensor.shape
    if len(shape) < (2 if max_batch_size else 1):
        shape = (*shape, 1)
    return Tensor(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=shape,
        labels=labels if labels and _scores(tensor, labels) else None,
    )
