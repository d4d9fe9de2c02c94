"""The report that a container leaves for whoever started it: one JSON object in the termination log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from model_packager.errors import PackagerError
from model_packager.manifest import Manifest, Profile, Tensor
from model_packager.signing import Signature

MAX_BYTES: Final = 4096  # the kubelet keeps no more of a termination log
_REASONS: Final = (
    "FetchFailed",
    "ArtifactNotFound",
    "DigestMismatch",
    "BundleInvalid",
    "SignatureMissing",
    "SignatureInvalid",
    "PublicKeyInvalid",
    "ParityFailed",
    "NotReachable",
)


def success(manifest: Manifest, signature: Signature | None = None) -> dict[str, Any]:
    """What a controller needs to know of a bundle; the tensors are left out if they do not fit.

    ``signature`` is a verified one, if one was demanded.
    """
    fields: dict[str, Any] = {
        "digest": manifest.digest(),
        "name": manifest.name,
        "version": manifest.version,
        "sizeBytes": manifest.size_bytes,
        "opset": manifest.compatibility.opset,
        "ir": manifest.compatibility.ir_version,
        **({"signedBy": signature.key_id} if signature else {}),
        **_speed(manifest.profile),
    }
    tensors: dict[str, Any] = {
        kind: [_tensor(t) for t in found]
        for kind, found in (("inputs", manifest.contract.inputs), ("outputs", manifest.contract.outputs))
    }
    tensors["maxBatchSize"] = manifest.contract.max_batch_size
    return fields | tensors if len(_encode(fields | tensors)) <= MAX_BYTES else fields


def _speed(profile: Profile | None) -> dict[str, Any]:
    """What was measured at export, if it was: the device, and requests a second of one copy at its best batch."""
    rates = [1000 * point.batch_size / point.p50_ms for point in profile.points if point.p50_ms] if profile else []
    if profile is None or not rates:
        return {}
    return {"profile": {"device": profile.device, "requestsPerSecond": float(f"{max(rates):.3g}")}}


def _tensor(tensor: Tensor) -> dict[str, Any]:
    """What a controller needs of a tensor. Of labels, of which there may be many, only whether there are any counts."""
    told = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    return told | ({"labelled": True} if tensor.labels else {})


@contextmanager
def reported(path: Path | None) -> Iterator[dict[str, Any]]:
    """Leave what the command found out in the termination log, whatever happens; a failure with it, if there is one."""
    report: dict[str, Any] = {}
    try:
        yield report
    except BaseException as error:
        if path is not None:
            write(path, report | failure(error))
        raise
    if path is not None:
        write(path, report)


def failure(error: BaseException) -> dict[str, str]:
    """The closed set of reasons that a controller knows; whatever else went wrong, the bundle was not fetched."""
    if isinstance(error, PackagerError):
        reason = error.reason if error.reason in _REASONS else "FetchFailed"
        return {"reason": reason, "message": str(error)[:1024]}
    if not isinstance(error, Exception):
        return {"reason": "FetchFailed", "message": "The command was interrupted before it was done."}
    return {"reason": "FetchFailed", "message": f"Internal error: {type(error).__name__}: {error}"[:1024]}


def write(path: Path, fields: dict[str, Any]) -> None:
    """Write the report; a message that is too long in UTF-8 is cut, because a cut object would not be JSON."""
    data = _encode(fields)
    while len(data) > MAX_BYTES:
        fields = fields | {"message": fields["message"][: len(fields["message"]) // 2]}
        data = _encode(fields)
    path.write_bytes(data)


def _encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
