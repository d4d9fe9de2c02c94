"""``model-packager replay``: the golden cases of a bundle against a running server, over HTTP and gRPC."""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from model_packager import placing
from model_packager.commands.bundles import open_reference
from model_packager.console import Reporter
from model_packager.errors import FetchFailed, InvalidUsage, ReplayFailed
from model_packager.export.golden import decode, read_case
from model_packager.export.tensors import FLOATS, Array, Arrays, numpy_dtype
from model_packager.folder import verify_folder
from model_packager.manifest import GoldenCase, Manifest, Tensor, Tolerance

TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
Ask = Callable[[Manifest, GoldenCase], Arrays]


def run(target: str, endpoint: str | None, grpc: str | None, model: str | None, reporter: Reporter) -> None:
    """Replay a folder, or a bundle in a store, of which only the golden cases are fetched."""
    if "://" not in target:
        replay(Path(target), verify_folder(Path(target)), endpoint, grpc, model, reporter)
        return
    store, manifest = open_reference(target, None)
    with tempfile.TemporaryDirectory(prefix="model-packager-") as folder:
        placing.fetch_part(manifest, store, Path(folder), "golden/")
        replay(Path(folder), manifest, endpoint, grpc, model, reporter)


def replay(
    folder: Path, manifest: Manifest, endpoint: str | None, grpc: str | None, model: str | None, reporter: Reporter
) -> None:
    """Report the largest errors and the latency; raises ReplayFailed after the report if an answer is outside.

    ``folder`` has the verified golden cases of ``manifest``.
    """
    name = model or manifest.name
    asks: dict[str, Ask] = {}
    if endpoint:
        asks["http"] = lambda m, case: _http(folder, case.name, name, *_address(endpoint))
    if grpc:
        address = ":".join(map(str, _address(grpc)))
        asks["grpc"] = lambda m, case: _grpc(folder, case.name, name, address, m)
    if not asks:
        raise InvalidUsage("Give --endpoint HOST:PORT for HTTP, --grpc HOST:PORT, or both.")
    results = [_protocol(protocol, ask, folder, manifest) for protocol, ask in asks.items()]
    faults = [fault for result in results for fault in result["faults"]]
    fields = {"digest": manifest.digest(), "model": name, "passed": not faults, "protocols": results}
    lines = [
        f"{r['protocol']}: {r['cases']} cases, largest error {r['maxAbs']:g}, "
        f"latency median {r['medianMs']:.3g} ms, largest {r['maxMs']:.3g} ms"
        for r in results
    ]
    reporter.result(fields, "\n".join(lines))
    if faults:
        raise ReplayFailed(f"{len(faults)} answers of {name} are not those of {manifest.digest()}: {faults[0]}.")


def _protocol(protocol: str, ask: Ask, folder: Path, manifest: Manifest) -> dict[str, Any]:
    worst, taken, faults = 0.0, [], []
    for case in manifest.golden.cases:
        _, wanted = read_case(folder, case.name)
        start = time.perf_counter()
        got = ask(manifest, case)
        taken.append((time.perf_counter() - start) * 1000)
        for tensor in manifest.contract.outputs:
            tolerance = manifest.golden.tolerances.get(tensor.datatype, Tolerance(rtol=0.0, atol=0.0))
            error, within = _difference(got.get(tensor.name), wanted[tensor.name], tensor, tolerance)
            worst = max(worst, error)
            if not within:
                faults.append(f"{protocol}, case {case.name}, output {tensor.name!a}")
    return {
        "protocol": protocol, "cases": len(taken), "maxAbs": worst, "faults": faults,
        "medianMs": statistics.median(taken) if taken else 0.0, "maxMs": max(taken, default=0.0),
    }  # fmt: skip


def _difference(got: Array | None, want: Array, tensor: Tensor, tolerance: Tolerance) -> tuple[float, bool]:
    if got is None or got.shape != want.shape or got.dtype.kind != want.dtype.kind:
        return 0.0, False
    if tensor.datatype not in FLOATS:
        return 0.0, bool(np.array_equal(got, want))
    ours, theirs = got.astype(np.float64), want.astype(np.float64)
    within = bool(np.allclose(ours, theirs, rtol=tolerance.rtol, atol=tolerance.atol, equal_nan=True))
    finite = np.isfinite(ours) & np.isfinite(theirs)
    return float(np.max(np.abs(ours - theirs)[finite], initial=0.0)), within


def _http(folder: Path, case: str, model: str, host: str, port: int) -> Arrays:
    head = (folder / "golden" / case / "request.json").read_bytes()
    body = head + (folder / "golden" / case / "request.bin").read_bytes()
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        answer = connection.getresponse()
        data = answer.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise FetchFailed(f"The server {host}:{port} did not answer; check that it is up ({error}).") from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise FetchFailed(f"The server {host}:{port} answered {answer.status}: {data[:300].decode('latin-1')!a}.")
    try:
        split = int(answer.getheader("Inference-Header-Content-Length") or len(data))
        return decode(json.loads(data[:split])["outputs"], data[split:])
    except (ValueError, KeyError, TypeError) as error:
        raise FetchFailed(f"The server {host}:{port} gave an answer that cannot be read: {error!r:.200}.") from error


def _grpc(folder: Path, case: str, model: str, address: str, manifest: Manifest) -> Arrays:
    import tritonclient.grpc as client  # type: ignore[import-untyped]

    inputs, _ = read_case(folder, case)
    asked = []
    for tensor in manifest.contract.inputs:
        value = inputs[tensor.name]
        given = client.InferInput(tensor.name, list(value.shape), tensor.datatype)
        given.set_data_from_numpy(value.astype(numpy_dtype(tensor.datatype)))
        asked.append(given)
    with client.InferenceServerClient(address) as server:
        try:
            answer = server.infer(model, asked, client_timeout=TIMEOUT_SECONDS)
        except client.InferenceServerException as error:
            raise FetchFailed(f"The server {address} did not answer over gRPC: {str(error)[:300]}.") from error
    found: Arrays = {}
    for tensor in manifest.contract.outputs:
        value = answer.as_numpy(tensor.name)
        if value is not None:
            found[tensor.name] = np.asarray(
                [v.decode() for v in value.ravel()], dtype=object
            ).reshape(value.shape) if tensor.datatype == "BYTES" else value  # fmt: skip
    return found


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise InvalidUsage(f"The endpoint {text!a} must be HOST:PORT, such as 127.0.0.1:8000.")
    return host, int(port)
