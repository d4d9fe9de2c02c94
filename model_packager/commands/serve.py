"""``model-packager serve``: a bundle on a Triton of this machine, as it would run in a pod."""

from __future__ import annotations

import http.client
import ipaddress
import re
import shlex
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_packager import placing
from model_packager.commands.bundles import open_signed
from model_packager.console import Reporter
from model_packager.errors import InvalidUsage
from model_packager.folder import verify_folder
from model_packager.manifest import Manifest
from model_packager.serverprocess import ServerProcess, held_signals
from model_packager.tritonserver import Accelerator, Address, Launch, find

_ASK_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """``timeout`` is in seconds until the model must be ready; ``shm_size`` is that of a container."""

    address: Address
    image: str | None
    accelerator: Accelerator
    shm_size: str
    timeout: float
    check: bool


def run(target: str, options: ServeOptions, reporter: Reporter) -> None:
    """Serve until a signal comes, or only until the golden cases were replayed.

    Raises ServerMissing, ServeFailed, and what verifying, pulling and replaying raise. No process is left behind.
    """
    if options.check:
        from model_packager.export.sources import require

        require("packager", "numpy", "onnx", "tritonclient.grpc")
    _check(options)
    _treat_hang_up_as_end()
    with _bundle(target, reporter) as (folder, manifest):
        models = folder / "models"
        launch = find(
            models, options.address, options.accelerator, options.image, options.shm_size, reporter.say
        )  # fmt: skip
        reporter.say(f"starting {launch.shown}")
        with _running(launch) as server:
            server.wait_until(lambda: is_ready(options.address, manifest.name), options.timeout)
            if options.check:
                _replay(folder, manifest, options.address, reporter)
            else:
                _announce(target, manifest, options.address, reporter)
                server.wait_for_end()


def _check(options: ServeOptions) -> None:
    address = options.address
    try:
        ipaddress.IPv4Address(address.host)
    except ValueError as error:
        raise InvalidUsage(f"--host {address.host!a} must be an IPv4 address, such as 127.0.0.1.") from error
    if not re.fullmatch(r"[1-9][0-9]{0,9}[bkmg]?", options.shm_size):
        raise InvalidUsage(f"--shm-size {options.shm_size!a} must be a size such as 512m or 1g.")
    ports = {"--http-port": address.http, "--grpc-port": address.grpc, "--metrics-port": address.metrics}
    if len(set(ports.values())) != len(ports):
        raise InvalidUsage(f"The ports {', '.join(map(str, ports.values()))} must be three different ones.")
    for option, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not hold a port
            try:
                probe.bind((address.host, port))
            except OSError as error:
                raise InvalidUsage(
                    f"{address.host}:{port} cannot be listened on ({error.strerror}); choose another {option}."
                ) from error


def _treat_hang_up_as_end() -> None:
    """A closed terminal ends the server too, unless the user asked (nohup) to ignore that."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))


@contextmanager
def _bundle(target: str, reporter: Reporter) -> Iterator[tuple[Path, Manifest]]:
    """A verified folder: the given one, or one that is fetched and goes away afterwards."""
    if "://" not in target:
        yield Path(target), verify_folder(Path(target))
        return
    store, manifest, _ = open_signed(target, None, None)
    with tempfile.TemporaryDirectory(prefix="model-packager-") as temporary:
        folder = Path(temporary) / "bundle"
        with reporter.transferring("fetching", manifest.sizes) as progress:
            placing.pull(manifest, store, folder, progress)
        yield folder, manifest


@contextmanager
def _running(launch: Launch) -> Iterator[ServerProcess]:
    server: ServerProcess | None = None
    try:
        with held_signals():
            server = ServerProcess(launch)
        yield server
    finally:
        if server is not None:
            server.stop()


def is_ready(address: Address, model: str) -> bool:
    """Readiness of the model as in a pod's probe."""
    connection = http.client.HTTPConnection(address.reachable, address.http, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", f"/v2/models/{model}/versions/1/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _announce(target: str, manifest: Manifest, address: Address, reporter: Reporter) -> None:
    host = address.reachable
    endpoint, grpc, metrics = f"{host}:{address.http}", f"{host}:{address.grpc}", f"{host}:{address.metrics}/metrics"
    command = f"model-packager replay {shlex.quote(target)} --endpoint {endpoint} --grpc {grpc}"
    fields = {
        "digest": manifest.digest(), "name": manifest.name, "version": manifest.version,
        "http": endpoint, "grpc": grpc, "metrics": f"http://{metrics}", "replay": command,
    }  # fmt: skip
    ready = f"{manifest.name}:{manifest.version} is ready"
    reporter.result(fields, f"{ready}: http {endpoint}, grpc {grpc}, metrics http://{metrics}; check it: {command}")
    sys.stdout.flush()


def _replay(folder: Path, manifest: Manifest, address: Address, reporter: Reporter) -> None:
    from model_packager.commands.replay import replay

    host = address.reachable
    replay(folder, manifest, f"{host}:{address.http}", f"{host}:{address.grpc}", None, reporter)
