"""Inputs to compare with: the given sample, seeded variations of it, and edges."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from model_packager.errors import InvalidUsage
from model_packager.export.tensors import Array, Arrays, as_datatype
from model_packager.manifest import Tensor

SEEDS: Final = (1, 2, 3)
_KINDS: Final = "biufSUO"
MAX_SAMPLE_BYTES: Final = 1 << 30
# What the readers of zip and npy raise for headers that lie, encryption and unknown compression.
_OTHER_FAULTS: Final = (ValueError, TypeError, AttributeError, KeyError, RuntimeError, SyntaxError)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One set of inputs. ``batch_size`` is the number of rows, 0 if the model has no batch dimension."""

    name: str
    origin: Literal["Sample", "Seed", "Edge"]
    inputs: Arrays
    batch_size: int


def read_sample(path: Path) -> Arrays:
    """Arrays by input name from an ``.npz`` file. Raises InvalidUsage; never unpickles."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            size = sum(entry.file_size for entry in archive.zip.infolist())
            if size > MAX_SAMPLE_BYTES:
                raise ValueError(f"it unpacks to {size} bytes, and at most {MAX_SAMPLE_BYTES} are read")
            sample: Arrays = {name: np.asarray(archive[name]) for name in archive.files}
    except FileNotFoundError as error:
        raise InvalidUsage(f"The sample {path} does not exist.") from error
    except (OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, *_OTHER_FAULTS) as error:
        raise InvalidUsage(
            f"The sample {path} is not an .npz file of plain arrays (numpy.savez): {str(error)[:300]}."
        ) from error
    if not sample or any(value.dtype.kind not in _KINDS or not value.size for value in sample.values()):
        raise InvalidUsage(f"The sample {path} must hold at least one array, none empty, of numbers, booleans or text.")
    return sample


def conform(sample: Arrays, inputs: list[Tensor]) -> Arrays:
    """The sample in the datatypes of the model. Raises InvalidUsage where names or shapes do not fit."""
    wanted = [tensor.name for tensor in inputs]
    if sorted(sample) != sorted(wanted):
        raise InvalidUsage(f"The model has the inputs {', '.join(wanted)}; the sample has {', '.join(sample)}.")
    for tensor in inputs:
        shape = sample[tensor.name].shape
        fits = len(shape) == len(tensor.shape) and all(
            size in (-1, given) for size, given in zip(tensor.shape, shape, strict=True)
        )
        if not fits:
            raise InvalidUsage(
                f"The input {tensor.name!a} has the shape {list(tensor.shape)}; the sample has {list(shape)}."
            )
    return {tensor.name: as_datatype(sample[tensor.name], tensor.datatype) for tensor in inputs}


def take_rows(sample: Arrays, rows: int) -> Arrays:
    """The first ``rows`` rows, starting over when the sample has fewer."""
    return {name: np.ascontiguousarray(value[np.arange(rows) % len(value)]) for name, value in sample.items()}


def vary(sample: Arrays, seed: int, rows: int) -> Arrays:
    """``rows`` seeded rows, each value drawn within the range that the sample has at its place.

    Staying inside the range keeps token ids, categories and one-hot columns valid. With ``rows`` 0 the shape of the
    sample is kept, for a model without a batch dimension.
    """
    generator = np.random.default_rng(seed)
    return {name: _vary(value, generator, rows) for name, value in sorted(sample.items())}


def _vary(value: Array, generator: np.random.Generator, rows: int) -> Array:
    shape = (rows, *value.shape[1:]) if rows else value.shape
    if value.dtype.kind in "OSUb" or not np.isfinite(value).all():
        return np.ascontiguousarray(value[generator.integers(0, len(value), shape[0])] if shape else value)
    along = 0 if rows and len(value) > 1 else None
    low, high = value.min(axis=along), value.max(axis=along)
    if value.dtype.kind in "iu":
        return generator.integers(low, high, shape, dtype=value.dtype, endpoint=True)
    return np.asarray(low + generator.random(shape) * (high - low)).astype(value.dtype)


def cases(sample: Arrays, batch_sizes: tuple[int, ...], *, invented: bool = True) -> list[Case]:
    """Everything to compare, in a fixed order; ``batch_sizes`` is empty for a model without a batch dimension.

    Without ``invented`` only rows of the sample are asked, because a model of reduced precision is held to real data.
    """
    if not batch_sizes:
        whole = [Case(name="sample", origin="Sample", inputs=sample, batch_size=0)]
        if not invented:
            return whole
        seeded = [Case(name=f"seed-{s}", origin="Seed", inputs=vary(sample, s, 0), batch_size=0) for s in SEEDS]
        return whole + seeded
    largest = max(batch_sizes)
    rows = len(next(iter(sample.values())))
    found = [
        Case(
            name=f"sample-{start // largest}",
            origin="Sample",
            inputs={name: np.ascontiguousarray(value[start : start + largest]) for name, value in sample.items()},
            batch_size=min(largest, rows - start),
        )
        for start in range(0, rows, largest)
    ]
    if not invented:
        for size in batch_sizes:
            rows_of = take_rows(sample, size)
            found.append(Case(name=f"rows-batch-{size}", origin="Sample", inputs=rows_of, batch_size=size))
        return found
    for seed in SEEDS:
        for size in batch_sizes:
            drawn = vary(sample, seed, size)
            found.append(Case(name=f"seed-{seed}-batch-{size}", origin="Seed", inputs=drawn, batch_size=size))
    zeros = {
        name: value if value.dtype.kind in "OSU" else np.zeros_like(value)
        for name, value in take_rows(sample, 2).items()
    }
    # Zero may be no valid value for a category or an id, but it is for a measurement.
    if all(value.dtype.kind == "f" for value in zeros.values()):
        found.append(Case(name="edge-zeros", origin="Edge", inputs=zeros, batch_size=2))
    return found
