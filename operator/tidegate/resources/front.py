"""What clients and cluster policies see of one model."""

from collections.abc import Mapping

from tidegate.domain.labels import COMPONENT, MODEL, PARITY, ROUTE, SHARD
from tidegate.domain.observed import Subject
from tidegate.domain.routing import Route
from tidegate.resources.meta import Manifest, metadata, router_selector
from tidegate.resources.triton import GRPC, HTTP, METRICS, serving_ports


def service(subject: Subject, listener_port: int, shard: int) -> Manifest:
    """The address of the model. Both protocols lead to the model's own listener, so no Host header decides.

    It remembers which router has the model's route.
    """
    meta = metadata(subject, subject.name, "front")
    meta["labels"][SHARD] = str(shard)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            "type": "ClusterIP",
            "selector": router_selector(shard),
            "ports": serving_ports(listener_port, listener_port),
        },
    }


def direct_service(subject: Subject, route: Route, selector: Mapping[str, str]) -> Manifest:
    """The address of the model where no router stands between: it leads to the pods themselves.

    It remembers the route that it was written from: a selector of both revisions tells no weight.
    """
    meta = metadata(subject, subject.name, "front")
    meta["annotations"] = {ROUTE: route.model_dump_json(by_alias=True)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            "type": "ClusterIP",
            "selector": dict(selector),
            "sessionAffinity": "ClientIP" if route.affinity == "ClientAddress" else "None",
            "ports": serving_ports(),
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


def network_policy(subject: Subject, shard: int) -> Manifest:
    """Requests reach Triton through the model's router only: Triton's own management calls stay out of reach.

    The golden cases are replayed before the router sends anything, so their Job asks the pods themselves. The observer
    does so as well, with requests that came through the router.
    """
    router = {"podSelector": {"matchLabels": router_selector(shard)}}
    return _network_policy(subject, [router, {"podSelector": {"matchLabels": {COMPONENT: "observer"}}}])


def open_network_policy(subject: Subject) -> Manifest:
    """Requests may come from every pod of the cluster: of a Gateway, nobody tells where its own pods run, and through
    a Service they are the clients' own.
    """
    return _network_policy(subject, [{"namespaceSelector": {}}])


def _network_policy(subject: Subject, clients: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(subject, subject.name, "server"),
        "spec": {
            "podSelector": {"matchLabels": {MODEL: subject.name, COMPONENT: "server"}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": clients,
                    "ports": [{"port": HTTP, "protocol": "TCP"}, {"port": GRPC, "protocol": "TCP"}],
                },
                {
                    "from": [{"podSelector": {"matchLabels": {MODEL: subject.name, COMPONENT: PARITY}}}],
                    "ports": [{"port": HTTP, "protocol": "TCP"}],
                },
                {"from": [{"namespaceSelector": {}}], "ports": [{"port": METRICS, "protocol": "TCP"}]},
            ],
        },
    }
