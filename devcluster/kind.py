"""The kind driver: a cluster in containers of the local Docker engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from devcluster.archive import archive_of, read_archive
from devcluster.driver import SimulatedNodes, Status
from devcluster.errors import DevclusterError
from devcluster.gotools import ensure_tools
from devcluster.kube import Kubectl
from devcluster.kwok import LABEL, controller_command, node_objects, write_stages
from devcluster.paths import state_folder
from devcluster.process import run, write_atomic
from devcluster.progress import Progress

_CREATE_SECONDS = 900
_SIMULATED_PODS = "10.126.0.0/16"


def docker_answers() -> bool:
    """True where a Docker engine can be used by this user."""
    if shutil.which("docker") is None:
        return False
    try:
        run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=20)
    except DevclusterError:
        return False
    return True


class KindCluster:
    """A cluster of kind; every call goes through the ``kind`` program."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._folder = state_folder(name)
        self._progress = progress

    @property
    def name(self) -> str:
        return self._name

    @property
    def kubeconfig(self) -> Path:
        return self._folder / "kubeconfig"

    def up(self) -> None:
        """Create the cluster, or keep it where kind has it and its API server answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._folder / "cluster.json", json.dumps({"driver": "kind"}))
        if self._exists():
            self._kind("export", "kubeconfig", timeout=60)
            if Kubectl(self.kubeconfig).answers():
                self._progress.say(f"the cluster '{self.name}' is up already")
                return
            with self._progress.step("removing a cluster that does not answer"):
                self._kind("delete", "cluster", timeout=300)
        with self._progress.step(f"creating the kind cluster '{self.name}'"):
            self._kind("create", "cluster", "--wait", "300s", timeout=_CREATE_SECONDS)

    def load_image(self, image: str) -> list[str]:
        with archive_of(image) as archive, self._progress.step(f"loading {image} into '{self.name}'"):
            names = [found.name for found in read_archive(archive)]
            command = ["load", "image-archive", str(archive), "--name", self.name]
            run([self._program(), *command], timeout=_CREATE_SECONDS)
        return names

    def add_simulated_nodes(self, nodes: SimulatedNodes) -> None:
        client = Kubectl(self.kubeconfig)
        self._start_kwok()
        client.apply(node_objects(nodes), timeout=600)
        client.wait_nodes(nodes.count, f"{LABEL}={nodes.prefix}", seconds=60 + nodes.count / 5)

    def status(self) -> Status:
        if not self._folder.exists() or not self._exists():
            return Status(self.name, "kind", running=False)
        problems = () if Kubectl(self.kubeconfig).answers() else ("its API server does not answer",)
        return Status(self.name, "kind", running=True, problems=problems)

    def down(self) -> None:
        self._stop_kwok()
        if self._exists():
            self._kind("delete", "cluster", timeout=300)
        if self._folder.exists():
            shutil.rmtree(self._folder)

    def _start_kwok(self) -> None:
        if self._kwok_pid() is not None:
            return
        tools = ensure_tools(["kwok"], self._progress)
        stages = self._folder / "kwok.yaml"
        write_stages(stages)
        command = controller_command(tools, kubeconfig=self.kubeconfig, stages=stages, pod_cidr=_SIMULATED_PODS)
        with (self._folder / "kwok.log").open("ab") as log:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _kwok_pid(self) -> int | None:
        """Id of the KWOK controller of this cluster, known by the kubeconfig on its command line."""
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    words = (folder / "cmdline").read_text().split("\0")
                except OSError:
                    continue
                if Path(words[0]).name == "kwok" and f"--kubeconfig={self.kubeconfig}" in words:
                    return int(folder.name)
        return None

    def _stop_kwok(self) -> None:
        pid = self._kwok_pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)

    def _exists(self) -> bool:
        return self.name in run([self._program(), "get", "clusters"], timeout=60).split()

    def _program(self) -> Path:
        return ensure_tools(["kind"], self._progress)["kind"]

    def _kind(self, *words: str, timeout: float) -> None:
        run([self._program(), *words, "--name", self.name, "--kubeconfig", str(self.kubeconfig)], timeout=timeout)
