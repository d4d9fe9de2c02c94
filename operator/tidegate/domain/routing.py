"""Routes and their versions: which share of a model's requests goes to which revision.

A version is the hash of what a router must serve. The routers report the version they really serve, and that report,
not the write, is what the next decision rests on.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from pydantic import Field

from tidegate.api.types import ApiModel
from tidegate.domain.checks.windows import Traffic
from tidegate.domain.scaling.load import Load

RENDERING = 7
"""Number of the rendering of routes into Envoy resources; raised whenever the rendering changes."""
FIRST_PORT = 20000
MODELS_PER_ROUTER = 37
"""As many as fit into the 1 MiB of a ConfigMap with the longest names, all of them sampled, and in a rollout with one
more revision on its way out: 27.1 kB each.
"""


class Backend(ApiModel):
    """One revision behind a route; weight in percent.

    A request that names the revision, or its ``role`` where it has one, goes to it whatever the weights are.
    """

    revision: str
    weight: int
    digest: str = ""
    role: Literal["stable", "canary", ""] = ""


class Route(ApiModel):
    """How one model's requests are split.

    With an ``affinity`` a client stays on its revision: by its address, or by the value of ``affinity_header``.
    ``sample_percent`` of the inferences are handed to the observer as well. ``can_hold`` gives the router what it needs
    to hold requests; while ``hold`` is True they wait for a pod, as long as the time-out lets them.
    """

    model: str
    port: int
    timeout_seconds: int
    affinity: Literal["None", "ClientAddress", "Header"] = "None"
    affinity_header: str = ""
    backends: tuple[Backend, ...] = ()
    sample_percent: int = 0
    can_hold: bool = False
    hold: bool = False

    def shares(self) -> tuple[Backend, ...]:
        """The backends with a weight, in the order in which clients are dealt out to them.

        With an affinity a client has a fixed place between 0 and the sum of the weights. The canary's share begins at
        0, so that whoever is within it stays within it when it grows.
        """
        split = tuple(b for b in self.backends if b.weight > 0)
        return split if self.affinity == "None" else tuple(sorted(split, key=lambda b: b.role != "canary"))

    def weight(self, revision: str) -> int:
        """Weight of a revision, 0 when it is not behind the route."""
        return sum(b.weight for b in self.backends if b.revision == revision)

    def role(self, revision: str) -> str:
        """Role that leads requests to a revision, empty when none does."""
        return next((b.role for b in self.backends if b.revision == revision), "")


class Table(ApiModel):
    """Every route of one router, by model."""

    routes: dict[str, Route] = Field(default_factory=dict)

    def with_route(self, route: Route | None, present: Iterable[str]) -> "Table":
        """The table with ``route`` put in and the routes of models that no longer exist taken out."""
        routes = {name: r for name, r in self.routes.items() if name in set(present)}
        if route is not None:
            routes[route.model] = route
        return Table(routes=dict(sorted(routes.items())))

    def free_port(self, model: str, preferred: int | None) -> int:
        """The model's own port if nobody else has it, the lowest free one otherwise."""
        taken = {r.port for name, r in self.routes.items() if name != model}
        own = self.routes[model].port if model in self.routes else preferred
        if own is not None and own not in taken:
            return own
        return next(port for port in range(FIRST_PORT, 65536) if port not in taken)


def shard_of(model: str, tables: Mapping[int, Table], present: Collection[str], former: int | None) -> int:
    """The router of the namespace that a model's route belongs to.

    A model stays where its route is. Without one it goes back to the ``former`` router, which its Service still leads
    to, or else to the first one with room, where models that are not ``present`` take none.
    """

    def has_room(shard: int) -> bool:
        routes = tables[shard].routes if shard in tables else {}
        return sum(name in present for name in routes) < MODELS_PER_ROUTER

    own = [shard for shard, table in sorted(tables.items()) if model in table.routes]
    if own:
        return own[0]
    if former is not None and has_room(former):
        return former
    return next(shard for shard in count() if has_room(shard))


