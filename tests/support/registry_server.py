"""A real OCI registry on a free port of this machine."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from process_end import end

from devcluster.gotools import ensure_tools
from devcluster.process import bound
from devcluster.progress import Progress

USER = "publisher"
PASSWORD = "registry-secret"
# bcrypt of PASSWORD at the lowest cost: the registry reads no other kind of hash.
HTPASSWD = f"{USER}:$2b$04$t5OJXhHdyWs3mRYND8PSLOX6.YHiUux3kG4wFYqnSRqJpIUAlKM/C\n"


@dataclass
class RegistryServer:
    """A running registry. ``data`` is the folder of its blobs."""

    address: str
    data: Path
    password: str = PASSWORD

    def log_in(self, folder: Path, password: str) -> None:
        """Write the configuration of container tools with these credentials."""
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        (folder / "config.json").write_text(json.dumps({"auths": {self.address: {"auth": auth}}}))


@contextmanager
def running_registry(folder: Path, *, locked: bool = False, host: str = "127.0.0.1") -> Iterator[RegistryServer]:
    """Start a registry with its data in ``folder``; ``locked`` asks every client for a password.

    ``host`` is the address of this machine that it listens at.
    """
    binary = ensure_tools(["registry"], Progress())["registry"]
    with socket.socket() as probe:
        probe.bind((host, 0))
        address = f"{host}:{probe.getsockname()[1]}"
    settings: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }
    if locked:
        (folder / "htpasswd").write_text(HTPASSWD)
        settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    (folder / "config.yaml").write_text(json.dumps(settings))
    environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
    with (folder / "log").open("wb") as log:
        command = bound([binary, "serve", folder / "config.yaml"])
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_up(f"http://{address}/v2/", process)
        yield RegistryServer(address, folder / "data")
    finally:
        end(process)


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the registry ended with code {process.returncode}"
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError:
            return  # it answers; that it asks for a password is its job
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the registry did not answer in 30 s")
