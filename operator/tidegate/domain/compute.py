"""The whole brain: from what is wanted and what is seen to what should be.

``compute`` is total and deterministic. What can be observed is taken from the snapshot; from status it takes only
what nobody can observe: the pinned bundle, which revision is stable, and how far the rollout is.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tidegate.api.status import (
    Artifact,
    FormerRevision,
    ModelDeploymentStatus,
    Reason,
    RevisionStatus,
    RolloutStatus,
)
from tidegate.api.v1alpha1 import ModelDeploymentSpec, Server, Traffic
from tidegate.domain import names
from tidegate.domain.artifact import Resolution, resolve
from tidegate.domain.diagnose import Cause, diagnose
from tidegate.domain.observed import Observed
from tidegate.domain.plan import Plan, Workload
from tidegate.domain.report import events, report
from tidegate.domain.revision import Revision, StoredRevision, revision_of
from tidegate.domain.rollout.machine import Canary, advance, begin, finished, hold_left, pods_wanted
from tidegate.domain.routing import Backend, Route, Table
from tidegate.domain.situation import Situation
from tidegate.domain.traffic import (
    Fleet,
    all_up_to_date,
    backends,
    carrier,
    fleet,
    leftovers,
    live_reports,
    pokes,
    served,
    table_with,
)

LOOK_AGAIN = timedelta(milliseconds=400)
"""How soon to look again at routers that were just told something, or at pods they do not know yet."""
LOOK_LATER = timedelta(seconds=2)
"""How soon to look again when routers do not answer, or pods are on their way out."""


@dataclass(frozen=True)
class Choice:
    """Which revisions there should be, after one look at the rollout."""

    target: StoredRevision | None
    stable: StoredRevision | None
    canary: StoredRevision | None
    rollout: RolloutStatus | None
    promoted: bool = False


def compute(
    spec: ModelDeploymentSpec,
    status: ModelDeploymentStatus,
    observed: Observed,
    now: datetime,
) -> tuple[Plan, ModelDeploymentStatus]:
    """Decide what should exist and what to report. Never raises for any spec the API server accepts."""
    if cause := _refusal(observed):
        situation = Situation(resolution=Resolution(), cause=cause)
        after = report(spec, status, observed, situation, now)
        return Plan(events=events(status, after, situation), again=timedelta(seconds=30)), after
    resolution = resolve(spec, status.artifact, observed, now)
    target = _target(spec, resolution.artifact, observed)
    choice = _choose(spec, status, observed, target, now)
    stable, canary = (_fleet(observed, r) for r in (choice.stable, choice.canary))
    keep = {r.name for r in (choice.stable, choice.canary) if r}
    needed, known = leftovers(observed, keep)
    weight = choice.rollout.weight if choice.rollout else 0
    split = _named(backends(stable, canary, weight, known), observed, choice)
    route = _route(spec.traffic, observed.subject.name, observed.table(), status.port, split)
    table = table_with(observed, route)
    situation = Situation(
        resolution=resolution,
        cause=resolution.cause or _cause(observed, stable, canary),
        target=target,
        stable=choice.stable,
        stable_fleet=stable,
        canary=choice.canary,
        canary_fleet=canary,
        rollout=choice.rollout,
        promoted=choice.promoted,
        route=route,
        settled=served(observed).settled(route),
        routers_ready=any(pod.ready for pod in observed.routers()),
    )
    after = report(spec, status, observed, situation, now)
    unread = _unread(observed, choice, needed)
    plan = Plan(
        resolve=resolution.job,
        revisions=_remembered(
            spec,
            observed,
            [r for r in (choice.stable, choice.canary, target) if r and r.name not in unread],
            after.revisions,
        ),
        workloads=tuple(w for w in _workloads(spec, observed, choice, needed) if w.revision.name not in unread),
        unread=unread,
        route=route,
        table=table,
        pokes=pokes(observed, table, now),
        events=events(status, after, situation),
    )
    reports = live_reports(observed)
    answer = bool(reports) and all(r is not None and r.reachable for r in reports)
    later = bool(known) or not all_up_to_date(observed, table)
    return replace(plan, again=_again(spec, situation, later=later, routers_answer=answer, now=now)), after


def _refusal(observed: Observed) -> Cause | None:
    """Why nothing at all can be done."""
    if usurper := observed.usurper():
        return Cause(
            Reason.NAME_CONFLICT,
            f"{usurper['kind']} {observed.subject.name} exists and belongs to something else. Delete it, or give the "
            "ModelDeployment another name.",
        )
    return None


def _target(spec: ModelDeploymentSpec, artifact: Artifact | None, observed: Observed) -> StoredRevision | None:
    """The revision that spec asks for: as it is kept in the cluster, or new."""
    if artifact is None:
        return None
    wanted = revision_of(
        spec, digest=artifact.digest, model_name=artifact.name, version=artifact.version, pins=observed.pins
    )
    name = names.revision(observed.subject.name, wanted.id)
    stored = observed.revisions()
    if name in stored:
        return stored[name]
    newest = max((r.number for r in stored.values()), default=0)
    return StoredRevision(name=name, number=newest + 1, revision=wanted)


def _choose(
    spec: ModelDeploymentSpec,
    status: ModelDeploymentStatus,
    observed: Observed,
    target: StoredRevision | None,
    now: datetime,
) -> Choice:
    """Which revision is stable, which takes over, and how far."""
    stable = _stable(status, observed, target)
    if target is None or (stable and stable.name == target.name):
        return Choice(target=target, stable=stable, canary=None, rollout=None)
    if (spec.suspend or spec.replicas == 0) and not (spec.paused and stable):
        # Nothing serves, so there is nothing to compare with and nobody to protect: the change takes effect at once.
        return Choice(target=target, stable=target, canary=None, rollout=None, promoted=True)
    steps = spec.rollout.steps if stable else []
    rollout = status.rollout
    if rollout is None or rollout.revision != target.name:
        rollout = begin(target.name, steps, now)
    if _resumed(spec, status):
        rollout = rollout.model_copy(update={"progressed_at": now})
    seen = fleet(observed, target.name)
    canary = Canary(ready=seen.ready, known=seen.known, weight=served(observed).weight(target.name))
    first_pod = 1 if stable is None else spec.replicas
    rollout = advance(
        rollout, steps, replicas=first_pod, canary=canary, paused=spec.paused and stable is not None, now=now
    )
    if finished(rollout, canary):
        return Choice(target=target, stable=target, canary=None, rollout=None, promoted=True)
    return Choice(target=target, stable=stable, canary=target, rollout=rollout)


def _resumed(spec: ModelDeploymentSpec, status: ModelDeploymentStatus) -> bool:
    """True at the first look after a pause: while somebody held the rollout, it did not stand still."""
    return not spec.paused and any(c.type == "Paused" and c.status == "True" for c in status.conditions)


def _stable(status: ModelDeploymentStatus, observed: Observed, target: StoredRevision | None) -> StoredRevision | None:
    """The stable revision by status; by what is seen where status does not know.

    Status does not know when it was lost, and when the next revision is asked for before the first one, which has the
    requests already, was seen at every router.
    """
    stored = observed.revisions()
    if target and status.stable and status.stable.revision == target.name:
        return target
    if status.stable and status.stable.revision in stored:
        return stored[status.stable.revision]
    if status.stable and observed.deployment(status.stable.revision):
        return _stand_in(status.stable, observed)
    name = carrier(observed, stored) if status.stable is None else None
    first = target is not None and status.rollout is not None and status.rollout.revision == target.name == name
    return None if name is None or first else stored[name]


def _stand_in(stable: RevisionStatus, observed: Observed) -> StoredRevision:
    """The stable revision as status tells it, when its ControllerRevision is gone or cannot be read.

    It is good enough to send requests to, not to make pods from: its objects stay as they are.
    """
    revision = Revision(
        digest=stable.digest, uri=stable.uri, model_name="", version=stable.version, server=Server(), pins=observed.pins
    )
    return StoredRevision(name=stable.revision, number=1, revision=revision)


def _unread(observed: Observed, choice: Choice, needed: list[str]) -> frozenset[str]:
    """Revisions with requests whose content nobody knows any more. The target is known from spec."""
    serving = {choice.stable.name} if choice.stable else set()
    known = set(observed.revisions()) | ({choice.target.name} if choice.target else set())
    return frozenset((serving | set(needed)) - known)


def _route(traffic: Traffic, model: str, table: Table, port: int | None, split: tuple[Backend, ...]) -> Route:
    """How the routers treat requests for a model; it keeps its ``port`` where it can."""
    return Route(
        model=model,
        port=table.free_port(model, port),
        timeout_seconds=int(traffic.timeout.total_seconds()),
        affinity=traffic.affinity,
        affinity_header=traffic.affinity_header or "",
        backends=split,
    )


def _named(split: tuple[Backend, ...], observed: Observed, choice: Choice) -> tuple[Backend, ...]:
    """The split with the digest of each revision, which every answer carries, and its role, which requests may name."""
    digests = {name: r.revision.digest for name, r in observed.revisions().items()}
    digests |= {r.name: r.revision.digest for r in (choice.stable, choice.canary) if r}
    roles = {choice.canary.name: "canary" if choice.stable else "stable"} if choice.canary else {}
    roles |= {choice.stable.name: "stable"} if choice.stable else {}
    told = ({"digest": digests.get(b.revision, ""), "role": roles.get(b.revision, "")} for b in split)
    return tuple(b.model_copy(update=update) for b, update in zip(split, told, strict=True))


def _fleet(observed: Observed, revision: StoredRevision | None) -> Fleet | None:
    return fleet(observed, revision.name) if revision else None


def _cause(observed: Observed, stable: Fleet | None, canary: Fleet | None) -> Cause | None:
    """What keeps pods from being ready; the revision that takes over is asked first."""
    for seen in (canary, stable):
        if seen and (cause := diagnose(seen.pods, observed.deployment(seen.revision))):
            return cause
    routers = observed.routers()
    if routers and not any(pod.ready for pod in routers) and (cause := diagnose(routers)):
        return Cause(Reason.ROUTER_NOT_READY, f"No router is ready. {cause.message}")
    return None


def _workloads(
    spec: ModelDeploymentSpec, observed: Observed, choice: Choice, needed: list[str]
) -> tuple[Workload, ...]:
    """How many pods each revision should have."""
    replicas = 0 if spec.suspend else spec.replicas
    loads = []
    if choice.stable:
        loads.append(Workload(choice.stable, replicas, "stable"))
    if choice.canary and choice.rollout:
        wanted = pods_wanted(choice.rollout, spec.rollout.steps, replicas) if choice.stable else replicas
        loads.append(Workload(choice.canary, wanted, "canary" if choice.stable else "stable"))
    stored = observed.revisions()
    for name in needed:
        if name in stored:
            ready = sum(pod.ready for pod in observed.pods(name))
            loads.append(Workload(stored[name], 0 if spec.suspend else max(ready, 1), "canary"))
    return tuple(loads)


def _remembered(
    spec: ModelDeploymentSpec,
    observed: Observed,
    used: list[StoredRevision],
    history: list[FormerRevision],
) -> tuple[StoredRevision, ...]:
    """Revisions to keep: those in use, those with pods, and as many former ones as the limit allows.

    Those that served last come first, then the newest: a lost history must not cost the way back.
    """
    stored = observed.revisions()
    with_pods = {o["metadata"]["name"] for o in observed.kind("Deployment")}
    served_last = [entry.revision for entry in history if entry.revision in stored]
    newest = sorted(set(stored) - set(served_last), key=lambda name: -stored[name].number)
    former = [*served_last, *newest][: spec.revision_history_limit + 1]
    kept = {r.name: r for name, r in stored.items() if name in with_pods or name in former}
    kept |= {r.name: r for r in used}
    return tuple(sorted(kept.values(), key=lambda r: r.number))


def _again(
    spec: ModelDeploymentSpec, situation: Situation, *, later: bool, routers_answer: bool, now: datetime
) -> timedelta | None:
    """When to look again without an event. Routers send no events, so what they must still do is polled."""
    waits = [situation.resolution.again] if situation.resolution.again else []
    fleets = [f for f in (situation.stable_fleet, situation.canary_fleet) if f]
    if any(f.ready and not f.known for f in fleets) or not situation.settled:
        waits.append(LOOK_AGAIN if routers_answer and any(f.ready for f in fleets) else LOOK_LATER)
    if later:
        waits.append(LOOK_LATER)
    rollout = situation.rollout
    if rollout:
        left = hold_left(rollout, spec.rollout.steps, now)
        if left is not None and not spec.paused:
            waits.append(left)
        deadline = rollout.progressed_at + spec.rollout.progress_deadline - now
        if deadline > timedelta(0) and left is None and not spec.paused:
            waits.append(deadline)
    return max(min(waits), timedelta(milliseconds=50)) if waits else None