def _version(content: object) -> str:
    text = json.dumps([RENDERING, content], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def split_version(route: Route) -> str:
    """Version of how a model's requests are split by weight: what decisions rest on."""
    split = tuple(b.model_copy(update={"role": ""}) for b in route.shares())
    beside = {"sample_percent": 0, "can_hold": False}
    return _version(["split", route.model_copy(update={"backends": split, **beside}).to_wire()])


def route_version(route: Route) -> str:
    """Version of one model's route (Envoy RDS): of its split, and of the names it goes by and its sample.

    A revision that comes without a weight, a role that changes hands, or another share for the observer changes the
    second part only. Nothing that waits for a split waits for it.
    """
    beside = ["names", [[b.revision, b.digest, b.role] for b in route.backends]]
    sample = [route.sample_percent] if route.sample_percent else []
    return f"{split_version(route)}-{_version([*beside, *sample])}"


def sampled(table: Table) -> bool:
    """Whether exchanges of any model are handed to the observer."""
    return any(route.sample_percent for route in table.routes.values())


def listeners_version(table: Table) -> str:
    """Version of all listeners of a router (Envoy LDS)."""
    holds = any(r.can_hold for r in table.routes.values())
    return _version(["lds", [[r.model, r.port] for r in table.routes.values()], holds])


def clusters_version(table: Table) -> str:
    """Version of all clusters of a router (Envoy CDS)."""
    revisions = sorted(b.revision for r in table.routes.values() for b in r.backends)
    holding = sorted(r.model for r in table.routes.values() if r.can_hold)
    return _version(["cds", revisions, holding, *(["observer"] if sampled(table) else [])])


def table_version(table: Table) -> str:
    """Version of everything a router gets; what its pods are annotated with."""
    routes = [route_version(r) for r in table.routes.values()]
    return _version([*routes, listeners_version(table), clusters_version(table)])


@dataclass(frozen=True)
class RouterReport:
    """What one router says it serves.

    ``endpoints`` holds, by cluster name, the addresses the router would send requests to. ``traffic`` holds what the
    router has counted since it started, HTTP and gRPC together, by revision; one that was not asked for, or could not
    be read, is absent, and the rest of the report is as good without it. ``loads`` holds what scaling needs to know.
    """

    pod: str
    reachable: bool = True
    listeners: str = ""
    clusters: str = ""
    routes: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, frozenset[str]] = field(default_factory=dict)
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    loads: Mapping[str, Load] = field(default_factory=dict)


def http_cluster(revision: str) -> str:
    """Envoy's cluster of a revision's HTTP ports."""
    return f"{revision}-http"


def grpc_cluster(revision: str) -> str:
    """Envoy's cluster of a revision's gRPC ports."""
    return f"{revision}-grpc"


def holding(cluster: str) -> str:
    """The cluster that leads to a revision's pods, or while there are none to where requests are held."""
    return f"{cluster}-or-hold"


def waiting_room(model: str, protocol: str) -> str:
    """The cluster in which a model's requests are held; ``protocol`` is http or grpc."""
    return f"{model}-hold-{protocol}"


def serves(report: RouterReport, route: Route) -> bool:
    """True when a router splits this model's requests exactly so.

    A router asks for a route only once it has the listener, so the listener is there too. The versions of all listeners
    and clusters are not asked: they change with every neighbour, and a neighbour's rollout is not this model's news.
    """
    return report.reachable and report.routes.get(route.model, "").partition("-")[0] == split_version(route)


def names_like(report: RouterReport, route: Route) -> bool:
    """True when a router also leads requests that name a revision or a role exactly so."""
    return report.reachable and report.routes.get(route.model) == route_version(route)


def up_to_date(report: RouterReport, table: Table) -> bool:
    """True when a router has the whole table, listeners and clusters too."""
    return (
        report.listeners == listeners_version(table)
        and report.clusters == clusters_version(table)
        and all(names_like(report, route) for route in table.routes.values())
    )


def knows(report: RouterReport, revision: str, addresses: frozenset[str]) -> bool:
    """True when a router can reach these pods of a revision by HTTP and by gRPC.

    The two clusters refresh apart: looking at one of them let gRPC requests fail for up to half a second.
    """
    return report.reachable and all(
        addresses <= report.endpoints.get(cluster, frozenset())
        for cluster in (http_cluster(revision), grpc_cluster(revision))
    )
