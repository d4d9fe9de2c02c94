"""Configuration files and command lines of what runs on the node: containerd, kubelet, kube-proxy, DNS."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from devcluster.host.addresses import Block
from devcluster.host.components import Component
from devcluster.host.plan import Plan

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "localhost/tidegate/pause:1"
CLUSTER_DOMAIN = "cluster.local"
# ClusterIP Services are answered within this many pods on the one node.
_MAX_PODS = 250
_CAP_SYS_RESOURCE = 24


def may_lower_oom_score(proc_status: str) -> bool:
    """True where the ``CapEff`` line of /proc/PID/status has CAP_SYS_RESOURCE."""
    line = next(line for line in proc_status.splitlines() if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)


def containerd_config(plan: Plan, *, restrict_oom_score: bool, snapshotter: str) -> str:
    """containerd's version 3 configuration; TOML is written by hand because it is this short."""
    restrict = "true" if restrict_oom_score else "false"
    return f"""version = 3
root = {_toml(plan.layout.root / "containerd")}
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri",
  "io.containerd.tracing.processor.v1.otlp"]

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "{snapshotter}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = {_toml(plan.layout.registries)}

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = {restrict}
enable_unprivileged_ports = true
enable_unprivileged_icmp = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = {_toml(plan.layout.config / "cni")}

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def cni_config(block: Block) -> dict[str, Any]:
    """One bridge for all pods, with host ports and hairpin, so that a pod reaches itself through its Service."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": "/var/lib/cni/networks",
            "ranges": [[{"subnet": str(block.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def kubelet_config(plan: Plan, block: Block, *, restrict_oom_score: bool) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": plan.pki("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": plan.pki("kubelet.crt"),
        "tlsPrivateKeyFile": plan.pki("kubelet.key"),
        "clusterDNS": [str(block.dns_ip)],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": plan.config("resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{plan.layout.cgroup}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0 if restrict_oom_score else -999,
        "maxPods": _MAX_PODS,
        "podLogsDir": "/var/log/pods",
        "serializeImagePulls": False,
        # The disk belongs to the developer and may be nearly full: evict late, and never collect loaded images,
        # which could not be pulled again.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "100Mi", "imagefs.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def proxy_config(plan: Plan, block: Block, *, restrict_oom_score: bool) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": str(block.pods),
        "clientConnection": {"kubeconfig": plan.config("proxy.kubeconfig")},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
        "oomScoreAdj": 0 if restrict_oom_score else -999,
    }


def corefile(plan: Plan, block: Block) -> str:
    """DNS for the cluster domain only: answers of the cluster are never cached, other names do not exist."""
    # Two server blocks, because the template plugin runs ahead of the kubernetes plugin within one.
    return f"""{CLUSTER_DOMAIN}:53 in-addr.arpa:53 ip6.arpa:53 {{
    bind {block.node_ip}
    errors
    ready {block.node_ip}:8181
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {plan.config("dns.kubeconfig")}
        pods insecure
        ttl 30
    }}
    loadbalance
}}
.:53 {{
    bind {block.node_ip}
    errors
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


def node_components(plan: Plan, block: Block) -> list[Component]:
    """The programs of the node in the order of their start; containerd is asked for earlier, alone."""
    kubelet = [
        str(plan.tools["kubelet"]),
        f"--config={plan.config('kubelet.yaml')}",
        f"--kubeconfig={plan.config('kubelet.kubeconfig')}",
        f"--root-dir={plan.layout.root / 'kubelet'}",
        f"--hostname-override={plan.layout.node}",
        f"--node-ip={block.node_ip}",
    ]
    proxy = [
        str(plan.tools["kube-proxy"]),
        f"--config={plan.config('proxy.yaml')}",
        f"--hostname-override={plan.layout.node}",
    ]
    dns = [str(plan.tools["coredns"]), "-conf", plan.config("Corefile")]
    return [Component("kubelet", kubelet), Component("kube-proxy", proxy), Component("coredns", dns)]


def containerd(plan: Plan) -> Component:
    """containerd with its shim first on PATH."""
    path = os.pathsep.join(_search_path([plan.tools["containerd-shim-runc-v2"].parent]))
    return Component(
        "containerd",
        [str(plan.tools["containerd"]), "--config", plan.config("containerd.toml")],
        {"PATH": path},
    )


def _search_path(first: Iterable[Path]) -> list[str]:
    system = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return [*(str(path) for path in first), *system]


def _toml(value: Path) -> str:
    return json.dumps(str(value))  # a JSON string is a TOML basic string
