"""``model-packager parity``: does every pod give the recorded answers on its own device?

It runs in the cluster before a revision gets any request. Other answers are final. A server that does not answer may do
so later, which whoever started this decides.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from model_packager import placing, termination
from model_packager.asking import REQUEST_SECONDS, Server, ask, parse_server
from model_packager.commands.bundles import open_reference
from model_packager.console import Reporter
from model_packager.errors import NotReachable, ParityFailed, ReplayFailed
from model_packager.likeness import compare
from model_packager.manifest import Manifest
from model_packager.recorded import PREFIX, Recorded, check_sizes, read_recorded
from model_packager.wire import WireTensor

TRIES: Final = 4
"""Of a request that fails at once: the network of a pod that just started may not let it through yet."""
PAUSE_SECONDS: Final = 1.0
AT_ONCE_SECONDS: Final = 4.0


@dataclass
class Found:
    """What was seen so far. ``first`` names the first answer that is not the recorded one, and says why."""

    cases: int
    servers: int
    digest: str
    max_abs: float = 0.0
    differing: int = 0
    first: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)

    def fields(self, seconds: float) -> dict[str, Any]:
        """The report for a controller."""
        return {
            "digest": self.digest,
            "cases": self.cases,
            "servers": self.servers,
            "maxAbs": self.max_abs,
            "differing": self.differing,
            "seconds": round(seconds, 3),
            **{key: self.first[key] for key in ("case", "output", "server") if key in self.first},
        }


def run(
    uri: str, digest: str | None, endpoints: list[str], timeout: float, termination_log: Path | None, reporter: Reporter
) -> None:
    """Report, and raise ParityFailed for other answers, else NotReachable if a server gave none in time."""
    with termination.reported(termination_log) as report:
        start = time.monotonic()
        servers = [parse_server(endpoint) for endpoint in endpoints]
        store, manifest = open_reference(uri, digest, look_up=digest is None)
        check_sizes(manifest)
        with tempfile.TemporaryDirectory(prefix="model-packager-") as folder:
            placing.fetch_part(manifest, store, Path(folder), PREFIX)
            found = replay(Path(folder), manifest, servers, start + timeout)
        report.update(found.fields(time.monotonic() - start))
        reporter.result(report, _line(found, manifest))
        if found.differing:
            first = found.first
            raise ParityFailed(
                f"{found.differing} of {found.cases * found.servers} answers of {manifest.name} are not the recorded "
                f"ones; the first is of {first['server']}, case {first['case']}: {first['fault']}."
            )
        if found.silent:
            raise NotReachable(f"{len(found.silent)} of {found.servers} servers gave no answer: {found.silent[0]}")


def replay(folder: Path, manifest: Manifest, servers: list[Server], end: float) -> Found:
    """Every case on every server. ``end`` is a time of the monotonic clock; a server that is silent is asked no more.

    ``folder`` has the verified golden cases of ``manifest``. Raises BundleInvalid if one of them cannot be read.
    """
    found = Found(cases=len(manifest.golden.cases), servers=len(servers), digest=manifest.digest())
    awake = list(servers)
    for case in manifest.golden.cases:
        recorded = read_recorded(folder, manifest, case)
        for server in list(awake):
            try:
                _judge(found, server, recorded, manifest, end)
            except NotReachable as error:
                awake.remove(server)
                found.silent.append(str(error))
    return found


def _judge(found: Found, server: Server, case: Recorded, manifest: Manifest, end: float) -> None:
    try:
        seen = compare(_insist(server, manifest.name, case, end), case.outputs, manifest.contract, manifest.golden)
    except ReplayFailed as error:
        _differs(found, {"server": str(server), "case": case.name, "fault": str(error).rstrip(".")})
        return
    found.max_abs = max(found.max_abs, seen.error)
    if seen.faults:
        name, fault = seen.faults[0]
        told = {"server": str(server), "case": case.name, "output": name}
        _differs(found, told | {"fault": f"the output {name!a} {fault}"})


def _differs(found: Found, told: dict[str, str]) -> None:
    found.differing += 1
    found.first = found.first or told


def _insist(server: Server, model: str, case: Recorded, end: float) -> dict[str, WireTensor]:
    """As :func:`ask`, again where the server refused at once."""
    for left in reversed(range(TRIES)):
        start = time.monotonic()
        if start >= end:
            raise NotReachable(f"There was no time left to ask {server} for the case {case.name}.")
        try:
            return ask(server, model, case, min(REQUEST_SECONDS, end - start))
        except NotReachable:
            now = time.monotonic()
            if not left or now - start > AT_ONCE_SECONDS or now + PAUSE_SECONDS >= end:
                raise
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last try returns or raises")


def _line(found: Found, manifest: Manifest) -> str:
    if not found.cases:
        return f"{manifest.name}: the bundle has no golden cases, so nothing was compared"
    return (
        f"{manifest.name}: {found.cases} cases on {found.servers} servers, {found.differing} answers differ, "
        f"{len(found.silent)} servers silent, largest error {found.max_abs:g}"
    )
