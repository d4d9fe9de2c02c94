"""What must hold at every look, whatever happened before: checked by every scenario and every random history."""

import re

from domain_cluster import Cluster

from tidegate.api.status import ModelDeploymentStatus, Reason
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain import names
from tidegate.domain.observed import Observed
from tidegate.domain.plan import Plan
from tidegate.domain.routing import Route, Table, knows

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
REASONS = frozenset(r.value for r in Reason)


def check_decision(
    spec: ModelDeploymentSpec,
    before: ModelDeploymentStatus,
    observed: Observed,
    plan: Plan,
    status: ModelDeploymentStatus,
) -> None:
    """Promises that can be seen in one decision."""
    _check_weights(spec, before, observed, plan, status)
    _check_gate(before, observed, status)
    _check_pods(observed, plan, status)
    _check_conditions(before, status)
    for event in plan.events:
        assert event.message, f"event {event.reason} says nothing"
    assert len({e.reason for e in plan.events}) == len(plan.events), f"one transition told twice: {plan.events}"
    if status != before and not status.conditions:
        raise AssertionError("a status without conditions")


def _check_gate(before: ModelDeploymentStatus, observed: Observed, status: ModelDeploymentStatus) -> None:
    """A judged step never ends on a look without counts, and what was given up never gets requests."""
    old, new = before.rollout, status.rollout
    if new and new.aborted:
        assert new.weight == 0, new
        assert status.canary is None, "a revision that was given up is still taking over"
        assert old is None or not old.aborted or old.aborted == new.aborted or old.revision != new.revision
    asked = before.handled or {}
    people = any(asked.get(verb) != text for verb, text in observed.requests.items())
    alone = status.stable is None or not any(p.ready for p in observed.pods(status.stable.revision))
    same = old is not None and new is not None and old.revision == new.revision and not people and not alone
    # Whoever takes steps away asks for what is left of them.
    same = same and old is not None and new is not None and old.steps == new.steps
    if same and old and new and new.weight > old.weight > 0 and old.started_at == new.started_at:
        assert observed.window is not None, f"{new.revision} rises to {new.weight} % on no counts"
        assert new.step > old.step or old.step_started_at is None


def _check_weights(
    spec: ModelDeploymentSpec,
    before: ModelDeploymentStatus,
    observed: Observed,
    plan: Plan,
    status: ModelDeploymentStatus,
) -> None:
    if plan.table is None or plan.route is None:
        return
    assert plan.table.routes[observed.subject.name] == plan.route
    assert sum(b.weight for b in plan.route.backends) in (0, 100), plan.route
    old = observed.table().routes.get(observed.subject.name)
    stable = before.stable.revision if before.stable else None
    idle = spec.suspend or spec.replicas == 0
    for backend in plan.route.backends:
        risen = backend.weight > (old.weight(backend.revision) if old else 0)
        # Stable keeps or gets back its share whatever its pods do: the routers follow them by themselves.
        if not risen or idle or backend.revision in (stable, _had_requests(observed, old)):
            continue
        ready = [p for p in observed.pods(backend.revision) if p.ready]
        assert ready, f"{backend.revision} gets {backend.weight} % without a ready pod"
        reports = {r.pod: r for r in observed.reports}
        for router in observed.routers():
            if router.ready:
                known = router.name in reports and knows(
                    reports[router.name], backend.revision, frozenset(p.address for p in ready)
                )
                assert known, f"{router.name} does not know {backend.revision}, which gets {backend.weight} %"
        alive = stable is not None and any(p.ready for p in observed.pods(stable))
        back = status.override is not None
        assert back or not (spec.paused and alive), f"{backend.revision} rises to {backend.weight} % although paused"


def _had_requests(observed: Observed, route: Route | None) -> str | None:
    """The stable revision as the objects tell it, for a status that was lost."""
    roles = {o["metadata"]["name"]: o["metadata"]["labels"]["tidegate.dev/role"] for o in observed.kind("Deployment")}
    shares = [b for b in route.backends if b.weight or roles.get(b.revision) == "stable"] if route else []
    if not any(b.weight for b in shares):
        return None
    return max(shares, key=lambda b: (roles.get(b.revision) == "stable", b.weight)).revision


