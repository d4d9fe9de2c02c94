"""The host driver: a whole cluster on this Linux host, in namespaces of its own."""

from __future__ import annotations

import shutil
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from devcluster.archive import archive_of
from devcluster.driver import SimulatedNodes, Status
from devcluster.errors import DevclusterError
from devcluster.gotools import ensure_tools
from devcluster.host import bootstrap, controlplane, kernel
from devcluster.host.components import Component, load_status
from devcluster.host.images import ContainerdImages
from devcluster.host.layout import Layout, load_record, require_record
from devcluster.host.plan import Plan
from devcluster.host.recovery import Action, decide
from devcluster.kube import Kubectl
from devcluster.kwok import LABEL, controller_command, node_objects, write_stages
from devcluster.paths import state_folder, state_home
from devcluster.process import file_lock
from devcluster.progress import Progress

# Where a control plane without nodes lets simulated nodes place their pods.
_BARE_POD_CIDR = "10.126.0.0/16"


class HostCluster:
    """A cluster of the host driver, found again by its name."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._layout = Layout(name, state_folder(name))
        self._progress = progress

    @property
    def name(self) -> str:
        return self._layout.name

    @property
    def kubeconfig(self) -> Path:
        return self._layout.kubeconfig

    def up(self, *, control_plane_only: bool) -> None:
        """Make the cluster, or keep it where it runs and is healthy; what a killed run left is replaced."""
        if not sys.platform.startswith("linux"):
            raise DevclusterError("the host driver needs Linux: use --driver kind with Docker, or --driver existing")
        with self._lock():
            action = self._decide(control_plane_only)
            if action is Action.REFUSE:
                raise DevclusterError(
                    f"the cluster '{self.name}' runs as a control plane only: take it down first, or use another --name"
                )
            if action is Action.KEEP:
                self._progress.say(f"the cluster '{self.name}' is up already")
                return
            if action is Action.RECREATE:
                with self._progress.step("removing what an earlier run left"):
                    self._remove()
            try:
                bootstrap.create(self._layout, control_plane_only=control_plane_only, progress=self._progress)
            except BaseException:
                # No half cluster keeps running; its folder stays for the logs, and the next `up` replaces it.
                kernel.stop_supervisor(self._layout)
                raise

    def load_image(self, image: str) -> list[str]:
        record = require_record(self._layout)
        if record.control_plane_only:
            raise DevclusterError(f"the cluster '{self.name}' has no node to load images into (control plane only)")
        tools = ensure_tools(["ctr"], self._progress)
        with archive_of(image) as archive, self._progress.step(f"loading {image} into '{self.name}'"):
            return ContainerdImages(self._layout, tools["ctr"]).load(archive)

    def add_simulated_nodes(self, nodes: SimulatedNodes) -> None:
        record = require_record(self._layout)
        wanted = ["kwok", "kube-scheduler"]
        plan = Plan(self._layout, record, ensure_tools(wanted, self._progress))
        running = {status.name for status in load_status(self._layout.status)}
        if "kube-scheduler" not in running:
            bootstrap.start_component(self._layout, controlplane.scheduler(plan))
        if "kwok" not in running:
            stages = self._layout.config / "kwok.yaml"
            write_stages(stages)
            cidr = str(plan.block.simulated_pods) if plan.block else _BARE_POD_CIDR
            command = controller_command(plan.tools, kubeconfig=self.kubeconfig, stages=stages, pod_cidr=cidr)
            bootstrap.start_component(self._layout, Component("kwok", command))
        client = Kubectl(self.kubeconfig)
        with self._progress.step(f"adding {nodes.count} simulated nodes"):
            client.apply(node_objects(nodes), timeout=600)
            client.wait_nodes(nodes.count, f"{LABEL}={nodes.prefix}", seconds=60 + nodes.count / 5)

    def status(self) -> Status:
        record = load_record(self._layout.record)
        running = kernel.supervisor_pid(self._layout) is not None
        if not running:
            left = self._layout.root.exists()
            problems = (
                ("it does not run, but its folder is there: 'up' replaces it, 'down' removes it",) if left else ()
            )
            return Status(self.name, "host", running=False, problems=problems)
        found = bootstrap.dead_components(self._layout)
        if record is None or not record.ready:
            found.append("it was never completed, or an 'up' is under way")
        elif not Kubectl(self.kubeconfig).answers():
            found.append(f"the API server does not answer; its log is {self._layout.log('kube-apiserver')}")
        elif not record.control_plane_only and not self._node_is_ready():
            found.append(f"the node is not Ready; the kubelet's log is {self._layout.log('kubelet')}")
        return Status(self.name, "host", running=True, problems=tuple(found))

    def down(self) -> None:
        with self._lock():
            self._remove()

    def _node_is_ready(self) -> bool:
        return Kubectl(self.kubeconfig).ready_nodes(f"kubernetes.io/hostname={self._layout.node}") == 1

    def _lock(self) -> AbstractContextManager[None]:
        return file_lock(state_home() / ".locks" / self.name)

    def _decide(self, control_plane_only: bool) -> Action:
        record = load_record(self._layout.record)
        supervisor = kernel.supervisor_pid(self._layout) is not None
        problems = self.status().problems if record and record.ready and supervisor else ()
        return decide(
            record,
            supervisor=supervisor,
            problems=problems,
            control_plane_only=control_plane_only,
            remains=self._layout.root.exists(),
        )

    def _remove(self) -> None:
        """Undo everything; each step finds out by itself whether there is something to do."""
        kernel.stop_supervisor(self._layout)
        kernel.disconnect(self._layout)
        kernel.remove_cgroups(self._layout)
        if self._layout.root.exists():
            shutil.rmtree(self._layout.root)
