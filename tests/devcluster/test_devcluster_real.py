"""What the development cluster promises, on real clusters of this machine: nothing collides, nothing is left behind."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import devcluster
from devcluster import DevclusterError
from devcluster.driver import SimulatedNodes
from devcluster.existing import ExistingCluster
from devcluster.host.kernel import supervisor_processes
from devcluster.host.layout import Layout
from devcluster.kube import Kubectl
from devcluster.paths import state_folder

MARK = hashlib.sha256(str(Path(__file__).resolve()).encode()).hexdigest()[:6]
NAMES = [f"dc-a-{MARK}", f"dc-b-{MARK}", f"dc-c-{MARK}"]


def until(check: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def traces(name: str) -> dict[str, list[str]]:
    """What a cluster could leave on the host."""
    layout = Layout(name, state_folder(name))
    links = json.loads(subprocess.check_output(["ip", "-json", "link"], text=True))
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    groups = [str(p) for p in Path("/sys/fs/cgroup").glob(f"*/*{layout.tag}*")]
    return {
        "processes": [str(pid) for pid in supervisor_processes(layout)],
        "links": [link["ifname"] for link in links if layout.tag in link["ifname"]],
        "mounts": [line for line in mounts if str(layout.root) in line],
        "cgroups": groups,
        "state": [str(p) for p in [state_folder(name)] if p.exists()],
    }


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    for name in NAMES:
        with contextlib.suppress(DevclusterError):
            devcluster.find(name).down()


def test_two_clusters_run_side_by_side_and_leave_nothing() -> None:
    first, second = (devcluster.up(name, driver="host") for name in NAMES[:2])
    for cluster in (first, second):
        client = Kubectl(cluster.kubeconfig)
        client("create", "service", "clusterip", "mark", "--tcp=80")
        assert client("get", "nodes", "-o", "name").split() == [f"node/{cluster.name}-node"]
    addresses = {
        Kubectl(c.kubeconfig)("get", "service", "mark", "-o", "jsonpath={.spec.clusterIP}") for c in (first, second)
    }
    assert len(addresses) == 2, "both clusters gave out the same address"
    first.down()
    assert not any(traces(first.name).values()), traces(first.name)
    assert second.status().healthy
    second.down()
    second.down()
    assert not any(traces(second.name).values()), traces(second.name)


def test_a_cluster_whose_supervisor_was_killed_leaves_no_process_and_comes_back() -> None:
    cluster = devcluster.up(NAMES[0], driver="host")
    layout = Layout(NAMES[0], state_folder(NAMES[0]))
    for pid in supervisor_processes(layout):
        os.kill(pid, signal.SIGKILL)
    needle = str(layout.root).encode()

    def gone() -> bool:
        lines = (Path(p) / "cmdline" for p in Path("/proc").glob("[0-9]*"))
        return not any(needle in read(line) for line in lines)

    until(gone, "every process of the cluster to end with its supervisor")
    again = devcluster.up(NAMES[0], driver="host")
    assert again.status().healthy
    assert again.kubeconfig == cluster.kubeconfig


def read(path: Path) -> bytes:
    """A file of /proc; empty when its process has just gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("seconds", [0.5, 2.0, 4.0])
def test_an_up_that_was_killed_half_way_is_recovered_by_the_next(seconds: float) -> None:
    command = [sys.executable, "-m", "devcluster", "up", "--name", NAMES[0], "--driver", "host"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        process.kill()
    assert devcluster.up(NAMES[0], driver="host").status().healthy


OWNER = """
import sys, time, devcluster
from devcluster.ward import warded
with warded(sys.argv[1]):
    devcluster.up(sys.argv[1], control_plane_only=True)
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_cluster_does_not_outlive_the_process_that_wanted_it(number: signal.Signals) -> None:
    command = [sys.executable, "-c", OWNER, NAMES[0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        os.killpg(owner.pid, number)
        until(lambda: not any(traces(NAMES[0]).values()), "the cluster to go with its owner")


def test_an_existing_cluster_is_used_and_left_as_it_was() -> None:
    owner = devcluster.up(NAMES[0], control_plane_only=True)
    owner.add_simulated_nodes(SimulatedNodes(count=2, tainted=False))
    context = Kubectl(owner.kubeconfig)("config", "current-context").strip()
    before = os.environ.get("KUBECONFIG")
    os.environ["KUBECONFIG"] = str(owner.kubeconfig)
    try:
        guest = devcluster.up(NAMES[2], driver="existing", context=context)
    finally:
        if before is None:
            del os.environ["KUBECONFIG"]
        else:
            os.environ["KUBECONFIG"] = before
    assert isinstance(guest, ExistingCluster)
    assert guest.status().healthy
    assert len(Kubectl(guest.kubeconfig)("get", "nodes", "-o", "name").split()) == 2
    with pytest.raises(DevclusterError, match="push it to a registry"):
        guest.load_image("image.tar")
    Kubectl(guest.kubeconfig)("create", "configmap", "mine")
    guest.down()
    assert not guest.kubeconfig.exists()
    assert "mine" in Kubectl(owner.kubeconfig)("get", "configmap", "mine", "-o", "name")


def test_a_context_that_does_not_exist_is_named() -> None:
    with pytest.raises(DevclusterError, match="no-such-context"):
        devcluster.up(NAMES[2], driver="existing", context="no-such-context")
