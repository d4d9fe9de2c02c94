"""The existing driver: a cluster that somebody else made, named by a kubeconfig context."""

from __future__ import annotations

import json
import os
from pathlib import Path

from devcluster.driver import SimulatedNodes, Status
from devcluster.errors import DevclusterError
from devcluster.gotools import kubectl
from devcluster.kube import Kubectl
from devcluster.kwok import LABEL, node_objects
from devcluster.paths import state_folder
from devcluster.process import run, write_atomic


class ExistingCluster:
    """Someone's cluster: devcluster remembers how to reach it, and changes only what it is asked to add."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._folder = state_folder(name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def kubeconfig(self) -> Path:
        return self._folder / "kubeconfig"

    def up(self, context: str) -> None:
        """Remember ``context`` of the user's kubeconfig under this name; raises where it does not answer."""
        command: list[str | Path] = [
            kubectl(),
            "config",
            "view",
            "--minify",
            "--flatten",
            "--raw",
            "--context",
            context,
        ]
        text = run(command, timeout=30, env=dict(os.environ))
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.kubeconfig, text, mode=0o600)
        write_atomic(self._folder / "cluster.json", json.dumps({"driver": "existing", "context": context}))
        if not Kubectl(self.kubeconfig).answers():
            raise DevclusterError(f"the cluster of context '{context}' does not answer: check 'kubectl cluster-info'")

    def load_image(self, image: str) -> list[str]:
        raise DevclusterError(
            f"cannot load '{image}' into a cluster that devcluster did not make: push it to a registry that its nodes "
            "pull from, and name it there"
        )

    def add_simulated_nodes(self, nodes: SimulatedNodes) -> None:
        client = Kubectl(self.kubeconfig)
        client.apply(node_objects(nodes), timeout=600)
        try:
            client.wait_nodes(nodes.count, f"{LABEL}={nodes.prefix}", seconds=60 + nodes.count / 5)
        except DevclusterError as error:
            raise DevclusterError(f"{error}: does a KWOK controller run in this cluster?") from error

    def status(self) -> Status:
        if not self.kubeconfig.exists():
            return Status(self.name, "existing", running=False)
        problems = () if Kubectl(self.kubeconfig).answers() else ("its API server does not answer",)
        return Status(self.name, "existing", running=True, problems=problems)

    def down(self) -> None:
        """Remove simulated nodes that this added, and forget the cluster; everything else in it stays."""
        client = Kubectl(self.kubeconfig)
        if self.kubeconfig.exists() and client.answers():
            client("delete", "nodes", "-l", LABEL, "--ignore-not-found", timeout=300)
        for file in ("kubeconfig", "cluster.json"):
            (self._folder / file).unlink(missing_ok=True)
        if self._folder.exists():
            self._folder.rmdir()
