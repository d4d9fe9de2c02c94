"""The operator as its own process, with routers that answer on this machine's loopback addresses as Envoy does."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cluster_stage import Stage

from devcluster.process import bound
from tidegate.domain.observed import PodView
from tidegate.domain.routing import RouterReport, Table
from tidegate.resources.router import VIEWS_PORT

ROOT = Path(__file__).parents[2]
START = [sys.executable, "-c", "from tidegate.cli import main; main()", "run"]
BEAT = 0.05
"""Seconds between two looks of the kubelet."""


def versions(report: RouterReport) -> dict[str, Any]:
    """What Envoy answers to /stats."""
    texts = {"listener_manager.lds": report.listeners, "cluster_manager.cds": report.clusters}
    texts |= {f"http.{name}.rds.{name}": version for name, version in report.routes.items()}
    return {"stats": [{"name": f"{name}.version_text", "value": text} for name, text in texts.items()]}


def endpoints(report: RouterReport) -> dict[str, Any]:
    """What Envoy answers to /clusters."""

    def host(address: str) -> dict[str, Any]:
        return {"address": {"socket_address": {"address": address, "port_value": 8000}}}

    found = [{"name": c, "host_statuses": [host(a) for a in known]} for c, known in report.endpoints.items()]
    return {"cluster_statuses": found}


class Node:
    """Runs the pods of a stage all the time, and answers for its routers."""

    def __init__(self, stage: Stage, network: int) -> None:
        """Router pods get addresses in 127.``network``.0.0/16."""
        self._stage = stage
        self._network = network
        self._servers: dict[str, ThreadingHTTPServer] = {}
        self._stop = threading.Event()
        stage.kubelet.router_address = self._serve

    def run(self) -> None:
        """Work until stopped."""
        while not self._stop.wait(BEAT):
            self._stage.kubelet.sync()

    def stop(self) -> None:
        """Stop, and close every router."""
        self._stop.set()
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def _serve(self, pod: str) -> str:
        stage = self._stage

        class Views(BaseHTTPRequestHandler):
            """One router's read-only port."""

            def do_GET(self) -> None:
                found = stage.api.request("GET", stage.path("Pod", pod))
                (report,) = stage.routers.reports([PodView(found)], Table())
                # Nobody sends requests here: a router that has counted nothing has no counters.
                stats = versions(report) if "version_text" in self.path else {"stats": []}
                answer = stats if self.path.startswith("/stats") else endpoints(report)
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        if pod not in self._servers:
            address = f"127.{self._network}.0.{len(self._servers) + 1}"
            server = self._servers[pod] = ThreadingHTTPServer((address, VIEWS_PORT), Views)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return str(self._servers[pod].server_address[0])


@dataclass
class Operator:
    """A running ``tidegate run``."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit status, and how many seconds it took."""
        began = time.monotonic()
        self.process.terminate()
        return self.process.wait(30), time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def said(self) -> list[dict[str, str]]:
        """Its log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@contextmanager
def operator(kubeconfig: Path, folder: Path, name: str, *options: str) -> Iterator[Operator]:
    """An operator process as ``kubeconfig``'s user; ``name`` is its pod's, and so its identity."""
    log = folder / f"{name}-{time.monotonic_ns()}.log"
    images = ["--packager-image", "tidegate/packager:test", "--router-image", "tidegate/envoy:test"]
    images += ["--observer-image", "tidegate/observer:test"]
    settings = ["--metrics-port", "0", "--log-format", "json", "--workers", "2"]
    environment = os.environ | {"KUBECONFIG": str(kubeconfig), "POD_NAME": name, "PYTHONPATH": str(ROOT / "operator")}
    with log.open("wb") as stream:
        command = [*START, *images, *settings, *options]
        process = subprocess.Popen(bound(command), env=environment, stderr=stream, stdout=stream)
        try:
            yield Operator(process, log)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)
