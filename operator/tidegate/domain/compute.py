"""The whole brain: from what is wanted and what is seen to what should be.

``compute`` is total and deterministic. What can be observed is taken from the snapshot; from status it takes only
what nobody can observe: the pinned bundle, which revision is stable, and how far the rollout is.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from tidegate.api.status import Artifact, FormerRevision, ModelDeploymentStatus, Reason, StartupStatus
from tidegate.api.v1alpha1 import ModelDeploymentSpec, Traffic
from tidegate.domain import direct, gateway, names
from tidegate.domain.artifact import Resolution, resolve
from tidegate.domain.autoscale import autoscale
from tidegate.domain.choice import Choice, choose, deadline_of, failure_of, stable_of
from tidegate.domain.contract import gate, promise
from tidegate.domain.diagnose import Cause, diagnose
from tidegate.domain.observed import Observed
from tidegate.domain.observing import observer_pokes, sample_percent, watching
from tidegate.domain.outside import by_pods, outside
from tidegate.domain.plan import Plan, Workload
from tidegate.domain.report import events, report
from tidegate.domain.revision import StoredRevision, revision_of
from tidegate.domain.rollout.machine import hold_left
from tidegate.domain.rollout.steps import is_parity, sample_percent_at, steps_of
from tidegate.domain.routing import Backend, Route, Table
from tidegate.domain.situation import Situation
from tidegate.domain.traffic import (
    Fleet,
    all_up_to_date,
    backends,
    fleet,
    leftovers,
    live_reports,
    pokes,
    served,
    table_with,
)

LOOK_AGAIN = timedelta(milliseconds=400)
"""How soon to look again at routers that were just told something, or at pods they do not know yet."""
LOOK_FOR_ROOM = timedelta(seconds=10)
"""How soon to look again whether the cluster has room."""
"""How often the size of a model is looked at."""
LOOK_LATER = timedelta(seconds=2)
"""How soon to look again when routers do not answer, or pods are on their way out."""


def compute(
    spec: ModelDeploymentSpec,
    status: ModelDeploymentStatus,
    observed: Observed,
    now: datetime,
) -> tuple[Plan, ModelDeploymentStatus]:
    """Decide what should exist and what to report. Never raises for any spec the API server accepts."""
    if spec.traffic.router != "Envoy":
        observed = replace(observed, via=spec.traffic.router, now=now)
    if cause := _refusal(observed):
        situation = Situation(resolution=Resolution(), cause=cause)
        after = report(spec, status, observed, situation, now)
        return Plan(events=events(status, after, situation), again=timedelta(seconds=30)), after
    resolution, target = _wanted(spec, status, observed, now)
    size = autoscale(spec, status, observed, stable_of(status, observed), target, now)
    spec = size.spec
    choice = choose(spec, status, observed, target, now)
    used = [r for r in (choice.stable, choice.canary, choice.former) if r]
    needed, known = leftovers(observed, {r.name for r in used})
    percent = sample_percent(choice, steps_of(spec.rollout, choice.rollout))
    watched = watching(observed, choice, percent)
    beside = {"sample_percent": percent, "can_hold": size.can_hold, "hold": size.hold}
    situation, table = _situation(spec, status, observed, resolution, choice, known, beside)
    situation = replace(situation, scaling=size.status)
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
        route=situation.route,
        table=table,
        gateway=spec.traffic.gateway,
        selector=direct.selector(situation.route) if situation.route and by_pods(observed) else None,
        pokes=(*(pokes(observed, table, now) if table else ()), *observer_pokes(observed, watched, now)),
        events=events(status, after, situation),
        looked=choice.looked,
        replay=choice.parity.job if choice.parity else None,
        watching=watched,
        scaling=size.state,
    )
    later = bool(known) or not (all_up_to_date(observed, table) if table else situation.settled)
    answer = table is not None and _answer(observed)
    again = _again(spec, situation, startup=after.startup, later=later, routers_answer=answer, now=now)
    return replace(plan, again=again), after


def _wanted(
    spec: ModelDeploymentSpec, status: ModelDeploymentStatus, observed: Observed, now: datetime
) -> tuple[Resolution, StoredRevision | None]:
    """The bundle, and the revision that spec asks for.

    A bundle that may not take over, or of which that is not known yet, makes no revision: it gets no pod.
    """
    promised = promise(
        stable_of(status, observed),
        status.revisions,
        spec.model.credentials_secret_ref,
        allow_breaking=spec.model.allow_breaking,
    )
    resolution = resolve(spec, status.artifact, observed, now, promised)
    kept = gate(resolution.artifact, promised)
    target = _target(spec, resolution.artifact, observed)
    under_way = target is not None and status.canary is not None and status.canary.revision == target.name
    if kept.verdict == "Fail" or (kept.verdict == "Pending" and not under_way):
        return replace(resolution, cause=resolution.cause or kept.cause), None
    return resolution, target


def _situation(
    spec: ModelDeploymentSpec,
    status: ModelDeploymentStatus,
    observed: Observed,
    resolution: Resolution,
    choice: Choice,
    known: list[str],
    beside: Mapping[str, object],
) -> tuple[Situation, Table | None]:
    """Everything that status tells, and the routes of the model's router; None where others route."""
    stable, canary = (_fleet(observed, r) for r in (choice.stable, choice.canary))
    weight = choice.rollout.weight if choice.rollout else 0
    split = _named(backends(stable, canary, weight, _silent(choice, known)), observed, choice)
    parent, other = spec.traffic.gateway, outside(observed)
    port = 0 if other else observed.table().free_port(observed.subject.name, status.port)
    route = _route(spec.traffic, observed.subject.name, port, split)
    route = route.model_copy(update=dict(beside))
    replayed = choice.parity.cause if choice.parity else None
    situation = Situation(
        resolution=resolution,
        cause=resolution.cause or replayed or _cause(observed, stable, canary) or failure_of(choice),
        target=choice.target,
        stable=choice.stable,
        stable_fleet=stable,
        canary=choice.canary,
        canary_fleet=canary,
        rollout=choice.rollout,
        promoted=choice.promoted,
        choice=choice,
        route=route,
        settled=served(observed).settled(route) and (parent is None or gateway.attached(observed, parent)),
        startup=status.startup,
        routers_ready=other.ready(observed) if other else any(pod.ready for pod in observed.routers()),
        gateway=parent.name if parent else "",
        by_pods=by_pods(observed),
        strangers=_strangers(observed, choice),
    )
    return situation, None if other else table_with(observed, route)


