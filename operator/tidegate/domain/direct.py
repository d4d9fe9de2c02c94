"""The model's Service without any router: which pods it selects, and when that is in effect.

Every connection goes to one of the selected pods, each as likely as the other, so that shares come from numbers of
pods. There are three states, each one write of the selector: one revision, the other, and both. What both have in
common every pod of the model has, so that they are selected together only while no pod of a third revision is there.

Nothing in the API tells what the proxies of the nodes do. What the Service's EndpointSlices show for a while is taken
for it.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from tidegate.domain.labels import COMPONENT, MODEL, REVISION
from tidegate.domain.observed import Observed, PodView, Raw, belongs, parse_time, route_in
from tidegate.domain.routing import Route, RouterReport, grpc_cluster, http_cluster, route_version

SETTLED_AFTER = timedelta(seconds=5)
"""How long EndpointSlices must have been as they are before every node is taken to go by them."""
SLICE = "EndpointSlice"
NOBODY = "none"
"""Value of the component label in a selector that no pod matches."""


def selected(route: Route) -> tuple[str, ...]:
    """The revisions whose pods get connections."""
    return tuple(b.revision for b in route.backends if b.weight)


def selector(route: Route) -> dict[str, str]:
    """Labels of the pods that a route leads to."""
    chosen = selected(route)
    if not chosen:
        return {MODEL: route.model, COMPONENT: NOBODY}
    one = {REVISION: chosen[0]} if len(chosen) == 1 else {}
    return {MODEL: route.model, COMPONENT: "server"} | one


def written(observed: Observed) -> Route | None:
    """The route that the Service was last written from; None while there is none, or none that can be read."""
    service = observed.service
    return route_in(service) if service and belongs(service, observed.subject) else None


def report(observed: Observed) -> RouterReport:
    """The Service as if it were a router: it serves a route once its EndpointSlices show exactly its ready pods.

    Pods that are not selected need not be known to anybody: they are as soon as they are selected.
    """
    route = written(observed)
    if route is None or observed.service is None or observed.service["spec"].get("selector") != selector(route):
        return RouterReport(pod="service")
    chosen, shown = selected(route), _shown(observed)
    pods = [pod for revision in _revisions(observed, route) for pod in observed.pods(revision) if pod.ready]
    known = [
        pod
        for pod in pods
        if pod.revision not in chosen
        or (bool(shown) and pod.ready_for(SETTLED_AFTER, observed.now) and all(pod.name in names for names in shown))
    ]
    endpoints: dict[str, frozenset[str]] = {}
    for revision in _revisions(observed, route):
        addresses = frozenset(pod.address for pod in known if pod.revision == revision)
        endpoints |= {http_cluster(revision): addresses, grpc_cluster(revision): addresses}
    wanted = {pod.name for pod in pods if pod.revision in chosen}
    exact = bool(shown) and all(names == wanted for names in shown)
    routes = {route.model: route_version(route)} if exact and _settled(observed) else {}
    return RouterReport(pod="service", routes=routes, endpoints=endpoints)


def shows_pods(observed: Observed) -> bool:
    """True when the Service leads to any ready pod."""
    return any(_shown(observed))


def strangers(observed: Observed, *revisions: str) -> int:
    """Pods that a selector of the whole model would match beside those of ``revisions``, on their way out or not."""
    pods = (pod for pod in map(PodView, observed.kind("Pod")) if pod.serves and not pod.ended)
    return sum(pod.revision not in revisions for pod in pods)


def percent(part: int, other: int) -> int:
    """Share of the connections that ``part`` pods get beside ``other`` ones, in percent. E.g. 1 beside 4: 20."""
    return round(100 * part / (part + other)) if part + other else 0


def _revisions(observed: Observed, route: Route) -> list[str]:
    pods = {pod.revision for pod in map(PodView, observed.kind("Pod")) if pod.revision}
    return sorted(pods | {b.revision for b in route.backends})


def _shown(observed: Observed) -> list[set[str]]:
    """Names of the ready pods in the EndpointSlices, for each family of addresses."""
    shown: dict[str, set[str]] = defaultdict(set)
    for item in observed.kind(SLICE):
        names = shown[item["addressType"]]
        # A cluster may leave conditions out, which means ready.
        ready = (e for e in item.get("endpoints") or () if (e.get("conditions") or {}).get("ready") is not False)
        names |= {str((e.get("targetRef") or {}).get("name", "")) for e in ready}
    return list(shown.values())


def _settled(observed: Observed) -> bool:
    """True when neither the Service nor what it leads to was written lately."""
    now = observed.now
    items = [*observed.kind(SLICE), *([observed.service] if observed.service else [])]
    return now is not None and all(now - at >= SETTLED_AFTER for item in items for at in _times(item))


def _times(item: Raw) -> Iterator[datetime]:
    """When an object was written, as far as it tells: by each of those who own fields of it, and when it was made."""
    meta = item["metadata"]
    texts = [entry.get("time") for entry in meta.get("managedFields") or ()]
    yield from (at for at in map(parse_time, [*texts, meta.get("creationTimestamp")]) if at)
