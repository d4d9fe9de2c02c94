"""Loading ONNX files whose weights may be in other files, of which only those beside the model are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import Message
from onnx import ModelProto, TensorProto
from onnx.external_data_helper import load_external_data_for_model


def load_model(path: Path) -> ModelProto:
    """The model with all weights in it. Raises ValueError for places that servers resolve and this loader does not.

    The onnx package refuses paths that leave the folder, links and shared files, but passes over sparse tensors and
    would take a place up to a null character.
    """
    model = onnx.load(path, load_external_data=False)
    for tensor in tensors_within(model):
        for entry in tensor.external_data:
            if entry.key == "location" and not entry.value.isprintable():
                raise ValueError(f"the tensor {tensor.name!a} has its data at {entry.value!a}, which is no file name")
    load_external_data_for_model(model, str(path.parent))
    for tensor in tensors_within(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            raise ValueError(f"the tensor {tensor.name!a} is of a kind whose data cannot be in another file")
    return model


def tensors_within(message: Message) -> Iterator[TensorProto]:
    """Every tensor of a message: weights, sparse ones, and the attributes of nodes and functions at any depth."""
    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from tensors_within(part)
