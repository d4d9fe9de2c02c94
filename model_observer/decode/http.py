"""Requests and answers of the Open Inference Protocol over HTTP: JSON, or JSON followed by raw tensors."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from model_observer.decode.compressed import expand
from model_observer.decode.tensors import MAX_TENSORS, Tensor, Tensors, from_json, from_raw
from model_observer.reasons import Left, Reason

SPLIT = "inference-header-content-length"
SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")


def check_request(headers: Mapping[str, str], body: bytes, limit: int) -> None:
    """Raise Left for a request that cannot be repeated, or that is none.

    ``headers`` have lower-case names; ``limit`` is the largest body in bytes once it is no longer compressed.
    """
    head, _ = _parts(headers, body, limit)
    if any(name in _mapping(head.get("parameters", {})) for name in SEQUENCE):
        raise Left(Reason.UNSUPPORTED, "part of a sequence")
    for entry in [*_entries(head, "inputs"), *(_entries(head, "outputs") if "outputs" in head else ())]:
        if "shared_memory_region" in _mapping(entry.get("parameters", {})):
            raise Left(Reason.UNSUPPORTED, "tensors in shared memory")


def tensors(headers: Mapping[str, str], body: bytes, part: str, limit: int) -> Tensors:
    """The tensors of a request (``part`` is ``inputs``) or an answer (``outputs``), by name. Raises Left."""
    head, raw = _parts(headers, body, limit)
    found: dict[str, Tensor] = {}
    at = 0
    try:
        for entry in _entries(head, part):
            name, datatype, shape = entry["name"], entry["datatype"], entry["shape"]
            if not (type(name) is str and type(datatype) is str and type(shape) is list and name not in found):
                raise ValueError("a tensor has a name of its own, a datatype and a shape")
            size = _mapping(entry.get("parameters", {})).get("binary_data_size")
            if size is None:
                found[name] = from_json(datatype, shape, entry["data"])
                continue
            if type(size) is not int or not 0 <= size <= len(raw) - at:
                raise ValueError("a binary tensor is cut off")
            found[name] = from_raw(datatype, shape, raw[at : at + size])
            at += size
    except (ValueError, KeyError) as error:
        raise Left(Reason.DECODE, str(error)) from error
    if at != len(raw):
        raise Left(Reason.DECODE, "bytes are left over")
    return found


def _parts(headers: Mapping[str, str], body: bytes, limit: int) -> tuple[dict[str, Any], bytes]:
    """The JSON object, and the bytes behind it."""
    body = expand(headers.get("content-encoding", ""), body, limit)
    text = headers.get(SPLIT)
    try:
        split = len(body) if text is None else _length(text, len(body))
        head = json.loads(body[:split])
    except (ValueError, RecursionError) as error:
        raise Left(Reason.DECODE, "no JSON where it should be") from error
    return _mapping(head), body[split:]


def _length(text: str, longest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) <= longest):
        raise ValueError("not a length")
    return int(text)


def _mapping(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Left(Reason.DECODE, "not an object where one should be")
    return found


def _entries(head: Mapping[str, Any], part: str) -> Iterator[dict[str, Any]]:
    found = head.get(part)
    if not isinstance(found, list) or len(found) > MAX_TENSORS:
        raise Left(Reason.DECODE, f"{part} is no list of at most {MAX_TENSORS} tensors")
    return map(_mapping, found)