def _strangers(observed: Observed, choice: Choice) -> int:
    """Pods that keep a Service from selecting both revisions of a rollout."""
    if not (by_pods(observed) and choice.stable and choice.canary):
        return 0
    return direct.strangers(observed, choice.stable.name, choice.canary.name)


def _answer(observed: Observed) -> bool:
    """True when every ready router says what it serves."""
    reports = live_reports(observed)
    return bool(reports) and all(r is not None and r.reachable for r in reports)


def _refusal(observed: Observed) -> Cause | None:
    """Why nothing at all can be done."""
    if usurper := observed.usurper():
        return Cause(
            Reason.NAME_CONFLICT,
            f"{usurper['kind']} {usurper['metadata']['name']} exists and belongs to something else. Delete it, or give "
            "the ModelDeployment another name.",
        )
    if observed.via == "GatewayAPI" and observed.trouble:
        return Cause(Reason.GATEWAY_API_MISSING, observed.trouble)
    return None


def _target(spec: ModelDeploymentSpec, artifact: Artifact | None, observed: Observed) -> StoredRevision | None:
    """The revision that spec asks for: as it is kept in the cluster, or new."""
    if artifact is None:
        return None
    wanted = revision_of(spec, artifact, observed.pins)
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


def _route(traffic: Traffic, model: str, port: int, split: tuple[Backend, ...]) -> Route:
    """How the routers treat requests for a model; a Gateway and a Service have ports of their own."""
    return Route(
        model=model,
        port=port,
        timeout_seconds=int(traffic.timeout.total_seconds()),
        affinity=traffic.affinity,
        affinity_header=traffic.affinity_header or "",
        backends=split,
    )


