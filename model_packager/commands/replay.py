"""``model-packager replay``: the golden cases of a bundle against a running server, over HTTP and gRPC."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_packager import placing
from model_packager.asking import ask, parse_server
from model_packager.commands.bundles import open_reference
from model_packager.console import Reporter
from model_packager.errors import InvalidUsage, NotReachable, ReplayFailed
from model_packager.export.golden import read_case
from model_packager.export.tensors import numpy_dtype
from model_packager.folder import verify_folder
from model_packager.likeness import compare
from model_packager.manifest import Manifest
from model_packager.recorded import PREFIX, Recorded, read_recorded
from model_packager.wire import WireTensor

TIMEOUT_SECONDS = 30.0
Ask = Callable[[Recorded], dict[str, WireTensor]]


def run(target: str, endpoint: str | None, grpc: str | None, model: str | None, reporter: Reporter) -> None:
    """Replay a folder, or a bundle in a store, of which only the golden cases are fetched."""
    if "://" not in target:
        replay(Path(target), verify_folder(Path(target)), endpoint, grpc, model, reporter)
        return
    store, manifest = open_reference(target, None)
    with tempfile.TemporaryDirectory(prefix="model-packager-") as folder:
        placing.fetch_part(manifest, store, Path(folder), PREFIX)
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
        server = parse_server(endpoint)
        asks["http"] = lambda case: ask(server, name, case, TIMEOUT_SECONDS)
    if grpc:
        address = str(parse_server(grpc))
        asks["grpc"] = lambda case: _grpc(folder, case.name, name, address, manifest)
    if not asks:
        raise InvalidUsage("Give --endpoint HOST:PORT for HTTP, --grpc HOST:PORT, or both.")
    results = [_protocol(protocol, asking, folder, manifest) for protocol, asking in asks.items()]
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


def _protocol(protocol: str, asking: Ask, folder: Path, manifest: Manifest) -> dict[str, Any]:
    worst, taken, faults = 0.0, [], []
    for case in manifest.golden.cases:
        recorded = read_recorded(folder, manifest, case)
        start = time.perf_counter()
        got = asking(recorded)
        taken.append((time.perf_counter() - start) * 1000)
        seen = compare(got, recorded.outputs, manifest.contract, manifest.golden)
        worst = max(worst, seen.error)
        faults += [f"{protocol}, case {case.name}, output {name!a} {fault}" for name, fault in seen.faults]
    return {
        "protocol": protocol, "cases": len(taken), "maxAbs": worst, "faults": faults,
        "medianMs": statistics.median(taken) if taken else 0.0, "maxMs": max(taken, default=0.0),
    }  # fmt: skip


def _grpc(folder: Path, case: str, model: str, address: str, manifest: Manifest) -> dict[str, WireTensor]:
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
            answer = server.infer(model, asked, client_timeout=TIMEOUT_SECONDS).get_response()
        except client.InferenceServerException as error:
            raise NotReachable(f"The server {address} did not answer over gRPC: {str(error)[:300]}.") from error
    return {
        output.name: WireTensor(output.datatype, tuple(output.shape), data)
        for output, data in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }
