"""The host's side of a cluster: its supervisor process, the veth pair with routes, and control groups."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.host.addresses import Block
from devcluster.host.layout import Layout
from devcluster.process import last_lines, run, wait_until

_MODULE = "devcluster.host.supervisor"
_CGROUPS = Path("/sys/fs/cgroup")
_NAMESPACES = ["--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]


def start_supervisor(layout: Layout, *, isolated: bool) -> int:
    """Start the supervisor and return its process id as this host sees it."""
    command = [sys.executable, "-m", _MODULE, str(layout.root)]
    if isolated:
        command = ["unshare", *_NAMESPACES, "--propagation", "private", *command, "--isolated"]
    source = str(Path(__file__).parents[2])
    python_path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    with layout.log("supervisor").open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": python_path},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def serving() -> bool:
        if process.poll() is not None:
            raise DevclusterError(f"the supervisor ended at once:\n{last_lines(layout.log('supervisor'))}")
        return layout.status.exists()

    wait_until(serving, seconds=30, what="start of the supervisor")
    pid = supervisor_pid(layout)
    if pid is None:
        raise DevclusterError(f"the supervisor ended:\n{last_lines(layout.log('supervisor'))}")
    return pid


def supervisor_processes(layout: Layout) -> list[int]:
    """Ids of the supervisor and of its ``unshare`` parent, found by their command line.

    A command line with the state folder in it cannot be lost by a kill between two writes, as a pid file can.
    """
    needle = f"-m\0{_MODULE}\0{layout.root}\0".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if needle in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:  # the process ended while we looked
                continue
    return found


def supervisor_pid(layout: Layout) -> int | None:
    """Id of the supervisor itself (not of ``unshare``), or None where it does not run."""
    for pid in supervisor_processes(layout):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if not command.startswith(b"unshare\0"):
            return pid
    return None


def stop_supervisor(layout: Layout) -> None:
    """End the cluster's processes: the kernel ends everything in its PID namespace with the supervisor."""
    for pid in supervisor_processes(layout):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until(lambda: not supervisor_processes(layout), seconds=60, what=f"end of the processes of {layout.name}")


def connect(layout: Layout, block: Block, pid: int) -> None:
    """Join the host and the namespace of ``pid`` by a veth pair, and route the cluster's networks over it."""
    inside = ["nsenter", "--target", str(pid), "--net"]
    veth, link = layout.veth, block.link.prefixlen
    for command in (
        ["ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", str(pid)],
        ["ip", "address", "add", f"{block.host_ip}/{link}", "dev", veth],
        ["ip", "link", "set", veth, "up"],
        [*inside, "ip", "address", "add", f"{block.node_ip}/{link}", "dev", "eth0"],
        [*inside, "ip", "link", "set", "eth0", "up"],
        [*inside, "ip", "route", "add", "default", "via", str(block.host_ip)],
        ["ip", "route", "add", str(block.services), "via", str(block.node_ip), "dev", veth],
        ["ip", "route", "add", str(block.pods), "via", str(block.node_ip), "dev", veth],
    ):
        run(command, timeout=30)


def disconnect(layout: Layout) -> None:
    """Remove the veth pair and with it the routes; the kernel may be removing it just now, with the namespace."""
    device = Path("/sys/class/net", layout.veth)
    if not device.exists():
        return
    try:
        run(["ip", "link", "delete", layout.veth], timeout=30)
    except DevclusterError:
        if device.exists():
            raise


def create_cgroups(layout: Layout) -> None:
    """Make the cluster's own control group below which the kubelet puts its pods, in every hierarchy."""
    if (_CGROUPS / "cgroup.controllers").exists():
        controllers = (_CGROUPS / "cgroup.controllers").read_text().split()
        (_CGROUPS / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
        group = _CGROUPS / layout.cgroup
        group.mkdir(exist_ok=True)
        (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
        return
    for hierarchy in _hierarchies():
        group = hierarchy / layout.cgroup
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # empty in a new cpuset group, and then no process may enter
            if (group / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())


def remove_cgroups(layout: Layout) -> None:
    """Remove the cluster's control groups; call this after its processes ended."""
    for hierarchy in [_CGROUPS, *_hierarchies()]:
        top = hierarchy / layout.cgroup
        if top.exists():
            wait_until(partial(_remove_tree, top), seconds=30, what=f"removal of the control group {top}")


def _hierarchies() -> list[Path]:
    """Version 1 hierarchies; aliases such as cpuacct -> cpu,cpuacct count once."""
    return [path for path in _CGROUPS.iterdir() if path.is_dir() and not path.is_symlink() and _is_hierarchy(path)]


def _is_hierarchy(path: Path) -> bool:
    return path.is_mount()


def _remove_tree(top: Path) -> bool:
    """Remove the groups bottom up; False while a process that is just ending still holds one of them."""
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            return False
    return True
