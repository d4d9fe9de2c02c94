"""Compare what config.pbtxt declares with what the ONNX file takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensor_types import triton_type


@dataclass(frozen=True)
class Declared:
    """One input or output of config.pbtxt, its dims as the model sees them: reshaped, with the batch dimension."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class Carried:
    """One input or output of the ONNX file; a dimension without a fixed size is -1, an unknown rank is None."""

    name: str
    onnx_type: str
    dims: tuple[int, ...] | None


def declared(config: Mapping[str, Any], side: str) -> list[Declared]:
    """Return the ``input`` or ``output`` entries of a model configuration in the JSON form Triton hands out."""
    batch = (-1,) if int(config.get("max_batch_size", 0)) > 0 else ()
    entries = []
    for entry in config.get(side, []):
        reshape = entry.get("reshape")
        dims = entry["dims"] if reshape is None else reshape.get("shape", [])
        shape = (*batch, *(int(dim) for dim in dims))
        entries.append(Declared(entry["name"], entry["data_type"], shape, bool(entry.get("optional", False))))
    return entries


def carried(arguments: Sequence[Any]) -> list[Carried]:
    """Return what ONNX Runtime reports of a session's inputs or outputs (objects with name, type and shape)."""
    return [
        Carried(
            argument.name,
            argument.type,
            # A rank-less value and a scalar both show an empty shape, so an empty shape promises nothing.
            tuple(dim if isinstance(dim, int) and dim > 0 else -1 for dim in argument.shape) or None,
        )
        for argument in arguments
    ]


def mismatches(side: str, wanted: Sequence[Declared], present: Sequence[Carried]) -> list[str]:
    """Return one sentence for each difference that would fail requests; an empty list means that they agree.

    Every input of the model must be declared. Outputs of the model that are not declared are simply not served.
    """
    model = {argument.name: argument for argument in present}
    problems = []
    for entry in wanted:
        if entry.name not in model:
            names = ", ".join(f"'{name}'" for name in model) or "none"
            problems.append(f"{side} '{entry.name}' of the configuration is not in the model, which has {names}")
            continue
        problems.extend(_differences(side, entry, model[entry.name]))
    if side == "input":
        known = {entry.name for entry in wanted}
        missing = [name for name in model if name not in known]
        problems.extend(f"input '{name}' of the model is not in the configuration" for name in missing)
    return problems


def _differences(side: str, entry: Declared, argument: Carried) -> list[str]:
    try:
        data_type = triton_type(argument.onnx_type)
    except ValueError as error:
        return [f"{side} '{entry.name}' of the model {error}"]
    if data_type != entry.data_type:
        return [f"{side} '{entry.name}' is {entry.data_type} in the configuration and {data_type} in the model"]
    if argument.dims is not None and not _compatible(entry.dims, argument.dims):
        dims = f"{list(entry.dims)} in the configuration and {list(argument.dims)} in the model"
        return [f"{side} '{entry.name}' has dims {dims}"]
    return []


def _compatible(configured: tuple[int, ...], model: tuple[int, ...]) -> bool:
    if len(configured) != len(model):
        return False
    return all(a == b or -1 in (a, b) for a, b in zip(configured, model, strict=True))
