"""A Gateway that is no part of this project: Contour, and the Envoy that it configures, beside the cluster.

Both run on this machine. Envoy reaches the pods because the network of the test cluster is reached from here.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cluster_server
import gateway_stage
import yaml
from envoy_router import envoy_binary
from kubernetes import config
from process_end import end
from serve_process import free_ports

from devcluster.gotools import ensure_tools
from devcluster.process import bound, last_lines
from devcluster.progress import Progress
from tidegate.adapters.api import ApiServer

Raw = dict[str, Any]
NAME = "models"
CONTROLLER = "projectcontour.io/gateway-controller"
KINDS = ("gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants")
UNUSED = ("extensionservices", "tlsroutes", "tcproutes", "backendtlspolicies")
"""What Contour would watch otherwise, and end without."""
DOMAIN = "models.test"
SHIFT = 8000
"""Contour has Envoy listen this much above the port of the Gateway's listener."""
SECONDS = 60.0
COUNTED = re.compile(
    r'envoy_cluster_upstream_rq_xx\{.*envoy_response_code_class="(?P<digit>\d)".*'
    r'envoy_cluster_name="(?P<cluster>[^"]+)".*\} (?P<count>\d+)'
)


@dataclass(frozen=True)
class Contour:
    """A Gateway that serves every hostname below DOMAIN, for HTTP and for gRPC."""

    name: str
    namespace: str
    address: str
    """host:port of its data plane."""
    metrics: str
    """host:port where its data plane shows its counters."""
    log: Path
    pid: int
    """Contour itself; its Envoy is another process."""

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Contour does nothing meanwhile, and its Envoy goes on as it was told last."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def place(self, http: str, grpc: str) -> Raw:
        """``spec.traffic`` of a model that this Gateway serves under two hostnames."""
        gateway = {"name": self.name, "namespace": self.namespace, "hostname": http, "grpcHostname": grpc}
        return {"router": "GatewayAPI", "gateway": gateway}

    def failed_share(self, backend: str) -> float | None:
        """Share of requests that a Service's pods, or the lack of them, failed since the start; None before any."""
        with urllib.request.urlopen(f"http://{self.metrics}/stats/prometheus", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        found = Counter[str]()
        for line in lines:
            if (seen := COUNTED.fullmatch(line)) and backend in seen["cluster"]:
                found[seen["digit"]] += int(seen["count"])
        return found["5"] / found.total() if found else None

    def tail(self) -> str:
        """The end of what Contour and Envoy said."""
        return f"{last_lines(self.log, 30)}\n{last_lines(self.log.with_name('envoy.log'), 20)}"


def _own_kinds() -> tuple[Raw, ...]:
    """Contour's own CustomResourceDefinitions, out of the module that it is built from."""
    text = (
        gateway_stage.module_folder("contour", "github.com/projectcontour/contour") / "examples/contour/01-crds.yaml"
    ).read_text()
    return tuple(item for item in yaml.load_all(text, Loader=yaml.CSafeLoader) if item)


def _objects(namespace: str, port: int) -> list[Raw]:
    """A class and a Gateway of it, which takes routes of every namespace."""
    api = "gateway.networking.k8s.io/v1"
    listener = {
        "name": "all",
        "protocol": "HTTP",
        "port": port - SHIFT,
        "hostname": f"*.{DOMAIN}",
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {
            "apiVersion": api,
            "kind": "GatewayClass",
            "metadata": {"name": "contour"},
            "spec": {"controllerName": CONTROLLER},
        },
        {
            "apiVersion": api,
            "kind": "Gateway",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {"gatewayClassName": "contour", "listeners": [listener]},
        },
    ]


PATHS = {
    "Namespace": "/api/v1/namespaces/{name}",
    "GatewayClass": "/apis/gateway.networking.k8s.io/v1/gatewayclasses/{name}",
    "Gateway": "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/gateways/{name}",
}


def _apply(api: ApiServer, item: Raw) -> None:
    path = PATHS[item["kind"]].format(**item["metadata"])
    query = [("fieldManager", "tests"), ("force", "true")]
    api.request("PATCH", path, query=query, content_type="application/apply-patch+yaml", body=item)


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[tuple[int, Callable[[], None]]]:
    """A process that ends with the block: its id, and a check that fails with its last words once it has ended."""
    with log.open("wb") as stream:
        process = subprocess.Popen(bound(command), stdout=stream, stderr=subprocess.STDOUT)

    def alive() -> None:
        assert process.poll() is None, f"{Path(command[0]).name} ended: {last_lines(log, 30)}"

    try:
        yield process.pid, alive
    finally:
        end(process)


@contextmanager
def contour(kubeconfig: Path, namespace: str, progress: Progress) -> Iterator[Contour]:
    """Contour and its Envoy, with a Gateway in ``namespace`` that is programmed. Both end with the block."""
    program = str(ensure_tools(["contour"], progress)["contour"])
    connection = config.new_client_from_config(str(kubeconfig))
    gateway_stage.install(connection, (*gateway_stage.definitions(KINDS), *_own_kinds()))
    xds, data, *others = free_ports(6)
    api = ApiServer(connection)
    for item in _objects(namespace, data):
        _apply(api, item)
    # A socket's path may have 108 characters, which the folders of pytest can exceed.
    with tempfile.TemporaryDirectory(prefix="gateway-") as made, ExitStack() as stack:
        folder = Path(made)
        settings = folder / "contour.yaml"
        settings.write_text(json.dumps({"gateway": {"gatewayRef": {"namespace": namespace, "name": NAME}}}))
        log = folder / "contour.log"
        pid, alive = stack.enter_context(_process(_serve(program, settings, kubeconfig, xds, others), log))
        _bootstrap(program, folder, xds)
        _, envoy = stack.enter_context(_process(_envoy(folder), folder / "envoy.log"))

        def programmed() -> bool:
            alive()
            envoy()
            gateway = api.request("GET", PATHS["Gateway"].format(namespace=namespace, name=NAME))
            conditions = {c["type"]: c["status"] for c in gateway.get("status", {}).get("conditions", ())}
            return conditions.get("Programmed") == "True"

        cluster_server.eventually(programmed, "the Gateway is programmed", SECONDS)
        yield Contour(NAME, namespace, f"127.0.0.1:{data}", f"127.0.0.1:{others[-1]}", log, pid)
        alive()
        envoy()


def _serve(program: str, settings: Path, kubeconfig: Path, xds: int, others: list[int]) -> list[str]:
    """The control plane: it watches the cluster, and tells Envoy over a port of this machine."""
    ports = dict(zip(("http", "health", "debug-http", "stats"), others, strict=True))
    command = [program, "serve", f"--config-path={settings}", f"--kubeconfig={kubeconfig}", "--insecure"]
    command += ["--xds-address=127.0.0.1", f"--xds-port={xds}", "--disable-leader-election"]
    command += [f"--disable-feature={name}" for name in UNUSED]
    command += [f"--{name}-{what}" for name, port in ports.items() for what in ("address=127.0.0.1", f"port={port}")]
    return [*command, "--envoy-service-http-address=127.0.0.1", "--ingress-status-address=127.0.0.1"]


def _bootstrap(program: str, folder: Path, xds: int) -> None:
    """Have Contour write the first configuration of its Envoy."""
    command = [program, "bootstrap", str(folder / "envoy.json"), "--xds-address=127.0.0.1", f"--xds-port={xds}"]
    command += [f"--admin-address={folder / 'admin.sock'}"]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)


def _envoy(folder: Path) -> list[str]:
    """The data plane."""
    node = ["--service-cluster", "projectcontour", "--service-node", "envoy"]
    options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    return [envoy_binary(), "--config-path", str(folder / "envoy.json"), *node, *options]
