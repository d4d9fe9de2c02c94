"""Command lines of etcd, the API server, the controller manager and the scheduler."""

from __future__ import annotations

from typing import Any

from devcluster.host.components import Component
from devcluster.host.plan import Plan


def etcd(plan: Plan) -> Component:
    """etcd without fsync: a development cluster does not survive its machine, and tests are faster."""
    keys = {
        f"{side}{name}": plan.pki(file)
        for side in ("", "peer-")
        for name, file in (("cert-file", "etcd.crt"), ("key-file", "etcd.key"), ("trusted-ca-file", "ca.crt"))
    }
    return _component(
        plan,
        "etcd",
        {
            "data-dir": str(plan.layout.root / "etcd"),
            "listen-client-urls": plan.etcd_url,
            "advertise-client-urls": plan.etcd_url,
            "listen-peer-urls": plan.etcd_peer_url,
            "initial-advertise-peer-urls": plan.etcd_peer_url,
            "initial-cluster": f"default={plan.etcd_peer_url}",
            "unsafe-no-fsync": "true",
            "client-cert-auth": "true",
            "peer-client-cert-auth": "true",
            **keys,
        },
    )


def api_server(plan: Plan) -> Component:
    flags = {
        "etcd-servers": plan.etcd_url,
        "etcd-cafile": plan.pki("ca.crt"),
        "etcd-certfile": plan.pki("apiserver.crt"),
        "etcd-keyfile": plan.pki("apiserver.key"),
        "secure-port": str(plan.record.ports[0]),
        "bind-address": "0.0.0.0" if plan.full else "127.0.0.1",
        "advertise-address": plan.api_host,
        "service-cluster-ip-range": plan.services,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "anonymous-auth": "false",
        "client-ca-file": plan.pki("ca.crt"),
        "tls-cert-file": plan.pki("apiserver.crt"),
        "tls-private-key-file": plan.pki("apiserver.key"),
        "kubelet-client-certificate": plan.pki("apiserver.crt"),
        "kubelet-client-key": plan.pki("apiserver.key"),
        "kubelet-certificate-authority": plan.pki("ca.crt"),
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": plan.pki("sa.pub"),
        "service-account-signing-key-file": plan.pki("sa.key"),
        "profiling": "false",
    }
    if not plan.full:
        flags["endpoint-reconciler-type"] = "none"  # a loopback address may not be an endpoint
    return _component(plan, "kube-apiserver", flags)


def controller_manager(plan: Plan) -> Component:
    flags = {
        "kubeconfig": plan.config("controller-manager.kubeconfig"),
        "root-ca-file": plan.pki("ca.crt"),
        "cluster-signing-cert-file": plan.pki("ca.crt"),
        "cluster-signing-key-file": plan.pki("ca.key"),
        "service-account-private-key-file": plan.pki("sa.key"),
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "cluster-name": plan.layout.name,
        "kube-api-qps": "300",
        "kube-api-burst": "600",
        "secure-port": "0",
        "profiling": "false",
    }
    if not plan.full:
        # No kubelet reports here: a node that somebody makes is as they made it.
        flags["controllers"] = "*,-node-lifecycle-controller"
        # For tests, which do not wait the 15 s that an autoscaler takes between two looks.
        flags["horizontal-pod-autoscaler-sync-period"] = "1s"
    return _component(plan, "kube-controller-manager", flags)


def scheduler_config(plan: Plan) -> dict[str, Any]:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": plan.config("scheduler.kubeconfig"), "qps": 500, "burst": 1000},
        "leaderElection": {"leaderElect": False},
        "enableProfiling": False,
    }


def scheduler(plan: Plan) -> Component:
    return _component(plan, "kube-scheduler", {"config": plan.config("scheduler.yaml"), "secure-port": "0"})


def _component(plan: Plan, name: str, flags: dict[str, str]) -> Component:
    return Component(name, [str(plan.tools[name]), *(f"--{flag}={value}" for flag, value in flags.items())])
