"""The loop around the decisions, as the operator runs it, over the simulated cluster: nothing here decides anything.

The operator looks again only when an object changed or when the last plan asked for it, so a plan that forgets to ask
stands still here as it would in a cluster. Every look is checked against :mod:`domain_promises`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import domain_promises as promises
from domain_cluster import Cluster
from domain_objects import edited, make_spec

from tidegate.api.status import Condition, ModelDeploymentStatus
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain import names
from tidegate.domain.capacity import CapacityFacts
from tidegate.domain.checks import windows
from tidegate.domain.checks.windows import Agreement, Traffic, Window
from tidegate.domain.compute import compute
from tidegate.domain.observed import Observed, Subject
from tidegate.domain.plan import Event, Plan
from tidegate.domain.rollout.gate import watched
from tidegate.domain.routing import RouterReport, table_version

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Reading:
    """What was counted of a pair of revisions at one moment."""

    pair: tuple[str, str]
    at: datetime
    stable: Traffic
    canary: Traffic


class World:
    """One ModelDeployment, its cluster and the operator."""

    def __init__(self, spec: ModelDeploymentSpec | None = None, name: str = "digits") -> None:
        self.spec = spec or make_spec()
        self.cluster = Cluster(Subject(name=name, namespace="vision", uid="u-1", generation=1), BEGIN)
        self.status = ModelDeploymentStatus()
        self.events: list[Event] = []
        self.plan = Plan()
        self.looks = 0
        self.jobs_made: set[str] = set()
        self.stale_reports: tuple[RouterReport, ...] | None = None
        self.lose_next_status = False
        self.stop_after: int | None = None
        self.requests: dict[str, str] = {}
        self.values: dict[str, float] = {}
        self.agreement: Agreement | None = None
        self.capacity: CapacityFacts | None = None
        self.blind = False
        """True while the routers give no counts."""
        self._reading: Reading | None = None
        self._latest: Reading | None = None
        self._due: datetime | None = None

    # What users do

    def edit(self, **fields: Any) -> None:
        """Edit top-level fields of spec, in wire form."""
        spec = edited(self.spec, **fields)
        if spec != self.spec:
            self.spec = spec
            self.cluster.set_generation(self.cluster.subject.generation + 1)

    def move_to(self, version: int) -> None:
        """Edit spec.model.uri."""
        self.edit(model={"uri": make_spec(version).model.uri})

    def ask(self, verb: str, text: str) -> None:
        """Annotate the object."""
        self.requests = self.requests | {verb: text}
        self.cluster.changed = True

    def lose_status(self) -> None:
        """Somebody emptied status, or restored the object without it."""
        self.status = ModelDeploymentStatus()
        self.cluster.changed = True

    def restart(self) -> None:
        """Another operator takes over: what was counted so far is not known to it."""
        self._reading = None

    # What the operator does

    def look(self) -> Plan:
        """One reconcile: observe, compute, apply, write status."""
        self.cluster.changed = False
        observed = self.observe()
        self.cluster.shard = observed.shard
        before = self.status
        plan, status = compute(self.spec, before, observed, self.cluster.now)
        assert (plan, status) == compute(self.spec, before, observed, self.cluster.now), "not deterministic"
        promises.check_decision(self.spec, before, observed, plan, status)
        self.plan = plan
        self.looks += 1
        whole = self._apply(plan)
        if whole and not self.lose_next_status:
            self.events.extend(plan.events)
            wire = status.to_wire()
            self.status = ModelDeploymentStatus.model_validate(wire)
            assert self.status == status, "status changes when it is stored"
            if plan.looked:
                self._reading = self._latest
        self._due = self.cluster.now + plan.again if plan.again is not None else None
        if not whole or self.lose_next_status:
            self.cluster.changed = True
            self.lose_next_status = False
            self.stop_after = None
        return plan

    def observe(self) -> Observed:
        """What the next look sees."""
        observed = replace(
            self.cluster.observe(),
            requests=dict(self.requests),
            window=self._window(),
            capacity=self.capacity or self.cluster.facts(),
        )
        if self.stale_reports is not None:
            observed = replace(observed, reports=self.stale_reports)
            self.stale_reports = None
        return observed

    def _window(self) -> Window | None:
        """What was counted since the last look, and the reading that the next one starts from."""
        pair = watched(self.status)
        if pair is None or self.blind:
            self._reading = None
            return None
        stable, canary = (self.cluster.counts(name) for name in pair)
        now = self.cluster.now
        self._latest = Reading(pair, now, stable, canary)
        if self._reading is None or self._reading.pair != pair:
            self._reading = self._latest
            return None
        before = {"all": windows.Reading(self._reading.stable, self._reading.canary)}
        found = windows.between(before, {"all": windows.Reading(stable, canary)})
        assert found is not None
        seconds = (now - self._reading.at).total_seconds()
        if self.cluster.gateway or self.cluster.direct:
            return Window(seconds, values=dict(self.values))
        return Window(seconds, *found, agreement=self.agreement, values=dict(self.values))

    def _apply(self, plan: Plan) -> bool:
        """Write in the operator's order; False when it was killed on the way."""
        writes = list(self._writes(plan))
        stop = len(writes) if self.stop_after is None else self.stop_after
        for write in writes[:stop]:
            write()
        self.jobs_made |= set(self.cluster.jobs)
        return stop >= len(writes)

    def _writes(self, plan: Plan) -> list[Callable[[], None]]:
        cluster = self.cluster
        writes: list[Callable[[], None]] = [lambda r=r: cluster.put_revision(r) for r in plan.revisions]  # type: ignore[misc]
        if plan.resolve:
            writes.append(lambda: cluster.put_job(plan.resolve))  # type: ignore[arg-type]
        writes += [lambda load=load: cluster.put_workload(load) for load in plan.workloads]  # type: ignore[misc]
        if plan.replay:
            writes.append(lambda: cluster.put_replay(plan.replay))  # type: ignore[arg-type]
        if plan.route is not None and plan.gateway is not None:
            writes.append(lambda: cluster.put_gateway(plan.route, plan.gateway))  # type: ignore[arg-type]
            return [*writes, lambda: self._prune_workloads(plan), lambda: self._prune_rest(plan)]
        if plan.route is not None and plan.selector is not None:
            writes.append(lambda: cluster.put_service(plan.route, plan.selector))  # type: ignore[arg-type]
            return [*writes, lambda: self._prune_workloads(plan), lambda: self._prune_rest(plan)]
        if plan.table is None:
            return writes
        writes.append(lambda: cluster.put_table(plan.table))  # type: ignore[arg-type]
        writes += [lambda p=p: cluster.poke(p) for p in plan.pokes]  # type: ignore[misc]
        writes += [lambda: self._prune_workloads(plan), lambda: self._prune_rest(plan)]
        return writes

    def _prune_workloads(self, plan: Plan) -> None:
        keep = {w.revision.name for w in plan.workloads} | plan.unread
        for name in set(self.cluster.workloads) - keep:
            promises.check_removal(self.cluster, name)
        self.cluster.drop(self.cluster.workloads, keep)

    def _prune_rest(self, plan: Plan) -> None:
        self.cluster.drop(self.cluster.revisions, {r.name for r in plan.revisions})
        keep = set()
        if asked := plan.resolve:
            keep.add(names.resolve_job(self.cluster.subject.name, asked.key, asked.attempt))
        if replay := plan.replay:
            keep.add(names.parity_job(self.cluster.subject.name, replay.revision, replay.attempt))
        self.cluster.drop(self.cluster.jobs, keep)

    # Time

    def tick(self, seconds: float = 1.0) -> bool:
        """Let time pass and look if anything asks for it; returns whether it looked."""
        self.cluster.step(seconds)
        promises.check_cluster(self.cluster)
        due = self._due is not None and self.cluster.now >= self._due
        if self.cluster.changed or due:
            self.look()
            return True
        return False

    def run(self, seconds: float) -> None:
        """Let time pass, second by second."""
        for _ in range(int(seconds)):
            self.tick()

    def until(self, reached: Callable[["World"], bool], limit: int = 300) -> None:
        """Let time pass until something is seen; fails loudly after ``limit`` seconds."""
        for _ in range(limit):
            if reached(self):
                return
            self.tick()
        raise AssertionError(f"not reached in {limit} s: {self.summary()}")

    def settle(self, limit: int = 400) -> None:
        """Let time pass until the operator has nothing to look at for a while."""
        quiet = 0
        for _ in range(limit):
            quiet = 0 if self.tick() else quiet + 1
            if quiet >= 20 and self._due is None:
                return
        raise AssertionError(f"never silent in {limit} s: {self.summary()}")

    # What is seen

    def condition(self, kind: str) -> Condition:
        """One condition of the stored status."""
        return next(c for c in self.status.conditions if c.type == kind)

    @property
    def ready(self) -> bool:
        """Ready for the wanted generation, as kubectl wait and kstatus see it."""
        current = self.status.observed_generation == self.cluster.subject.generation
        return current and any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)

    def split(self) -> dict[str, int]:
        """Positive weights of the route as last written, by version of the bundle."""
        route = self.cluster.table.routes.get(self.cluster.subject.name) if self.cluster.table else None
        shares = {b.revision: b.weight for b in route.backends} if route else {}
        return {self.cluster.revisions[name].revision.version: w for name, w in shares.items() if w}

    def weight(self, version: int) -> int:
        """Weight of a version at the routers, as last written."""
        return self.split().get(str(version), 0)

    def name_of(self, version: int) -> str:
        """Name of the newest revision of a version."""
        found = [r for r in self.cluster.revisions.values() if r.revision.version == str(version)]
        return max(found, key=lambda r: r.number).name

    def pods_of(self, version: int) -> int:
        """Pods of a version that run, on their way out or not."""
        names = {r.name for r in self.cluster.revisions.values() if r.revision.version == str(version)}
        return sum(p.revision in names for p in self.cluster.pods)

    def plan_version(self) -> str:
        """Version of the table as last written."""
        assert self.cluster.table is not None
        return table_version(self.cluster.table)

    def summary(self) -> str:
        """Where it stands, for the message of a failed test."""
        rollout = self.status.rollout.to_wire() if self.status.rollout else None
        told = {c.type: (c.status, c.reason, c.message[:80]) for c in self.status.conditions}
        sizes = {w.revision.name: w.replicas for w in self.plan.workloads}
        again = self.plan.again
        return f"{self.status.phase} {self.split()} {sizes=} {again=} {rollout=} {told=} routers={self.cluster.routers}"

    def reasons(self) -> list[str]:
        """Reasons of all events so far."""
        return [e.reason for e in self.events]


def serving(version: int = 1, **fields: Any) -> World:
    """A world in which a version serves and nothing is left to do."""
    world = World(make_spec(version, **fields))
    world.settle()
    assert world.ready, world.status.to_wire()
    world.events.clear()
    world.jobs_made.clear()
    return world
