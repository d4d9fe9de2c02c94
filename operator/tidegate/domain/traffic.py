"""What the routers do now and what they should do: weights, verification, and which revisions may go."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.domain.labels import CONFIG, ROLE
from tidegate.domain.observed import Observed, PodView
from tidegate.domain.outside import outside
from tidegate.domain.plan import Poke
from tidegate.domain.rollout.steps import FULL
from tidegate.domain.routing import (
    Backend,
    Route,
    RouterReport,
    Table,
    knows,
    names_like,
    serves,
    split_version,
    table_version,
    up_to_date,
)

POKE_AGAIN = timedelta(seconds=5)


@dataclass(frozen=True)
class Fleet:
    """What is seen of one revision's pods.

    ``known`` is True when every ready router can reach every ready pod, by HTTP and by gRPC.
    """

    revision: str
    wanted: int
    ready: int
    known: bool
    pods: tuple[PodView, ...] = ()


def fleet(observed: Observed, revision: str) -> Fleet:
    """The pods of one revision, as seen."""
    pods = observed.pods(revision)
    ready = [pod for pod in pods if pod.ready]
    deployment = observed.deployment(revision)
    addresses = frozenset(pod.address for pod in ready)
    reports = live_reports(observed)
    known = bool(reports) and all(r is not None and knows(r, revision, addresses) for r in reports)
    wanted = deployment["spec"].get("replicas", 0) if deployment else 0
    return Fleet(revision=revision, wanted=wanted, ready=len(ready), known=known, pods=pods)


def live_reports(observed: Observed) -> list[RouterReport | None]:
    """One report a ready router; None for a router that gave none. A Gateway is one router, as is a Service."""
    if other := outside(observed):
        return [other.report(observed)]
    by_pod = {report.pod: report for report in observed.reports}
    return [by_pod.get(pod.name) for pod in observed.routers() if pod.ready]


@dataclass(frozen=True)
class Served:
    """The route that was last written, and whether every ready router serves its split, and knows its names too."""

    route: Route | None
    verified: bool
    named: bool = False

    def weight(self, revision: str) -> int | None:
        """Share of a revision at every router, in percent; None while that is not known."""
        return self.route.weight(revision) if self.route and self.verified else None

    def settled(self, wanted: Route) -> bool:
        """True when every ready router splits requests as ``wanted``."""
        return self.verified and self.route is not None and split_version(self.route) == split_version(wanted)

    def let_go(self, revision: str) -> bool:
        """True when no router leads any request to a revision, but for one that names it."""
        return self.weight(revision) == 0 and self.named and self.route is not None and not self.route.role(revision)


def told(observed: Observed) -> Route | None:
    """The model's route as last written."""
    if other := outside(observed):
        return other.written(observed)
    return observed.table().routes.get(observed.subject.name)


def served(observed: Observed) -> Served:
    """What the routers were told and whether they do it."""
    route = told(observed)
    reports = live_reports(observed)
    if route is None or not reports:
        return Served(route=route, verified=False)
    verified = all(r is not None and serves(r, route) for r in reports)
    named = all(r is not None and names_like(r, route) for r in reports)
    return Served(route=route, verified=verified, named=named)


def carrier(observed: Observed, candidates: Container[str]) -> str | None:
    """The revision among ``candidates`` that the requests belong to, by what is seen alone; None before any had some.

    The role of its Deployment tells it from a canary, which may have the greater share late in a rollout.
    """
    route = told(observed)
    if route is None or not any(b.weight for b in route.backends):
        return None
    roles = {o["metadata"]["name"]: o["metadata"].get("labels", {}).get(ROLE) for o in observed.kind("Deployment")}
    ranked = [(roles.get(b.revision) == "stable", b.weight, b.revision) for b in route.backends]
    ranked = [rank for rank in ranked if rank[2] in candidates and (rank[0] or rank[1])]
    return max(ranked)[2] if ranked else None


def backends(stable: Fleet | None, canary: Fleet | None, weight: int, others: Sequence[str]) -> tuple[Backend, ...]:
    """The split between the revisions.

    ``weight`` is the canary's share. Stable keeps its share even while its pods are away: the routers follow its pods
    by themselves, also while no operator runs. When stable has no ready pod and the canary, which has a share already,
    has one, the canary gets everything: a refused request helps nobody. A canary without a stable gets all or nothing.
    ``others`` stay known with weight 0: they are warm, or on their way out with requests that must end.
    """
    split: dict[str, int] = dict.fromkeys(others, 0)
    if canary:
        split[canary.revision] = weight if stable or weight == 0 else FULL
    if stable:
        split[stable.revision] = FULL - weight if canary else FULL
        if canary and weight and stable.ready == 0 and canary.ready > 0 and canary.known:
            split |= {stable.revision: 0, canary.revision: FULL}
    return tuple(Backend(revision=name, weight=share) for name, share in sorted(split.items()))


def leftovers(observed: Observed, keep: set[str]) -> tuple[list[str], list[str]]:
    """Revisions that should go: those whose pods must still run, and those the routers must still know.

    The pods run until every router is seen to send them nothing, by weight or by role; the routers know a revision
    until its last pod has gone, so that no request under way is cut.
    """
    now_served = served(observed)
    running = {o["metadata"]["name"] for o in observed.kind("Deployment")} - keep
    still = {pod.revision for pod in map(PodView, observed.kind("Pod")) if not pod.ended} - keep - {""}
    routed = {b.revision for b in now_served.route.backends} - keep if now_served.route else set()
    needed = {name for name in running & routed if not now_served.let_go(name)}
    known = {name for name in routed if name in running | still or now_served.weight(name) != 0}
    return sorted(needed), sorted(known)


def table_with(observed: Observed, route: Route | None) -> Table:
    """The table to write: this model's route, and those of the other models of its router that exist."""
    return observed.table().with_route(route, [owner.name for owner in observed.owners])


def all_up_to_date(observed: Observed, table: Table) -> bool:
    """True when every ready router has the whole table."""
    reports = live_reports(observed)
    return bool(reports) and all(r is not None and up_to_date(r, table) for r in reports)


def pokes(observed: Observed, table: Table, now: datetime) -> tuple[Poke, ...]:
    """Router pods to be told of a table they were not told of yet, or were told of in vain a while ago."""
    version = table_version(table)
    late = {r.pod for r in observed.reports if not up_to_date(r, table)}
    due = []
    for pod in observed.routers():
        mark, _, at = pod.annotations.get(CONFIG, "").partition("@")
        waited = now.timestamp() - (int(at) if at.isdecimal() else 0)
        if mark != version or (pod.name in late and waited >= POKE_AGAIN.total_seconds()):
            due.append(Poke(pod=pod.name, mark=f"{version}@{now.timestamp():.0f}"))
    return tuple(due)
