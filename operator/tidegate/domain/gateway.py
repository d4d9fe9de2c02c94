"""What a Gateway was told and what it says of it, in the terms in which routers report.

The Gateway API tells no more than this: that a controller has accepted a route of a certain generation, and has found
everything the route refers to. That is taken for the weights being in effect.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tidegate.api.status import Reason
from tidegate.api.v1alpha1 import Gateway
from tidegate.domain import names
from tidegate.domain.diagnose import Cause
from tidegate.domain.observed import ROUTE_KINDS, Observed, Raw, route_in
from tidegate.domain.routing import Backend, Route, RouterReport, grpc_cluster, http_cluster, route_version

FOUND_AFTER = timedelta(seconds=5)
"""How long a pod must have been ready before a Gateway is taken to know it: nothing in the API tells."""
MAX_BACKENDS = 16
"""Most backends that one rule of a route may have."""
NEEDED = ("Accepted", "ResolvedRefs")
PARTIAL = "PartiallyInvalid"
"""True for a route of which some rules are not served although it is accepted; absent otherwise."""
WRONG = {*((name, "False") for name in NEEDED), (PARTIAL, "True")}


def attachment(gateway: Gateway, kind: str) -> dict[str, Any]:
    """The part of a route's spec that says where it belongs: its parent, and its hostname where there is one."""
    http = kind == "HTTPRoute"
    section = gateway.section_name if http else gateway.grpc_section_name
    hostname = gateway.hostname if http else gateway.grpc_hostname
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.name}
    parent |= {"namespace": gateway.namespace} if gateway.namespace else {}
    parent |= {"sectionName": section} if section else {}
    return {"parentRefs": [parent]} | ({"hostnames": [hostname]} if hostname else {})


def referred(route: Route) -> tuple[Backend, ...]:
    """The backends that a route of the Gateway API names: as many as there may be, those with requests first."""
    ranked = sorted(route.backends, key=lambda b: (-b.weight, not b.role, b.revision))
    return tuple(sorted(ranked[:MAX_BACKENDS], key=lambda b: b.revision))


def written(observed: Observed) -> Route | None:
    """The route as last written; None while there is none, or none that can be read."""
    found = (route_in(item) for kind in ROUTE_KINDS for item in observed.kind(kind))
    return next((route for route in found if route is not None), None)


def report(observed: Observed) -> RouterReport:
    """The Gateway as if it were a router: it serves a route once it has accepted both objects, and nothing before.

    It is taken to reach the pods of a revision that the accepted routes name once they have been ready for a while.
    """
    route = written(observed)
    if route is None or not all(_serves(observed, kind, route) for kind in ROUTE_KINDS):
        return RouterReport(pod="gateway")
    endpoints: dict[str, frozenset[str]] = {}
    for backend in referred(route):
        known = frozenset(
            pod.address for pod in observed.pods(backend.revision) if pod.ready_for(FOUND_AFTER, observed.now)
        )
        endpoints |= {http_cluster(backend.revision): known, grpc_cluster(backend.revision): known}
    return RouterReport(pod="gateway", routes={route.model: route_version(route)}, endpoints=endpoints)


def attached(observed: Observed, gateway: Gateway) -> bool:
    """True when both routes, as written, belong where spec says."""
    return all(
        item is not None and _place(item["spec"]) == _place(attachment(gateway, kind))
        for kind, item in ((kind, _item(observed, kind)) for kind in ROUTE_KINDS)
    )


def accepted_once(observed: Observed) -> bool:
    """True when a Gateway has accepted both routes, as they are now or as they were before the last change."""
    items = [_item(observed, kind) for kind in ROUTE_KINDS]
    return all(item is not None and any(_holds(p, "Accepted") for p in _parents(item)) for item in items)


def refusal(observed: Observed) -> Cause | None:
    """What a Gateway has against a route as it is now."""
    for kind in ROUTE_KINDS:
        item = _item(observed, kind)
        if item is None or _answered(item):
            continue
        meta = item["metadata"]
        for parent in _parents(item):
            for name, condition in _conditions(parent).items():
                current = condition.get("observedGeneration") == meta.get("generation")
                said = condition.get("status")
                if current and (name, said) in WRONG:
                    where = f"Gateway {parent['parentRef']['name']} does not serve {kind} {meta['name']}"
                    why = f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
                    return Cause(Reason.ROUTE_REFUSED, f"{where}: {name} is {said}: {why[:2000]}")
    return None


def _item(observed: Observed, kind: str) -> Raw | None:
    name = names.route(observed.subject.name, kind)
    return next((o for o in observed.kind(kind) if o["metadata"]["name"] == name), None)


def _serves(observed: Observed, kind: str, route: Route) -> bool:
    """True when one object says what the route says, and a Gateway has accepted it as it is now."""
    item = _item(observed, kind)
    if item is None or route_in(item) != route:
        return False
    # Somebody may have edited the weights beside the annotation.
    wanted = {names.backend(b.revision): b.weight for b in referred(route)}
    rules = item["spec"].get("rules") or [{}]
    found = {ref["name"]: ref.get("weight", 1) for ref in rules[-1].get("backendRefs", ())}
    return found == wanted and _answered(item)


def _answered(item: Raw) -> bool:
    """True when a controller has accepted the route in its current generation, with every rule and reference."""
    generation = item["metadata"].get("generation")
    return any(
        all(_holds(parent, name, generation) for name in NEEDED) and not _holds(parent, PARTIAL, generation)
        for parent in _parents(item)
    )


def _parents(item: Raw) -> list[Raw]:
    """What is said of the route at the parents that it names now: one, unless somebody edited it."""
    wanted = _named(item["spec"])
    return [p for p in item.get("status", {}).get("parents", ()) if _parent(p["parentRef"]) in wanted]


def _conditions(parent: Raw) -> Mapping[str, Raw]:
    return {c["type"]: c for c in parent.get("conditions", ())}


def _holds(parent: Raw, name: str, generation: int | None = None) -> bool:
    condition = _conditions(parent).get(name, {})
    current = generation is None or condition.get("observedGeneration") == generation
    return condition.get("status") == "True" and current


def _parent(reference: Raw) -> tuple[str | None, ...]:
    return tuple(reference.get(key) for key in ("name", "namespace", "sectionName"))


def _named(spec: Raw) -> list[tuple[str | None, ...]]:
    return [_parent(reference) for reference in spec.get("parentRefs") or ()]


def _place(spec: Raw) -> tuple[object, ...]:
    return _named(spec), list(spec.get("hostnames") or ())
