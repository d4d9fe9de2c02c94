"""Datatypes under their three names (protocol, numpy, ONNX) and the binary form of tensors on the wire."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from model_packager.errors import ExportFailed
from model_packager.manifest import Datatype

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

_TABLE: Final[tuple[tuple[Datatype, str, int], ...]] = (
    ("BOOL", "bool", TensorProto.BOOL),
    ("UINT8", "uint8", TensorProto.UINT8),
    ("UINT16", "uint16", TensorProto.UINT16),
    ("UINT32", "uint32", TensorProto.UINT32),
    ("UINT64", "uint64", TensorProto.UINT64),
    ("INT8", "int8", TensorProto.INT8),
    ("INT16", "int16", TensorProto.INT16),
    ("INT32", "int32", TensorProto.INT32),
    ("INT64", "int64", TensorProto.INT64),
    ("FP16", "float16", TensorProto.FLOAT16),
    ("FP32", "float32", TensorProto.FLOAT),
    ("FP64", "float64", TensorProto.DOUBLE),
    ("BYTES", "object", TensorProto.STRING),
)
_NUMPY: Final[dict[str, np.dtype[Any]]] = {protocol: np.dtype(name) for protocol, name, _ in _TABLE}
_FROM_ONNX: Final[dict[int, Datatype]] = {onnx: protocol for protocol, _, onnx in _TABLE}

FLOATS: Final = ("FP16", "FP32", "FP64")


def numpy_dtype(datatype: Datatype) -> np.dtype[Any]:
    """The numpy dtype of a protocol datatype; text is ``object``. Raises ExportFailed for BF16, which numpy lacks."""
    if datatype not in _NUMPY:
        raise ExportFailed(f"The datatype {datatype} is not supported for inputs and outputs; export them as FP32.")
    return _NUMPY[datatype]


def datatype_of(name: str, elem_type: int) -> Datatype:
    """The protocol datatype of an ONNX element type. Raises ExportFailed, naming the tensor, if there is none."""
    if elem_type not in _FROM_ONNX:
        kind = TensorProto.DataType.Name(elem_type) if elem_type in TensorProto.DataType.values() else elem_type
        raise ExportFailed(
            f"The tensor {name!a} has the ONNX type {kind}, which cannot be an input or output; cast it."
        )
    return _FROM_ONNX[elem_type]


def as_datatype(array: Array, datatype: Datatype) -> Array:
    """The values in the datatype, contiguous and of the same rank. Text stays text."""
    if datatype == "BYTES":
        return np.asarray([str(value) for value in array.ravel()], dtype=object).reshape(array.shape)
    return np.asarray(array, dtype=numpy_dtype(datatype), order="C")


def to_binary(array: Array, datatype: Datatype) -> bytes:
    """Little-endian row-major values; text as a 4-byte length and UTF-8 bytes each (Open Inference Protocol)."""
    if datatype == "BYTES":
        encoded = [str(value).encode() for value in array.ravel()]
        return b"".join(struct.pack("<I", len(value)) + value for value in encoded)
    dtype = numpy_dtype(datatype).newbyteorder("<")
    return np.ascontiguousarray(array, dtype=dtype).tobytes()


def from_binary(data: bytes, datatype: Datatype, shape: tuple[int, ...]) -> Array:
    """The inverse of :func:`to_binary`. Raises ValueError if the bytes do not fill the shape."""
    if datatype != "BYTES":
        return np.frombuffer(data, dtype=numpy_dtype(datatype).newbyteorder("<")).reshape(shape)
    values, position = [], 0
    while position < len(data):
        (length,) = struct.unpack_from("<I", data, position)
        values.append(data[position + 4 : position + 4 + length].decode())
        position += 4 + length
    return np.asarray(values, dtype=object).reshape(shape)
