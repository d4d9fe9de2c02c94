"""Bring up a cluster on this host, step by step, each with a deadline."""

from __future__ import annotations

import json
import string
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import yaml

from devcluster.archive import write_pause_image
from devcluster.debian import ensure_debian_packages
from devcluster.errors import DevclusterError
from devcluster.gotools import ensure_tools
from devcluster.host import controlplane, kernel, nodeconfig
from devcluster.host.addresses import Block, choose_block, free_ports, host_networks
from devcluster.host.components import Component, load_status
from devcluster.host.images import ContainerdImages
from devcluster.host.layout import Layout, Record, load_record
from devcluster.host.pki import create_authority, write_kubeconfig
from devcluster.host.plan import Plan
from devcluster.kube import Kubectl
from devcluster.paths import state_home
from devcluster.process import file_lock, last_lines, run, wait_until, write_atomic
from devcluster.progress import Progress

PACKAGES = ["runc", "containernetworking-plugins", "iptables", "conntrack", "socat", "catatonit", "iproute2"]
_CONTROL_PLANE = ["etcd", "kube-apiserver", "kube-controller-manager"]
_NODE = ["kube-scheduler", "kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr", "coredns"]
_API_PORT, _ETCD_PORT, _ETCD_PEER_PORT = 6443, 2379, 2380
_API_SECONDS, _NODE_SECONDS = 90.0, 120.0


def create(layout: Layout, *, control_plane_only: bool, progress: Progress) -> Record:
    """Make the cluster from nothing and return its record; raises DevclusterError with the log of what failed."""
    if not control_plane_only:
        with progress.step("checking the Debian packages of the node"):
            ensure_debian_packages(PACKAGES)
    tools = ensure_tools(_CONTROL_PLANE + ([] if control_plane_only else _NODE), progress)
    record = _reserve(layout, control_plane_only)
    plan = Plan(layout, record, tools)
    _write_identities(plan)
    if plan.block:
        _write_node_files(plan, plan.block)
        kernel.create_cgroups(layout)
    pid = kernel.start_supervisor(layout, isolated=plan.full)
    if plan.block:
        kernel.connect(layout, plan.block, pid)
    _start_control_plane(plan, progress)
    if plan.block:
        _start_node(plan, plan.block, progress)
    with progress.step("waiting for the default service account"):
        # Pods and many tests need it; it also shows that the controllers work.
        _wait(layout, lambda: _exists(layout, "serviceaccount/default"), 60, "the default service account")
    ready = Record(record.control_plane_only, record.block, record.ports, ready=True)
    ready.save(layout.record)
    return ready


def start_component(layout: Layout, component: Component) -> None:
    """Have the supervisor start ``component``; one that was asked for before is left alone."""
    component.request(layout.components)


def dead_components(layout: Layout) -> list[str]:
    """One sentence for each component that ended, naming its log."""
    return [
        f"{status.name} ended with exit code {status.exit_code}; its log is {layout.log(status.name)}"
        for status in load_status(layout.status)
        if not status.running
    ]


def _reserve(layout: Layout, control_plane_only: bool) -> Record:
    with file_lock(state_home() / ".locks" / "+addresses"):
        layout.make_folders()
        if control_plane_only:
            api, etcd, peer = free_ports(3)
            record = Record(True, None, (api, etcd, peer))
        else:
            others = (load_record(path) for path in state_home().glob("*/cluster.json"))
            taken = {other.block for other in others if other and other.block is not None}
            block = choose_block(taken, host_networks())
            record = Record(False, block.index, (_API_PORT, _ETCD_PORT, _ETCD_PEER_PORT))
        record.save(layout.record)
    return record


def _write_identities(plan: Plan) -> None:
    layout = plan.layout
    authority = create_authority(layout.pki)
    authority.issue("etcd", "etcd", hosts=["127.0.0.1", "localhost"])
    authority.issue("apiserver", "kube-apiserver", hosts=plan.api_names)
    clients = {
        "admin": ("tidegate-admin", ["system:masters"]),
        "controller-manager": ("system:kube-controller-manager", []),
        "scheduler": ("system:kube-scheduler", []),
    }
    if plan.block:
        clients |= {
            "kubelet-client": (f"system:node:{layout.node}", ["system:nodes"]),
            "proxy": ("system:kube-proxy", []),
            "dns": ("system:coredns", []),
        }
        authority.issue("kubelet", layout.node, hosts=[layout.node, str(plan.block.node_ip)])
    for file, (user, groups) in clients.items():
        authority.issue(file, user, groups)
        path = layout.kubeconfig if file == "admin" else layout.config / f"{file.removesuffix('-client')}.kubeconfig"
        write_kubeconfig(path, server=plan.api_url, pki=layout.pki, user=file, cluster=f"devcluster-{layout.name}")
    write_atomic(Path(plan.config("scheduler.yaml")), yaml.safe_dump(controlplane.scheduler_config(plan)))


