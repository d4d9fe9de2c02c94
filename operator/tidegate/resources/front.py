"""What clients and cluster policies see of one model."""

from tidegate.domain.labels import COMPONENT, MODEL
from tidegate.domain.observed import Subject
from tidegate.resources.meta import Manifest, metadata
from tidegate.resources.triton import GRPC, HTTP, METRICS

ROUTER_SELECTOR = {COMPONENT: "router"}


def service(subject: Subject, listener_port: int) -> Manifest:
    """The address of the model. Both protocols lead to the model's own listener, so no Host header decides."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(subject, subject.name, "front"),
        "spec": {
            "type": "ClusterIP",
            "selector": dict(ROUTER_SELECTOR),
            "ports": [
                {"name": "http", "port": HTTP, "targetPort": listener_port, "protocol": "TCP"},
                {
                    "name": "grpc",
                    "port": GRPC,
                    "targetPort": listener_port,
                    "protocol": "TCP",
                    "appProtocol": "kubernetes.io/h2c",
                },
            ],
        },
    }


def disruption_budget(subject: Subject) -> Manifest:
    """A drain takes one pod at a time; one pod may always go, so a drain never hangs."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(subject, subject.name, "server"),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {MODEL: subject.name, COMPONENT: "server"}},
        },
    }


def network_policy(subject: Subject) -> Manifest:
    """Requests reach Triton through the router, and as replays from the observer: its management calls from nowhere."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(subject, subject.name, "server"),
        "spec": {
            "podSelector": {"matchLabels": {MODEL: subject.name, COMPONENT: "server"}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [
                        {"podSelector": {"matchLabels": dict(ROUTER_SELECTOR)}},
                        {"podSelector": {"matchLabels": {COMPONENT: "observer"}}},
                    ],
                    "ports": [{"port": HTTP, "protocol": "TCP"}, {"port": GRPC, "protocol": "TCP"}],
                },
                {"from": [{"namespaceSelector": {}}], "ports": [{"port": METRICS, "protocol": "TCP"}]},
            ],
        },
    }
