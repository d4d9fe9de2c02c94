"""Tensors of the Open Inference Protocol with binary data, read with the standard library only.

The image that runs in the cluster has no numpy. Values are read lazily and in pieces, so that a tensor costs little
more than its bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

FLOATS: Final = ("FP16", "BF16", "FP32", "FP64")
PIECE_VALUES: Final = 1 << 16
_CODES: Final = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP16": "e", "BF16": "H", "FP32": "f", "FP64": "d",
}  # fmt: skip


@dataclass(frozen=True)
class WireTensor:
    """One tensor as it was sent: nothing about ``data`` is known to be right."""

    datatype: str
    shape: tuple[int, ...]
    data: bytes


def read_exchange(head: bytes, body: bytes) -> dict[str, WireTensor]:
    """The outputs of a response by name. Raises ValueError, with the reason, for everything that is not one."""
    try:
        fields = json.loads(head)
        found: dict[str, WireTensor] = {}
        position = 0
        for output in fields["outputs"]:
            size = _whole(output["parameters"]["binary_data_size"])
            shape = tuple(_whole(dimension) for dimension in output["shape"])
            found[str(output["name"])] = WireTensor(str(output["datatype"]), shape, body[position : position + size])
            position += size
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it has no outputs with binary data ({error!r:.100})") from error
    if position != len(body):
        raise ValueError(f"it says that its outputs have {position} bytes, and they have {len(body)}")
    return found


def values(tensor: WireTensor) -> Iterator[float | bytes]:
    """The values in row-major order, text as bytes. Raises ValueError at the first that cannot be read."""
    return texts(tensor.data) if tensor.datatype == "BYTES" else numbers(tensor)


def numbers(tensor: WireTensor) -> Iterator[float]:
    """The values of every datatype but BYTES; whole numbers and BOOL as what they are in Python."""
    code = _CODES.get(tensor.datatype)
    if code is None:
        raise ValueError(f"there is no datatype {tensor.datatype!a:.40}")
    size = struct.calcsize(f"<{code}")
    if len(tensor.data) % size:
        raise ValueError(f"{len(tensor.data)} bytes are no whole number of {tensor.datatype}")
    for start in range(0, len(tensor.data), PIECE_VALUES * size):
        piece = tensor.data[start : start + PIECE_VALUES * size]
        found = struct.unpack(f"<{len(piece) // size}{code}", piece)
        yield from _bfloats(found) if tensor.datatype == "BF16" else found


def texts(data: bytes) -> Iterator[bytes]:
    """The values of BYTES: a length of 4 bytes before each."""
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise ValueError("a text ends within its length")
        (length,) = struct.unpack_from("<I", data, position)
        position += 4 + length
        if position > len(data):
            raise ValueError(f"a text of {length} bytes is cut off")
        yield data[position - length : position]


def _bfloats(halves: tuple[int, ...]) -> tuple[float, ...]:
    """A bfloat16 is the upper half of a float of 32 bits."""
    return struct.unpack(f"<{len(halves)}f", struct.pack(f"<{len(halves)}I", *(half << 16 for half in halves)))


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!a:.40} is no size")
    return value
