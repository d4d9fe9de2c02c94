"""A small cluster made of plain values: what Kubernetes, the kubelet, DNS and the routers do between two decisions."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from domain_gateway import GatewayState
from domain_objects import (
    Raw,
    container,
    deployment,
    digest,
    job,
    parity_job,
    pod,
    router_pod,
    service,
    uri,
    wire_time,
)
from domain_service import Seen, ServiceState

from tidegate.api.v1alpha1 import Gateway
from tidegate.domain import names
from tidegate.domain.capacity import CapacityFacts, PodUse
from tidegate.domain.checks.windows import Bucket, Histogram, Traffic
from tidegate.domain.labels import COMPONENT, PARITY, SHARD
from tidegate.domain.observed import TABLE_KEY, Observed, Owner, Subject
from tidegate.domain.placement import Node
from tidegate.domain.plan import Poke, Replay, Resolve, Workload
from tidegate.domain.revision import GPU, Pins, StoredRevision
from tidegate.domain.routing import (
    Route,
    RouterReport,
    Table,
    clusters_version,
    grpc_cluster,
    http_cluster,
    listeners_version,
    route_version,
)

REQUESTS_PER_SECOND = 100
LATENCIES = ((10.0, 11.0, 0.6), (20.0, 21.0, 0.35), (50.0, 51.0, 0.05))
"""Lower and upper bound in milliseconds, and share of the requests."""
START_SECONDS = 3
DRAIN_SECONDS = 4
SYNC_SECONDS = 60


@dataclass
class PodState:
    """A server pod."""

    name: str
    revision: str
    address: str
    born: datetime
    ready: bool = False
    leaving_since: datetime | None = None
    placed: bool = True
    turned: datetime | None = None


@dataclass
class JobState:
    """A Job; ``reports`` is what each container said, once it ended."""

    asked: Resolve | Replay
    reports: Mapping[str, Raw] = field(default_factory=dict)
    ended: datetime | None = None


@dataclass
class RouterState:
    """One router: what it loaded and whom its DNS knows."""

    name: str
    ready: bool = False
    reachable: bool = True
    deaf: bool = False
    told: str = ""
    loaded: Table = field(default_factory=Table)
    synced: datetime | None = None
    http: dict[str, frozenset[str]] = field(default_factory=dict)
    grpc: dict[str, frozenset[str]] = field(default_factory=dict)

    def report(self) -> RouterReport:
        """What it answers."""
        if not self.reachable:
            return RouterReport(pod=self.name, reachable=False)
        endpoints = {http_cluster(r): known for r, known in self.http.items()}
        endpoints |= {grpc_cluster(r): known for r, known in self.grpc.items()}
        return RouterReport(
            pod=self.name,
            listeners=listeners_version(self.loaded),
            clusters=clusters_version(self.loaded),
            routes={name: route_version(r) for name, r in self.loaded.routes.items()},
            endpoints=endpoints,
        )


class Cluster:
    """Objects of one namespace. ``changed`` is set by whatever would have woken the operator."""

    def __init__(self, subject: Subject, now: datetime) -> None:
        self.subject = subject
        self.now = now
        self.pins = Pins(packager_image="tidegate/packager:1")
        self.owners = [Owner(subject.name, subject.uid)]
        self.store = {uri(v): {"digest": digest(v), "name": "digits", "version": str(v)} for v in range(1, 7)}
        self.store_down = False
        self.signed_by: set[str] = set()
        """Keys, as <Secret>/<key>, that every bundle in the store is signed with."""
        self.sick: set[str] = set()
        self.contracts: dict[str, str] = {}
        """Verdicts on a digest beside any other one; Compatible if it is not here."""
        self.differing: set[str] = set()
        """Digests whose pods give other answers than the recorded ones."""
        self.silent: set[str] = set()
        """Digests whose pods let nobody but the routers reach them."""
        self.evicted: list[str] = []
        self.wrong: dict[str, float] = {}
        """Share of the requests that fail, by digest."""
        self.slow: dict[str, float] = {}
        """How many times slower, by digest."""
        self.idle = False
        self.crowded = False
        """True while no node has room for another pod."""
        self.places: int | None = None
        """Server pods that the one node has devices for; None: any number, and nobody can count them."""
        self.most_pods = 0
        self.served: dict[str, float] = {}
        """Requests since the beginning, by revision."""
        self.failed: dict[str, float] = {}
        self.revisions: dict[str, StoredRevision] = {}
        self.taken_away: set[str] = set()
        """Revisions whose memory somebody else deleted."""
        self.workloads: dict[str, Workload] = {}
        self.pods: list[PodState] = []
        self.jobs: dict[str, JobState] = {}
        self.table: Table | None = None
        self.routers: list[RouterState] = []
        self.shard = 0
        """The router that the operator chose for the subject: ``table`` and ``routers`` are of it."""
        self.others: dict[int, Table] = {}
        """Tables of further routers, by number."""
        self.service_owner: str | None = None
        self.has_service = False
        self.gateway: GatewayState | None = None
        """What a Gateway knows; None while it was told nothing."""
        self.direct: ServiceState | None = None
        """The Service that leads to pods; None while there is none."""
        self.changed = True
        self._count = 0

    # What the operator reads

    def observe(self) -> Observed:
        """A snapshot in wire form."""
        objects: list[Raw] = [
            {"kind": "ControllerRevision", "metadata": {"name": r.name}, "revision": r.number}
            | {"data": r.revision.to_wire()}
            for r in self.revisions.values()
        ]
        objects += [deployment(n, w.replicas, w.role) for n, w in self.workloads.items()]
        objects += [self._pod(p) for p in self.pods]
        lost = container(terminated={"exitCode": 137, "reason": "Error"})
        objects += [pod(f"{r}-evicted", r, phase="Failed", containers=[lost]) for r in self.evicted]
        for name, state in self.jobs.items():
            objects += self._job(name, state)
        objects += self.gateway.objects() if self.gateway else []
        objects += self.direct.objects() if self.direct else []
        front = service(self.subject.name, self.service_owner, self.shard) if self.has_service else None
        router: list[Raw] = []
        if self.table is not None:
            router.append(self._config_map(self.shard, self.table))
        router += [self._config_map(shard, table) for shard, table in self.others.items()]
        router += [router_pod(r.name, ready=r.ready, told=r.told, shard=self.shard) for r in self.routers]
        return Observed(
            subject=self.subject,
            pins=self.pins,
            owners=tuple(self.owners),
            objects=tuple(objects),
            service=self.direct.wire() if self.direct else front,
            router=tuple(router),
            reports=tuple(r.report() for r in self.routers),
        )

    @staticmethod
    def _config_map(shard: int, table: Table) -> Raw:
        meta = {"name": names.router(shard), "labels": {SHARD: str(shard)}}
        return {"kind": "ConfigMap", "metadata": meta, "data": {TABLE_KEY: table.model_dump_json(by_alias=True)}}

    def _pod(self, state: PodState) -> Raw:
        sick = self._sick(state)
        ended = {"exitCode": 1, "message": "failed to load digits: opset 99", "reason": "Error"}
        status = container(last=ended, waiting={"reason": "CrashLoopBackOff"}) if sick else container(running={})
        return pod(
            state.name,
            state.revision,
            ready=state.ready,
            turned=state.turned,
            ip=state.address,
            leaving=state.leaving_since is not None,
            containers=[status] if state.placed else [],
            scheduled=None if state.placed else {"status": "False", "message": "0/1 nodes are available."},
        )

    def _job(self, name: str, state: JobState) -> Iterator[Raw]:
        conditions: list[Raw] = []
        asked = state.asked
        containers: list[Raw] = [container(PARITY if isinstance(asked, Replay) else "resolve", running={})]
        if state.ended:
            kind = "Failed" if any("reason" in report for report in state.reports.values()) else "Complete"
            conditions = [{"type": kind, "status": "True", "lastTransitionTime": wire_time(state.ended)}]
            ended = {c: {"exitCode": int("reason" in r), "message": json.dumps(r)} for c, r in state.reports.items()}
            containers = [container(c, terminated=e) for c, e in ended.items()]
        if isinstance(asked, Replay):
            yield parity_job(name, asked.revision, asked.attempt, conditions)
        else:
            yield job(name, asked.key, asked.attempt, conditions)
        component = PARITY if isinstance(asked, Replay) else "resolve"
        yield pod(f"{name}-x", labels={"job-name": name, COMPONENT: component}, containers=containers)

    # What the operator writes

    def put_revision(self, revision: StoredRevision) -> None:
        """Create; a ControllerRevision that exists cannot be changed."""
        assert self.revisions.get(revision.name, revision).revision == revision.revision, "a revision changed"
        self._set(self.revisions, revision.name, revision)

    def put_job(self, asked: Resolve) -> None:
        """Create, once."""
        name = names.resolve_job(self.subject.name, asked.key, asked.attempt)
        if name not in self.jobs:
            self._set(self.jobs, name, JobState(asked))

    def put_replay(self, asked: Replay) -> None:
        """Create, once."""
        name = names.parity_job(self.subject.name, asked.revision, asked.attempt)
        if name not in self.jobs:
            assert asked.addresses, "nobody to ask"
            self._set(self.jobs, name, JobState(asked))

    def put_workload(self, load: Workload) -> None:
        """Create or resize."""
        self._set(self.workloads, load.revision.name, load)

    def put_table(self, table: Table) -> None:
        """Write the routes; the routers exist from the first write on."""
        if self.table != table:
            self.changed = True
        self.table = table
        if not self.routers:
            self.routers = [RouterState(f"router-{i}") for i in range(2)]

    def put_gateway(self, route: Route, gateway: Gateway) -> None:
        """Write both routes of a Gateway, the second after the first."""
        self.gateway = self.gateway or GatewayState(self.subject)
        self.changed = self.gateway.put(route, gateway) or self.changed

    def put_service(self, route: Route, selector: Mapping[str, str]) -> None:
        """Write the Service that leads to pods."""
        self.direct = self.direct or ServiceState(self.subject)
        self.changed = self.direct.put(route, selector, self.now) or self.changed

    def poke(self, poke: Poke) -> None:
        """Annotate a router's pod."""
        for router in self.routers:
            if router.name == poke.pod:
                router.told = poke.mark
                self.changed = True

    def drop(self, kind: dict[str, Any], keep: set[str]) -> None:
        """Delete what is not in ``keep``."""
        for name in set(kind) - keep:
            del kind[name]
            self.changed = True

    def _set(self, kind: dict[str, Any], name: str, value: Any) -> None:
        self.changed = self.changed or kind.get(name) != value
        kind[name] = value

    # What happens by itself

    def step(self, seconds: float = 1.0) -> None:
        """Let every part of the cluster do what it does in a second or less."""
        self.now += timedelta(seconds=seconds)
        before = repr((self.pods, self.jobs, [(r.name, r.ready) for r in self.routers]))
        self._run_jobs()
        self._run_deployments()
        self._run_pods()
        for router in self.routers:
            self._run_router(router)
        if self.gateway:
            self.gateway.step(self.now)
        if self.direct:
            self.direct.step([Seen(p.name, p.revision, p.ready) for p in self.pods], self.now)
        self._run_clients(seconds)
        if before != repr((self.pods, self.jobs, [(r.name, r.ready) for r in self.routers])):
            self.changed = True

    def _run_jobs(self) -> None:
        for state in self.jobs.values():
            if state.ended is None:
                run = self._replay if isinstance(state.asked, Replay) else self._resolve
                state.reports, state.ended = run(state.asked), self.now  # type: ignore[arg-type]

    def _resolve(self, asked: Resolve) -> dict[str, Raw]:
        down = {"reason": "FetchFailed", "message": "s3.example: connection refused"}
        absent = {"reason": "ArtifactNotFound", "message": f"{asked.uri} does not exist"}
        report = down if self.store_down else self.store.get(asked.uri, absent)
        if "reason" not in report and not self._is_signed(asked):
            report = {"reason": "SignatureMissing", "message": f"{asked.uri} is not signed."}
        elif asked.public_key:
            report = {"signedBy": "0a1b"} | report
        if asked.base is None or "reason" in report:
            return {"resolve": report}
        verdict = self.contracts.get(report["digest"], "Compatible")
        compared = {"old": asked.base.digest, "new": report["digest"], "verdict": verdict, "message": "the input 'x'"}
        return {"resolve": report, "contract": compared}

    def _replay(self, asked: Replay) -> dict[str, Raw]:
        there = {p.address for p in self.pods if p.revision == asked.revision and p.ready}
        report: Raw = {"digest": asked.digest, "cases": 3, "servers": len(asked.addresses), "maxAbs": 1e-06}
        if asked.digest in self.differing:
            report |= {"reason": "ParityFailed", "message": "1 of 3 answers of digits are not the recorded ones."}
        elif asked.digest in self.silent or not set(asked.addresses) <= there:
            report |= {"reason": "NotReachable", "message": "1 of 1 servers gave no answer."}
        return {PARITY: report}

    def _is_signed(self, asked: Resolve) -> bool:
        return asked.public_key is None or str(asked.public_key) in self.signed_by

    def _run_deployments(self) -> None:
        for name, load in self.workloads.items():
            have = [p for p in self.pods if p.revision == name and p.leaving_since is None]
            for _ in range(load.replicas - len(have)):
                self._count += 1
                place, address = self._has_place(), f"10.0.0.{self._count}"
                self.pods.append(PodState(f"{name}-{self._count}", name, address, self.now, placed=place))
            for surplus in sorted(have, key=lambda p: (p.ready, -p.born.timestamp()))[
                : max(0, len(have) - load.replicas)
            ]:
                surplus.leaving_since = self.now
        for orphan in self.pods:
            if orphan.revision not in self.workloads and orphan.leaving_since is None:
                orphan.leaving_since = self.now

    def _run_pods(self) -> None:
        for state in self.pods:
            if not state.placed and self._has_place():
                state.placed, state.born = True, self.now
            old = state.placed and (self.now - state.born).total_seconds() >= START_SECONDS
            ready = old and state.leaving_since is None and not self._sick(state)
            if ready != state.ready:
                state.ready, state.turned = ready, self.now
        drain = timedelta(seconds=DRAIN_SECONDS)
        self.pods = [p for p in self.pods if p.leaving_since is None or self.now - p.leaving_since < drain]

    def _has_place(self) -> bool:
        """A pod holds its place until it has gone."""
        held = sum(pod.placed for pod in self.pods)
        self.most_pods = max(self.most_pods, held)
        return not self.crowded and (self.places is None or held < self.places)

    def facts(self) -> CapacityFacts:
        """What can be read of the room for pods."""
        if self.places is None:
            return CapacityFacts(self.subject.namespace)
        allocatable = {"cpu": 10**9, "memory": 10**15, "pods": 10**6, GPU: 1000 * self.places}
        uses = [PodUse(self.subject.namespace, p.name, "node-1", {GPU: 1000}) for p in self.pods if p.placed]
        return CapacityFacts(self.subject.namespace, (Node("node-1", allocatable),), tuple(uses), ())

    def _sick(self, state: PodState) -> bool:
        stored = self.revisions.get(state.revision)
        return stored is not None and stored.revision.digest in self.sick

    def _run_router(self, router: RouterState) -> None:
        if self.table is None:
            return
        version = router.told.partition("@")[2]
        poked = bool(version) and (router.synced is None or float(version) >= router.synced.timestamp() - 1)
        late = router.synced is None or self.now - router.synced >= timedelta(seconds=SYNC_SECONDS)
        if not router.ready or ((poked or late) and not router.deaf):
            router.loaded, router.synced = self.table, self.now
        router.ready = True
        known = {b.revision for r in router.loaded.routes.values() for b in r.backends}
        fresh = {r: frozenset(p.address for p in self.pods if p.revision == r and p.ready) for r in known}
        # The gRPC cluster learns of a pod one look-up after the HTTP cluster did.
        router.grpc = {r: fresh[r] & router.http.get(r, frozenset()) for r in known}
        router.http = fresh

    def _run_clients(self, seconds: float) -> None:
        """Clients ask every ready router equally often."""
        ready = [router for router in self.routers if router.ready and self.subject.name in router.loaded.routes]
        for router in () if self.idle else ready:
            for backend in router.loaded.routes[self.subject.name].backends:
                asked = REQUESTS_PER_SECOND * seconds * backend.weight / 100 / len(ready)
                wrong = self.wrong.get(backend.digest, 0.0)
                self.served[backend.revision] = self.served.get(backend.revision, 0.0) + asked
                self.failed[backend.revision] = self.failed.get(backend.revision, 0.0) + asked * wrong

    def counts(self, revision: str) -> Traffic:
        """What the routers have counted of a revision."""
        total, failed = int(self.served.get(revision, 0.0)), int(self.failed.get(revision, 0.0))
        stored = self.revisions.get(revision)
        times = self.slow.get(stored.revision.digest, 1.0) if stored else 1.0
        left, buckets = total, []
        for lower, upper, share in LATENCIES:
            count = min(left, round(total * share)) if share != LATENCIES[-1][2] else left
            left -= count
            buckets.append(Bucket(lower * times, upper * times, count))
        return Traffic(total, failed, Histogram(tuple(buckets)))

    # What goes wrong

    def kill_pod(self, index: int) -> None:
        """A pod is gone at once, as after the loss of a node."""
        if self.pods:
            del self.pods[index % len(self.pods)]
            self.changed = True

    def restart_router(self, index: int) -> None:
        """A router is replaced by a fresh one with another name."""
        if self.routers:
            self._count += 1
            self.routers[index % len(self.routers)] = RouterState(f"router-r{self._count}")
            self.changed = True

    def set_generation(self, generation: int) -> None:
        """The API server counts an edit of spec."""
        self.subject = replace(self.subject, generation=generation)
        self.changed = True
