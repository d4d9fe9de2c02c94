"""Unary calls of the Open Inference Protocol over gRPC: one frame with one message."""

import struct
from typing import Any

from model_observer.decode.compressed import expand
from model_observer.decode.http import SEQUENCE
from model_observer.decode.tensors import MAX_TENSORS, Tensor, Tensors, from_contents, from_raw
from model_observer.reasons import Left, Reason
from model_observer.wire import ModelInferRequest, ModelInferResponse, parser

PREFIX = 5
_request, _response = parser(ModelInferRequest), parser(ModelInferResponse)


def message(encoding: str, body: bytes, limit: int) -> bytes:
    """The one message of a unary call's body. Raises Left: several, none, cut off, too large, unknown encoding."""
    if len(body) < PREFIX:
        raise Left(Reason.DECODE, "no message")
    compressed, length = struct.unpack_from(">BI", body)
    if compressed > 1 or length > len(body) - PREFIX:
        raise Left(Reason.DECODE, "the message is cut off")
    if length < len(body) - PREFIX:
        raise Left(Reason.UNSUPPORTED, "more than one message")
    return expand(encoding if compressed else "", body[PREFIX:], limit)


def check_request(data: bytes) -> None:
    """Raise Left for a request that cannot be repeated, or that is none."""
    found = _parsed(_request, data)
    if any(name in found.parameters for name in SEQUENCE):
        raise Left(Reason.UNSUPPORTED, "part of a sequence")
    for entry in (*found.inputs, *found.outputs):
        if "shared_memory_region" in entry.parameters:
            raise Left(Reason.UNSUPPORTED, "tensors in shared memory")


def inputs(data: bytes) -> Tensors:
    """The tensors of a request, by name. Raises Left."""
    found = _parsed(_request, data)
    return _tensors(found.inputs, found.raw_input_contents)


def outputs(data: bytes) -> Tensors:
    """The tensors of an answer, by name. Raises Left."""
    found = _parsed(_response, data)
    return _tensors(found.outputs, found.raw_output_contents)


def _parsed(parse: Any, data: bytes) -> Any:
    try:
        return parse(data)
    except ValueError as error:
        raise Left(Reason.DECODE, str(error)) from error


def _tensors(entries: Any, raw: Any) -> Tensors:
    """Raw contents stand for all tensors or for none, in the order of the tensors."""
    if len(entries) > MAX_TENSORS or (raw and len(raw) != len(entries)):
        raise Left(Reason.DECODE, "raw contents and tensors do not belong together")
    found: dict[str, Tensor] = {}
    try:
        for index, entry in enumerate(entries):
            if entry.name in found:
                raise ValueError("two tensors have one name")
            if raw:
                found[entry.name] = from_raw(entry.datatype, entry.shape, raw[index])
            else:
                found[entry.name] = from_contents(entry.datatype, entry.shape, entry.contents)
    except ValueError as error:
        raise Left(Reason.DECODE, str(error)) from error
    return found
