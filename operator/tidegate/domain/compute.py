"""The whole brain: from what is wanted and what is seen to what should be.

``compute`` is total and deterministic. What can be observed is taken from the snapshot; from status it takes only
what nobody can observe: the pinned bundle, which revision is stable, and how far the rollout is.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from tidegate.api.status import Artifact, FormerRevision, ModelDeploymentStatus, Reason
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain import names
from tidegate.domain.artifact import Resolution, resolve
from tidegate.domain.choice import Choice, choose, deadline_of, failure_of
from tidegate.domain.diagnose import Cause, diagnose
from tidegate.domain.observed import Observed
from tidegate.domain.plan import Plan, Workload
from tidegate.domain.report import events, report
from tidegate.domain.revision import StoredRevision, revision_of
from tidegate.domain.rollout.machine import hold_left
from tidegate.domain.rollout.steps import pods_wanted, sample_percent_at, steps_of
from tidegate.domain.routing import Backend, Route
from tidegate.domain.situation import Situation
from tidegate.domain.traffic import (
    Fleet,
    all_up_to_date,
    backends,
    fleet,
    has_room,
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
    choice = choose(spec, status, observed, target, now)
    stable, canary = (_fleet(observed, r) for r in (choice.stable, choice.canary))
    used = [r for r in (choice.stable, choice.canary, choice.former) if r]
    keep = {r.name for r in used}
    needed, known = leftovers(observed, keep)
    weight = choice.rollout.weight if choice.rollout else 0
    route = Route(
        model=observed.subject.name,
        port=observed.table().free_port(observed.subject.name, status.port),
        timeout_seconds=int(spec.traffic.timeout.total_seconds()),
        backends=_named(backends(stable, canary, weight, _silent(choice, known)), observed, choice),
    )
    table = table_with(observed, route)
    situation = Situation(
        resolution=resolution,
        cause=resolution.cause or _cause(observed, stable, canary) or failure_of(choice),
        target=choice.target,
        stable=choice.stable,
        stable_fleet=stable,
        canary=choice.canary,
        canary_fleet=canary,
        rollout=choice.rollout,
        promoted=choice.promoted,
        choice=choice,
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
            [r for r in (*used, choice.target, target) if r and r.name not in unread],
            after.revisions,
        ),
        workloads=tuple(w for w in _workloads(spec, observed, choice, needed) if w.revision.name not in unread),
        unread=unread,
        route=route,
        table=table,
        pokes=pokes(observed, table, now),
        events=events(status, after, situation),
        looked=choice.looked,
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
    if not has_room(observed):
        return Cause(
            Reason.ROUTER_FULL,
            f"Namespace {observed.subject.namespace} has as many ModelDeployments as its router can hold. Put this one "
            "into another namespace.",
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


def _silent(choice: Choice, known: list[str]) -> list[str]:
    """Revisions that the routers know without sending them anything: the warm one, and those on their way out."""
    return sorted({*known, *([choice.former.name] if choice.former else [])})


def _unread(observed: Observed, choice: Choice, needed: list[str]) -> frozenset[str]:
    """Revisions with requests whose content nobody knows any more. The target is known from spec."""
    serving = {choice.stable.name} if choice.stable else set()
    known = set(observed.revisions()) | ({choice.target.name} if choice.target else set())
    return frozenset((serving | set(needed)) - known)


def _named(split: tuple[Backend, ...], observed: Observed, choice: Choice) -> tuple[Backend, ...]:
    """The split with the digest of each revision, which every answer carries."""
    digests = {name: r.revision.digest for name, r in observed.revisions().items()}
    digests |= {r.name: r.revision.digest for r in (choice.stable, choice.canary, choice.former) if r}
    return tuple(b.model_copy(update={"digest": digests.get(b.revision, "")}) for b in split)


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
        wanted = pods_wanted(spec.rollout, choice.rollout, replicas) if choice.stable else replicas
        loads.append(Workload(choice.canary, wanted, "canary" if choice.stable else "stable"))
    if choice.former:
        loads.append(Workload(choice.former, min(spec.rollout.bake.keep_replicas, replicas), "canary"))
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
    return _soonest([*waits, *_rollout_waits(spec, situation, now)])


def _rollout_waits(spec: ModelDeploymentSpec, situation: Situation, now: datetime) -> list[timedelta]:
    """What a rollout, and the time after it, wait for without an event."""
    rollout, choice = situation.rollout, situation.choice
    waits = []
    if choice and choice.bake:
        waits += [choice.bake.started_at + spec.rollout.bake.duration - now, spec.rollout.analysis.interval]
    if rollout is None or rollout.aborted:
        return waits
    steps = steps_of(spec.rollout, rollout)
    if rollout.weight or sample_percent_at(steps, rollout.step):
        # Looks go on while somebody holds the rollout: a canary that turns bad must not serve on.
        waits.append(spec.rollout.analysis.interval)
    left = hold_left(rollout, steps, now)
    if left and not spec.paused:
        waits.append(left)
    deadline = rollout.progressed_at + deadline_of(spec) - now
    if deadline > timedelta(0) and rollout.step_started_at is None and not spec.paused:
        waits.append(deadline)
    return waits


def _soonest(waits: list[timedelta]) -> timedelta | None:
    return max(min(waits), timedelta(milliseconds=50)) if waits else None
