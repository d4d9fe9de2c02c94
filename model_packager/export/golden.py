"""Golden cases: recorded exchanges in the binary form of the Open Inference Protocol.

``cat request.json request.bin`` is the body of an inference request with ``Inference-Header-Content-Length`` set to
the size of ``request.json``; so any HTTP client replays a case, without numpy, and nothing is lost in decimal text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_packager.export.samples import Case
from model_packager.export.tensors import Array, Arrays, from_binary, to_binary
from model_packager.manifest import Contract, GoldenCase, Tensor

MAX_CASE_BYTES = 4 * 1024 * 1024


def select(cases: list[Case], outputs: dict[str, list[Array]]) -> list[Case]:
    """The cases worth recording: one a kind and batch size, small enough to be replayed before every rollout."""
    found: dict[tuple[str, int], Case] = {}
    for case in cases:
        size = sum(value.nbytes for value in [*case.inputs.values(), *outputs[case.name]])
        if size <= MAX_CASE_BYTES:
            found.setdefault((case.origin, case.batch_size), case)
    return list(found.values())


def write_case(folder: Path, model: str, contract: Contract, case: Case, outputs: list[Array]) -> GoldenCase:
    """Write ``golden/<case>/`` below ``folder``."""
    target = folder / "golden" / case.name
    target.mkdir(parents=True)
    request, body = _encode(contract.inputs, [case.inputs[tensor.name] for tensor in contract.inputs])
    names = [{"name": tensor.name, "parameters": {"binary_data": True}} for tensor in contract.outputs]
    _write_json(target / "request.json", {"inputs": request, "outputs": names})
    (target / "request.bin").write_bytes(body)
    response, body = _encode(contract.outputs, outputs)
    _write_json(target / "response.json", {"model_name": model, "outputs": response})
    (target / "response.bin").write_bytes(body)
    return GoldenCase(name=case.name, origin=case.origin, batch_size=case.batch_size)


def read_case(folder: Path, name: str) -> tuple[Arrays, Arrays]:
    """Inputs and expected outputs of one golden case, by tensor name."""
    target = folder / "golden" / name
    request = json.loads((target / "request.json").read_bytes())["inputs"]
    response = json.loads((target / "response.json").read_bytes())["outputs"]
    return (
        decode(request, (target / "request.bin").read_bytes()),
        decode(response, (target / "response.bin").read_bytes()),
    )


def _encode(tensors: tuple[Tensor, ...], arrays: list[Array]) -> tuple[list[dict[str, Any]], bytes]:
    heads, parts = [], []
    for tensor, array in zip(tensors, arrays, strict=True):
        part = to_binary(array, tensor.datatype)
        shape = list(array.shape)
        if len(shape) < len(tensor.shape):
            shape += [1] * (len(tensor.shape) - len(shape))  # a server cannot return less than one inner dimension
        heads.append(
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": shape,
                "parameters": {"binary_data_size": len(part)},
            }
        )
        parts.append(part)
    return heads, b"".join(parts)


def decode(heads: list[dict[str, Any]], body: bytes) -> Arrays:
    found: Arrays = {}
    position = 0
    for head in heads:
        size = head["parameters"]["binary_data_size"]
        found[head["name"]] = from_binary(body[position : position + size], head["datatype"], tuple(head["shape"]))
        position += size
    return found


def _write_json(path: Path, fields: dict[str, Any]) -> None:
    path.write_text(json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")
