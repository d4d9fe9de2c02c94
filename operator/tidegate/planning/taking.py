"""A snapshot of a cluster, taken by reading only, with the change that somebody would like to make."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from tidegate.api.status import ModelDeploymentStatus
from tidegate.domain.observed import Observed, Subject
from tidegate.domain.rollout.gate import watched
from tidegate.domain.rollout.people import requests
from tidegate.domain.routing import (
    RouterReport,
    clusters_version,
    grpc_cluster,
    http_cluster,
    listeners_version,
    route_version,
)
from tidegate.domain.snapshot import Snapshot
from tidegate.planning.documents import Document, checked, with_scale
from tidegate.ports import Cluster, Telemetry

NO_UID = "not-created-yet"
UNREACHED = "The routers could not be asked from here; what the operator last said of them was taken for true."
SCALED = "spec.replicas is not in the file and was set by the scale subresource, so it stays."


class Refused(Exception):
    """The API server would not take the file; one sentence for each reason."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def take(cluster: Cluster, telemetry: Telemetry, document: Document, now: datetime) -> tuple[Snapshot, tuple[str, ...]]:
    """The snapshot, and notes on what it rests on. Raises Refused, and an ApiError when the cluster cannot be read."""
    found = cluster.find(document.namespace, document.name)
    live: Mapping[str, Any] = found.raw if found else {}
    wanted = replace(document, spec=with_scale(document.spec, live))
    notes = [SCALED] if wanted.spec != document.spec else []
    spec, broken = checked(wanted)
    if spec is None:
        raise Refused(broken)
    subject = found.subject if found else Subject(document.name, document.namespace, uid=NO_UID, generation=1)
    status = found.status if found else ModelDeploymentStatus()
    observed = cluster.observe(subject)
    reports = telemetry.reports(observed.routers(), observed.table(), watched(status) or ())
    asked = requests(live.get("metadata", {}).get("annotations", {}))
    # Of a cluster that may not be read nothing is known, and a plan says so.
    capacity = cluster.capacity(document.namespace)
    observed = replace(observed, reports=reports, requests=asked, capacity=capacity)
    if _unreached(observed) and _routed(status):
        observed = replace(observed, reports=tuple(_as_told(observed)))
        notes.append(UNREACHED)
    snapshot = Snapshot(spec=found.spec if found else None, status=status, observed=observed, now=now, proposed=spec)
    return snapshot, tuple(notes)


def _unreached(observed: Observed) -> bool:
    reached = {report.pod for report in observed.reports if report.reachable}
    return any(pod.ready and pod.name not in reached for pod in observed.routers())


def _routed(status: ModelDeploymentStatus) -> bool:
    return any(c.type == "Routed" and c.status == "True" for c in status.conditions)


def _as_told(observed: Observed) -> list[RouterReport]:
    """The routers as they are when each has the whole table and knows every ready pod."""
    table = observed.table()
    names = {b.revision for route in table.routes.values() for b in route.backends}
    known = {name: frozenset(pod.address for pod in observed.pods(name) if pod.ready) for name in names}
    endpoints = {cluster(name): known[name] for name in sorted(names) for cluster in (http_cluster, grpc_cluster)}
    routes = {name: route_version(route) for name, route in table.routes.items()}
    return [
        RouterReport(
            pod=pod.name,
            listeners=listeners_version(table),
            clusters=clusters_version(table),
            routes=routes,
            endpoints=endpoints,
        )
        for pod in observed.routers()
        if pod.ready
    ]