def _write_node_files(plan: Plan, block: Block) -> None:
    restrict = not nodeconfig.may_lower_oom_score(Path("/proc/self/status").read_text())
    folder_type = run(["stat", "--file-system", "--format=%T", str(plan.layout.root)], timeout=30).strip()
    snapshotter = "native" if folder_type == "overlayfs" else "overlayfs"  # an overlay on an overlay is refused
    texts = {
        "containerd.toml": nodeconfig.containerd_config(plan, restrict_oom_score=restrict, snapshotter=snapshotter),
        "kubelet.yaml": yaml.safe_dump(nodeconfig.kubelet_config(plan, block, restrict_oom_score=restrict)),
        "proxy.yaml": yaml.safe_dump(nodeconfig.proxy_config(plan, block, restrict_oom_score=restrict)),
        "Corefile": nodeconfig.corefile(plan, block),
        "resolv.conf": f"nameserver {block.dns_ip}\n",
        "cni/10-pods.conflist": json.dumps(nodeconfig.cni_config(block)),
    }
    (plan.layout.config / "cni").mkdir(exist_ok=True)
    for name, text in texts.items():
        write_atomic(plan.layout.config / name, text)


def _start_control_plane(plan: Plan, progress: Progress) -> None:
    layout = plan.layout
    first = [controlplane.etcd(plan), controlplane.api_server(plan)]
    for component in first + ([nodeconfig.containerd(plan)] if plan.full else []):
        start_component(layout, component)
    client = Kubectl(layout.kubeconfig)
    with progress.step("starting etcd and the API server"):
        _wait(layout, client.answers, _API_SECONDS, "the API server")
    start_component(layout, controlplane.controller_manager(plan))


def _start_node(plan: Plan, block: Block, progress: Progress) -> None:
    layout = plan.layout
    client = Kubectl(layout.kubeconfig)
    base = string.Template((Path(__file__).parent / "base.yaml").read_text())
    client.apply(base.substitute(dns_ip=block.dns_ip, node_ip=block.node_ip))
    start_component(layout, controlplane.scheduler(plan))
    images = ContainerdImages(layout, plan.tools["ctr"])
    with progress.step("starting containerd"):
        _wait(layout, images.answers, 60, "containerd")
        pause = layout.root / "pause.tar"
        write_pause_image(pause, nodeconfig.PAUSE_IMAGE, Path("/usr/bin/catatonit"))
        images.load(pause)
    for component in nodeconfig.node_components(plan, block):
        start_component(layout, component)
    with progress.step("waiting for the node and DNS to be ready"):
        _wait(layout, lambda: _dns_answers(block), 60, "cluster DNS")
        _wait(
            layout, lambda: client.ready_nodes(f"kubernetes.io/hostname={layout.node}") == 1, _NODE_SECONDS, "the node"
        )


def _wait(layout: Layout, check: Callable[[], bool], seconds: float, what: str) -> None:
    def checked() -> bool:
        dead = [status for status in load_status(layout.status) if not status.running]
        if dead:
            name = dead[0].name
            raise DevclusterError(
                f"{name} ended with exit code {dead[0].exit_code}; the end of {layout.log(name)}:\n"
                f"{last_lines(layout.log(name))}"
            )
        return check()

    wait_until(checked, seconds=seconds, what=f"{what} is not ready (logs: {layout.logs})", interval=0.2)


def _exists(layout: Layout, what: str) -> bool:
    return bool(Kubectl(layout.kubeconfig)("get", what, "--ignore-not-found", "-o", "name").strip())


def _dns_answers(block: Block) -> bool:
    try:
        with urllib.request.urlopen(f"http://{block.node_ip}:8181/ready", timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
