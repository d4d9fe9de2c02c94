"""Names of one tensor type in a Triton configuration, in ONNX Runtime and in NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_TYPES: dict[str, tuple[str, type[np.generic]]] = {
    "TYPE_BOOL": ("tensor(bool)", np.bool_),
    "TYPE_UINT8": ("tensor(uint8)", np.uint8),
    "TYPE_UINT16": ("tensor(uint16)", np.uint16),
    "TYPE_UINT32": ("tensor(uint32)", np.uint32),
    "TYPE_UINT64": ("tensor(uint64)", np.uint64),
    "TYPE_INT8": ("tensor(int8)", np.int8),
    "TYPE_INT16": ("tensor(int16)", np.int16),
    "TYPE_INT32": ("tensor(int32)", np.int32),
    "TYPE_INT64": ("tensor(int64)", np.int64),
    "TYPE_FP16": ("tensor(float16)", np.float16),
    "TYPE_FP32": ("tensor(float)", np.float32),
    "TYPE_FP64": ("tensor(double)", np.float64),
    "TYPE_STRING": ("tensor(string)", np.object_),
}
_FROM_ONNX = {onnx: triton for triton, (onnx, _) in _TYPES.items()}


def triton_type(onnx_type: str) -> str:
    """Return the Triton data type of an ONNX Runtime type such as ``tensor(float)``.

    Raises ValueError for what this backend cannot carry: sequences, maps, optional values, bfloat16, 8-bit floats.
    """
    if onnx_type not in _FROM_ONNX:
        raise ValueError(f"has the type {onnx_type}, which has no counterpart here")
    return _FROM_ONNX[onnx_type]


def numpy_type(triton_data_type: str) -> type[np.generic]:
    """Return the NumPy scalar type in which tensors of a Triton data type travel; strings travel as objects."""
    if triton_data_type not in _TYPES:
        raise ValueError(f"has the data type {triton_data_type}, which this backend does not carry")
    return _TYPES[triton_data_type][1]


def decode_strings(array: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Turn Triton's bytes into the text that ONNX Runtime takes; raises ValueError where they are not UTF-8."""
    decoded = np.empty(array.shape, dtype=np.object_)
    for index, value in np.ndenumerate(array):
        try:
            decoded[index] = value.decode("utf-8") if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError as error:
            raise ValueError(f"element {list(index)} is not UTF-8 text") from error
    return decoded


def encode_strings(array: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Turn the text that ONNX Runtime gives into the bytes that Triton sends."""
    encoded = np.empty(array.shape, dtype=np.object_)
    for index, value in np.ndenumerate(array):
        encoded[index] = value if isinstance(value, bytes) else str(value).encode("utf-8")
    return encoded
