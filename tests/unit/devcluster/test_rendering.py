"""What the components are told: own addresses, own folders, and nothing that reaches outside the cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster.driver import SimulatedNodes
from devcluster.host import controlplane, nodeconfig
from devcluster.host.layout import Layout, Record
from devcluster.host.plan import Plan
from devcluster.kwok import node_objects

TOOLS = {
    name: Path("/bin", name)
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
}
LAYOUT = Layout("demo", Path("/state/demo"))
FULL = Plan(LAYOUT, Record(control_plane_only=False, block=130, ports=(6443, 2379, 2380)), TOOLS)
BARE = Plan(LAYOUT, Record(control_plane_only=True, block=None, ports=(4001, 4002, 4003)), TOOLS)


def test_a_control_plane_only_listens_on_loopback_at_its_own_ports() -> None:
    arguments = controlplane.api_server(BARE).argv
    assert "--bind-address=127.0.0.1" in arguments
    assert "--secure-port=4001" in arguments
    assert "--etcd-servers=https://127.0.0.1:4002" in arguments


def test_the_api_server_of_a_full_cluster_is_known_by_node_and_service_address() -> None:
    assert FULL.api_url == "https://10.130.0.2:6443"
    assert {"10.130.0.2", "10.130.16.1", "kubernetes.default.svc"} <= set(FULL.api_names)


def test_etcd_asks_its_clients_for_certificates() -> None:
    assert "--client-cert-auth=true" in controlplane.etcd(BARE).argv


def test_the_kubelet_stays_in_its_control_group_and_never_collects_loaded_images() -> None:
    assert FULL.block
    config = nodeconfig.kubelet_config(FULL, FULL.block, restrict_oom_score=True)
    assert config["cgroupRoot"] == f"/{LAYOUT.cgroup}"
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["clusterDNS"] == ["10.130.16.10"]


def test_cluster_names_are_not_cached_by_dns() -> None:
    assert FULL.block
    assert "cache" not in nodeconfig.corefile(FULL, FULL.block)


@pytest.mark.parametrize(("mask", "allowed"), [("000001ffffffffff", True), ("000001fffeffffff", False)])
def test_the_oom_score_is_restricted_where_the_capability_is_missing(mask: str, allowed: bool) -> None:
    assert nodeconfig.may_lower_oom_score(f"Name:\tx\nCapEff:\t{mask}\n") is allowed


def test_simulated_nodes_carry_gpus_and_keep_ordinary_pods_away() -> None:
    manifests = node_objects(SimulatedNodes(2, prefix="gpu"))
    assert manifests.count("kind: Node") == 2
    assert "nvidia.com/gpu: '8'" in manifests
    assert "effect: NoSchedule" in manifests
