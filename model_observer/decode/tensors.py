"""Tensors of the Open Inference Protocol, from raw bytes, from JSON and from gRPC's typed contents.

Every count is checked against the bytes that are really there before anything of that size is made. What does not fit
raises ValueError.
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
MAX_DIMENSIONS = 32
MAX_TENSORS = 256
DTYPES: dict[str, str] = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Which of gRPC's typed fields holds a datatype. FP16 and BF16 have none: they travel as raw bytes only."""


@dataclass(frozen=True)
class Tensor:
    """``values`` has the tensor's shape: numbers (BF16 as 32-bit floats), booleans, or bytes as objects."""

    datatype: str
    values: Values


Tensors = Mapping[str, Tensor]


def check_shape(shape: Iterable[Any]) -> tuple[int, ...]:
    """The shape, if it is one: at most 32 sizes that are not negative."""
    found = tuple(shape)
    if len(found) > MAX_DIMENSIONS or not all(type(size) is int and size >= 0 for size in found):
        raise ValueError("a shape is a list of at most 32 sizes that are not negative")
    return found


def from_raw(datatype: str, shape: Iterable[Any], raw: bytes) -> Tensor:
    """A tensor from its bytes, little-endian and in row order."""
    sizes = check_shape(shape)
    count = math.prod(sizes)
    if datatype == "BYTES":
        return Tensor(datatype, _texts(_split(raw), sizes))
    width = 2 if datatype == "BF16" else np.dtype(_dtype(datatype)).itemsize
    if count * width != len(raw):
        raise ValueError(f"{len(raw)} bytes are not {count} values of {datatype}")
    if datatype == "BF16":
        # The upper half of a 32-bit float.
        values = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    elif datatype == "BOOL":
        values = np.frombuffer(raw, "u1") != 0
    else:
        values = np.frombuffer(raw, DTYPES[datatype])
    return Tensor(datatype, values.reshape(sizes))


def from_json(datatype: str, shape: Iterable[Any], data: Any) -> Tensor:
    """A tensor from JSON, nested like the shape or flat."""
    sizes = check_shape(shape)
    values = _flat(data)
    if len(values) != math.prod(sizes):
        raise ValueError(f"{len(values)} values do not fill the shape")
    if datatype == "BYTES":
        if not all(type(value) is str for value in values):
            raise ValueError("BYTES in JSON are texts")
        return Tensor(datatype, _texts([value.encode() for value in values], sizes))
    wanted = (bool,) if datatype == "BOOL" else (int, float)
    if not all(type(value) in wanted for value in values):
        raise ValueError(f"a value is no {datatype}")
    return Tensor(datatype, _numbers(datatype, values, sizes))


def from_contents(datatype: str, shape: Iterable[Any], contents: Any) -> Tensor:
    """A tensor from gRPC's typed contents, of which only the field for its datatype may be filled."""
    sizes = check_shape(shape)
    field = CONTENTS.get(datatype)
    values = list(getattr(contents, field)) if field else []
    if field is None or len(values) != math.prod(sizes):
        raise ValueError(f"the contents do not hold {math.prod(sizes)} values of {datatype}")
    if datatype == "BYTES":
        return Tensor(datatype, _texts(values, sizes))
    return Tensor(datatype, _numbers(datatype, values, sizes))


def _dtype(datatype: str) -> str:
    if datatype == "BF16":
        return "<f4"
    if datatype not in DTYPES:
        raise ValueError(f"{datatype!a:.40} is no datatype of the protocol")
    return DTYPES[datatype]


def _numbers(datatype: str, values: Sequence[Any], sizes: tuple[int, ...]) -> Values:
    dtype = np.dtype(_dtype(datatype))
    try:
        if dtype.kind in "iu":
            if any(int(value) != value for value in values):
                raise ValueError(f"a value is no {datatype}")
            return np.array([int(value) for value in values], dtype).reshape(sizes)
        with np.errstate(over="ignore"):
            return np.array([float(v) for v in values] if dtype.kind == "f" else values, dtype).reshape(sizes)
    except OverflowError as error:
        raise ValueError(f"a value is too large for {datatype}") from error


def _texts(values: Sequence[bytes], sizes: tuple[int, ...]) -> Values:
    if len(values) != math.prod(sizes):
        raise ValueError(f"{len(values)} texts do not fill the shape")
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found.reshape(sizes)


def _split(raw: bytes) -> list[bytes]:
    """Texts, each behind its length in four bytes."""
    texts, at = [], 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise ValueError("a length of BYTES is cut off")
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + length > len(raw):
            raise ValueError("a text of BYTES is cut off")
        texts.append(raw[at : at + length])
        at += length
    return texts


def _flat(data: Any) -> list[Any]:
    """All values of nested lists, level by level, so that no depth can exhaust the stack."""
    if not isinstance(data, list):
        raise ValueError("data is a list")
    values: list[Any] = data
    for _ in range(MAX_DIMENSIONS):
        if not any(isinstance(value, list) for value in values):
            return values
        if not all(isinstance(value, list) for value in values):
            raise ValueError("data mixes lists and values")
        values = [value for row in values for value in row]
    raise ValueError("data is nested too deeply")
