"""What the supervisor does inside its fresh namespaces, so that nothing of the cluster touches the host."""

from __future__ import annotations

import subprocess
from pathlib import Path

from devcluster.host.layout import Layout

# The kubelet insists on these values and would write them into the kernel of the whole host.
_KUBELET_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
# Kept by the kernel for each network namespace: setting them here changes nothing outside.
_NETWORK_SYSCTLS = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}


def _do(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, timeout=30)


def isolate(layout: Layout) -> None:
    """Give the cluster its own /run, /var/log, CNI state, host name and kernel settings. Needs own namespaces."""
    # Pods with mount propagation need a shared root; unshare made ours private, so this shares with nobody outside.
    _do("mount", "--make-rshared", "/")
    _do("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for folder in ("netns", "lock", "containerd"):
        Path("/run", folder).mkdir()
    for source, target in (("var-log", "/var/log"), ("cni-state", "/var/lib/cni")):
        (layout.root / source).mkdir(exist_ok=True)
        Path(target).mkdir(parents=True, exist_ok=True)
        _do("mount", "--bind", layout.root / source, target)
    _shield_sysctls(layout.root / "sysctl")
    _do("hostname", layout.node)
    _do("ip", "link", "set", "lo", "up")
    for name, value in _NETWORK_SYSCTLS.items():
        path = Path("/proc/sys", name)
        if path.exists():  # without br_netfilter bridged packets skip iptables, which suits a one-node cluster less
            path.write_text(value)


def _shield_sysctls(folder: Path) -> None:
    """Show the kubelet the values it wants without changing the host's."""
    folder.mkdir(exist_ok=True)
    for name, value in _KUBELET_SYSCTLS.items():
        stand_in = folder / name.replace("/", ".")
        stand_in.write_text(f"{value}\n")
        if Path("/proc/sys", name).exists():
            _do("mount", "--bind", stand_in, f"/proc/sys/{name}")
