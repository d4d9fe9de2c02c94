"""Snapshots of simulated worlds, as they would be taken of a cluster, for tests of plans."""

from dataclasses import replace
from typing import Any

from domain_world import World
from http_stub import Asked, Reply

from tidegate.adapters.kube import GATEWAY_PATHS, PATHS
from tidegate.api.v1alpha1 import KIND, ModelDeploymentSpec
from tidegate.domain.observed import Observed, Raw
from tidegate.domain.snapshot import Snapshot
from tidegate.resources.router import VIEWS_PORT


def seen(world: World) -> Observed:
    """What is seen of a world, with the version that the API server gives every object."""
    observed = world.observe()
    versioned: tuple[dict[str, Any], ...] = tuple(
        {**item, "metadata": {"resourceVersion": "7", **item["metadata"]}} for item in observed.router
    )
    return replace(observed, router=versioned)


def snapshot(world: World, proposed: ModelDeploymentSpec | None = None, *, exists: bool = True) -> Snapshot:
    """A world at this moment, and what somebody would like to apply."""
    return Snapshot(
        spec=world.spec if exists else None,
        status=world.status,
        observed=seen(world),
        now=world.cluster.now,
        proposed=proposed,
    )


class ApiOf:
    """The API server of a world, to read from: every other request is a failure of the test."""

    def __init__(self, world: World, *, exists: bool = True) -> None:
        self.world = world
        self.observed = seen(world)
        self.live = self._model() if exists else None
        self.routers_answer = True

    def _model(self) -> dict[str, Any]:
        subject = self.observed.subject
        meta = {"name": subject.name, "namespace": subject.namespace, "uid": subject.uid}
        meta |= {"generation": subject.generation, "resourceVersion": "41"}
        return {"metadata": meta, "spec": self.world.spec.to_wire(), "status": self.world.status.to_wire()}

    def __call__(self, asked: Asked) -> Reply:
        assert asked.method == "GET", f"{asked.method} {asked.path} is no read"
        _, _, rest = asked.path.partition(f"/namespaces/{self.observed.subject.namespace}/")
        plural, _, name = rest.partition("/")
        if asked.path in ("/api/v1/nodes", "/api/v1/pods") or plural == "resourcequotas":
            return Reply({"message": f"{asked.path} is forbidden: no right to list"}, 403)
        kind = next(kind for kind, (_, found) in (PATHS | GATEWAY_PATHS).items() if found == plural)
        if "/proxy/" in name:
            return self._view(*name.split("/proxy"))
        if not name:
            return Reply({"items": self._items(kind, asked.query.get("labelSelector", ""))})
        if kind == KIND and self.live and name == self.observed.subject.name:
            return Reply(self.live)
        return Reply({"message": f"{plural} {name} not found"}, 404)

    def _items(self, kind: str, selector: str) -> list[dict[str, Any]]:
        if kind == KIND:
            return [self.live] if self.live else []
        objects = self.observed.router if "router" in selector else self.observed.objects
        return [self._owned(item) for item in objects if item["kind"] == kind]

    def _owned(self, item: Raw) -> dict[str, Any]:
        subject = self.observed.subject
        owner = {"kind": KIND, "name": subject.name, "uid": subject.uid, "controller": True}
        meta = {"namespace": subject.namespace, "uid": "x", **item["metadata"], "ownerReferences": [owner]}
        return {**item, "metadata": meta}

    def _view(self, pod: str, path: str) -> Reply:
        report = next(r for r in self.observed.reports if pod == f"{r.pod}:{VIEWS_PORT}")
        if not self.routers_answer:
            return Reply({"message": "pods is forbidden: no right to get pods/proxy"}, 403)
        if path == "/stats":
            versions = {f"http.{name}.rds.{name}": version for name, version in report.routes.items()}
            versions |= {"listener_manager.lds": report.listeners, "cluster_manager.cds": report.clusters}
            return Reply({"stats": [{"name": f"{n}.version_text", "value": v} for n, v in versions.items()]})
        hosts = {
            name: [{"address": {"socket_address": {"address": address}}} for address in sorted(addresses)]
            for name, addresses in report.endpoints.items()
        }
        return Reply({"cluster_statuses": [{"name": n, "host_statuses": h} for n, h in hosts.items()]})