def _check_pods(observed: Observed, plan: Plan, status: ModelDeploymentStatus) -> None:
    if plan.table is None:
        return
    loads = [w.revision.name for w in plan.workloads]
    assert len(loads) == len(set(loads)), "two sizes for one revision"
    exist = {o["metadata"]["name"] for o in observed.kind("Deployment")}
    current = {r.revision for r in (status.stable, status.canary) if r}
    assert set(loads) - current <= exist, "a revision that is neither stable nor canary got pods"
    assert set(loads) <= {r.name for r in plan.revisions}, "pods of a revision that is not kept"
    for name in loads:
        assert LABEL.fullmatch(name), name
    old = observed.table().routes.get(observed.subject.name)
    gone = {b.revision for b in old.backends} - {b.revision for b in plan.route.backends} if old and plan.route else ()
    running = [o for o in observed.kind("Pod") if o["status"]["phase"] == "Running"]
    alive = {o["metadata"]["labels"].get("tidegate.dev/revision") for o in running}
    assert not set(gone) & alive, "the routers forget a revision that still has pods"


def _check_conditions(before: ModelDeploymentStatus, status: ModelDeploymentStatus) -> None:
    kinds = [c.type for c in status.conditions]
    assert len(kinds) == len(set(kinds))
    old = {c.type: c for c in before.conditions}
    for new in status.conditions:
        assert new.reason in REASONS, new
        if new.type in old:
            moved = new.last_transition_time != old[new.type].last_transition_time
            flipped = new.status != old[new.type].status
            assert flipped or not moved, f"{new.type} moved without a flip"
    seen = {c.type: c.status for c in status.conditions}
    assert not (seen["Ready"] == "True" and "True" in (seen["Reconciling"], seen["Stalled"])), seen


def check_removal(cluster: Cluster, name: str) -> None:
    """No Deployment goes while a router still sends it requests."""
    for router in cluster.routers:
        if router.ready:
            share = _share(router.loaded, cluster.subject.name, name)
            assert share == 0, f"{name} goes while {router.name} gives it {share} %"
    for kind, weights in cluster.gateway.effective.items() if cluster.gateway else ():
        share = weights.get(names.backend(name), 0)
        assert share == 0, f"{name} goes while the {kind} gives it {share} %"
    if cluster.direct:
        led = [pod.name for pod in cluster.pods if pod.revision == name and pod.name in cluster.direct.led]
        assert not led, f"{name} goes while a node still leads to {led}"


def _check_selected(cluster: Cluster) -> None:
    """No pod outside stable and the canary is ever selected, and a ready one of them is, once any was."""
    direct = cluster.direct
    if direct is None:
        return
    matched = {pod.revision for pod in cluster.pods if direct.matches(pod.revision)}
    route = Route.model_validate_json(direct.service["metadata"]["annotations"]["tidegate.dev/route"])
    told = {b.revision for b in route.backends if b.weight}
    assert matched <= told, f"pods of {matched - told} are selected although they should get nothing"
    assert len(told) <= 2, told
    assert told <= {b.revision for b in route.backends if b.role}, f"{told} are neither stable nor canary"


def check_cluster(cluster: Cluster) -> None:
    """Requests always have somewhere to go while a pod that may serve is ready."""
    _check_selected(cluster)
    for router in cluster.routers:
        for backend in (
            router.loaded.routes[cluster.subject.name].backends
            if cluster.subject.name in (router.loaded.routes)
            else ()
        ):
            if backend.weight and router.ready:
                remembered = cluster.revisions.keys() | cluster.taken_away
                assert backend.revision in remembered, f"{backend.revision} serves but is forgotten"


def _share(table: Table, model: str, revision: str) -> int:
    route = table.routes.get(model)
    return route.weight(revision) if route else 0