def _named(split: tuple[Backend, ...], observed: Observed, choice: Choice) -> tuple[Backend, ...]:
    """The split with the digest of each revision, which every answer carries, and its role, which requests may name."""
    digests = {name: r.revision.digest for name, r in observed.revisions().items()}
    digests |= {r.name: r.revision.digest for r in (choice.stable, choice.canary, choice.former) if r}
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
    if other := outside(observed):
        return other.refusal(observed)
    routers = observed.routers()
    if routers and not any(pod.ready for pod in routers) and (cause := diagnose(routers)):
        return Cause(Reason.ROUTER_NOT_READY, f"No router is ready. {cause.message}")
    return None


def _workloads(
    spec: ModelDeploymentSpec, observed: Observed, choice: Choice, needed: list[str]
) -> tuple[Workload, ...]:
    """How many pods each revision should have."""
    replicas = 0 if spec.suspend else spec.replicas
    sizes = None if spec.suspend else choice.sizes
    loads = []
    if choice.stable:
        loads.append(Workload(choice.stable, sizes.stable if sizes else replicas, "stable"))
    if choice.canary:
        wanted = sizes.canary if sizes else replicas
        loads.append(Workload(choice.canary, wanted, "canary" if choice.stable else "stable"))
    if choice.former:
        allowed = spec.rollout.budget.max_extra_replicas
        kept = min(spec.rollout.bake.keep_replicas, replicas, replicas if allowed is None else allowed)
        loads.append(Workload(choice.former, kept, "canary"))
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
    spec: ModelDeploymentSpec,
    situation: Situation,
    *,
    startup: StartupStatus | None,
    later: bool,
    routers_answer: bool,
    now: datetime,
) -> timedelta | None:
    """When to look again without an event. Routers send no events, so what they must still do is polled."""
    waits = [situation.resolution.again] if situation.resolution.again else []
    fleets = [f for f in (situation.stable_fleet, situation.canary_fleet) if f]
    if any(f.ready and not f.known for f in fleets) or not situation.settled:
        waits.append(LOOK_AGAIN if routers_answer and any(f.ready for f in fleets) else LOOK_LATER)
    if later:
        waits.append(LOOK_LATER)
    if spec.autoscaling and not spec.suspend:
        waits.append(spec.autoscaling.interval)
    return _soonest([*waits, *_rollout_waits(spec, situation, startup, now)])


def _rollout_waits(
    spec: ModelDeploymentSpec, situation: Situation, startup: StartupStatus | None, now: datetime
) -> list[timedelta]:
    """What a rollout, and the time after it, wait for without an event."""
    rollout, choice = situation.rollout, situation.choice
    waits = []
    if choice and choice.parity and choice.parity.again:
        waits.append(choice.parity.again)
    if choice and choice.bake:
        waits += [choice.bake.started_at + spec.rollout.bake.duration - now, spec.rollout.analysis.interval]
    if rollout is None or rollout.aborted:
        return waits
    if choice and choice.stable and (rollout.plan is None or rollout.plan.mode == "Wait"):
        waits.append(LOOK_AGAIN if rollout.plan is None else LOOK_FOR_ROOM)
    steps = steps_of(spec.rollout, rollout)
    if rollout.weight or sample_percent_at(steps, rollout.step):
        # Looks go on while somebody holds the rollout: a canary that turns bad must not serve on.
        waits.append(spec.rollout.analysis.interval)
    if is_parity(steps, rollout.step) and rollout.step_started_at and choice and choice.parity is None:
        # The step has begun at this look; the next one asks for its Job.
        waits.append(LOOK_AGAIN)
    left = hold_left(rollout, steps, now)
    if left and not spec.paused:
        waits.append(left)
    deadline = rollout.progressed_at + deadline_of(spec, startup) - now
    if deadline > timedelta(0) and rollout.step_started_at is None and not spec.paused:
        waits.append(deadline)
    return waits


def _soonest(waits: list[timedelta]) -> timedelta | None:
    return max(min(waits), timedelta(milliseconds=50)) if waits else None
