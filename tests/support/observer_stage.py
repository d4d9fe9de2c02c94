"""A real router, a real observer process, and two revisions behind them."""

import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from envoy_router import DOMAIN, NAMESPACE, Router, eventually
from envoy_servers import loopback
from envoy_stage import CANARY, DIGESTS, PORT, STABLE, table
from observer_models import LabelServer, grpc_request, http_request
from tritonclient.grpc import service_pb2_grpc

from devcluster.process import bound
from tidegate.adapters.envoy import EnvoyTelemetry
from tidegate.domain.names import OBSERVER
from tidegate.domain.routing import Backend, Route, up_to_date
from tidegate.domain.watching import Watched, WatchedOutput, Watching, watching_version
from tidegate.resources import observer

LABEL = WatchedOutput(name="label", datatype="INT64", shape=(-1, 1))
PATH = "/v2/models/digits/infer"


def sampled_route(percent: int, *weights: int) -> Route:
    """The route of the model, sampled; weights of stable and canary."""
    split = [Backend(revision=r, weight=w, digest=DIGESTS[r]) for r, w in zip((STABLE, CANARY), weights, strict=True)]
    return Route(model="digits", port=PORT, timeout_seconds=30, backends=tuple(split), sample_percent=percent)


def watching(per_second: float = 1000.0) -> Watching:
    """Both revisions of the model, compared by their labels."""
    watched = Watched(
        model="digits",
        revisions=(STABLE, CANARY),
        outputs=(LABEL,),
        max_batch_size=8,
        max_replays_per_second=per_second,
    )
    return Watching(models={"digits": watched})


class ObserverProcess:
    """``model-observer run`` with the plan that the operator would write."""

    def __init__(self, folder: Path) -> None:
        self.address = loopback()
        self.log = folder / "observer.log"
        self._folder = folder / "plan"
        self._folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, what: Watching, hosts: dict[str, str]) -> None:
        """Write the plan; ``hosts`` are the addresses of the revisions' pods."""
        plan = observer.plan(what, NAMESPACE, DOMAIN)
        for model in plan["models"]:
            for revision in model["revisions"]:
                revision["host"] = hosts[revision["name"]]
        draft = self._folder / "draft"
        draft.write_text(json.dumps(plan))
        draft.rename(self._folder / observer.PLAN_KEY)

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-c", "from model_observer.cli import main; main()", "run", "--host", self.address]
        command += ["--plan", str(self._folder / observer.PLAN_KEY), *options]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(bound(command), stdout=log, stderr=log)
        eventually("the observer answers", lambda: self._alive() and self.page("/healthz") == "ok\n", 60)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """End it; the exit code."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
        try:
            return self._process.wait(10)
        finally:
            self._process.kill()

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def memory(self) -> int:
        """Bytes of memory that it occupies."""
        assert self._process
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def page(self, path: str) -> str | None:
        """What it shows; None while it does not answer."""
        connection = http.client.HTTPConnection(self.address, observer.VIEWS_PORT, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except OSError:
            return None
        finally:
            connection.close()

    def counts(self) -> dict[str, Any]:
        """``/v1/windows``."""
        found: dict[str, Any] = json.loads(self.page("/v1/windows") or "{}")
        return found

    def _alive(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        return True


@dataclass
class Outcome:
    """What a client saw: how many of its requests failed, and how many seconds each took."""

    failed: int = 0
    seconds: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share of the requests was answered."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))] * 1000


@dataclass
class ObserverStage:
    """Router, observer and both revisions."""

    router: Router
    observer: ObserverProcess
    servers: dict[str, LabelServer]
    telemetry: EnvoyTelemetry = field(default_factory=EnvoyTelemetry)
    base: dict[str, Any] = field(default_factory=dict)
    """What was counted before the test."""
    usual: bool = True
    """Whether the observer has the usual options and plan."""

    @property
    def hosts(self) -> dict[str, str]:
        """Addresses of the revisions' pods."""
        return {name: server.address for name, server in self.servers.items()}

    def serve(self, route: Route) -> None:
        """Write the route and wait until the router has it."""
        wanted = table(route)
        self.router.write(wanted)

        def served() -> bool:
            (report,) = self.telemetry.reports([self.router.pod], wanted)
            return up_to_date(report, wanted)

        eventually("the router has the whole table", served)

    def http(self, requests: int, size: int = 0, *, binary: bool = False, seed: int = 1, pause: float = 0.0) -> Outcome:
        """Requests by HTTP on one connection, one after the other, about numbers from 0 to 1."""
        chance, outcome = random.Random(seed), Outcome()
        connection = http.client.HTTPConnection(self.router.address, PORT, timeout=10)
        for _ in range(requests):
            body, headers = http_request(chance.random(), size, binary=binary)
            begun = time.monotonic()
            try:
                connection.request("POST", PATH, body, headers)
                answer = connection.getresponse()
                answer.read()
                outcome.failed += answer.status != 200
            except (OSError, http.client.HTTPException):
                outcome.failed += 1
                connection.close()
            outcome.seconds.append(time.monotonic() - begun)
            time.sleep(pause)
        connection.close()
        return outcome

    def grpc(self, requests: int, size: int = 0, *, seed: int = 1, pause: float = 0.0) -> Outcome:
        """The same by gRPC."""
        chance, outcome = random.Random(seed), Outcome()
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"{self.router.address}:{PORT}", options) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            for _ in range(requests):
                begun = time.monotonic()
                try:
                    stub.ModelInfer(grpc_request(chance.random(), size), timeout=10)
                except grpc.RpcError:
                    outcome.failed += 1
                outcome.seconds.append(time.monotonic() - begun)
                time.sleep(pause)
        return outcome

    def fresh_observer(self, *options: str) -> None:
        """A new observer process, at the address of the old one, that the router hands exchanges over to."""
        self.observer.stop(signal.SIGKILL)
        self.observer.watch(watching(), self.hosts)
        self.observer.start(*options)
        self.usual = not options
        self.begin()

    def watch(self, what: Watching) -> None:
        """Another plan; returns once it is followed."""
        self.usual = False
        self.observer.watch(what, self.hosts)
        wanted = watching_version(what)
        eventually("the plan is followed", lambda: self.observer.counts()["plan"] == wanted)

    def begin(self) -> None:
        """Wait until exchanges arrive, and count from here on.

        Each is given time to arrive before the next: one on its way would be counted as the test's own.
        """
        self.serve(sampled_route(100, 100, 0))
        known = self.observer.counts().get("offered")

        def handed_over() -> bool:
            self.http(1)
            until = time.monotonic() + 2
            while self.observer.counts().get("offered") == known:
                if time.monotonic() > until:
                    return False
                time.sleep(0.02)
            return True

        eventually("exchanges arrive", handed_over, 60)
        self.base = {}
        self.base = self.settled()

    def heap(self) -> int:
        """Bytes that the router has allocated."""
        return self.router.stat("server.memory_allocated")

    def settled(self) -> dict[str, Any]:
        """The counts, once everything that was handed over is compared or dropped."""

        def done() -> dict[str, Any] | None:
            found = self.observer.counts()
            handled = sum(p["compared"] for p in found["pairs"])
            dropped = sum(d["count"] for d in found["dropped"] if d["reason"] in HANDED_OVER)
            return found if handled + dropped == sum(found["offered"].values()) else None

        return since(self.base, eventually("everything is compared", done, 60))


def since(base: dict[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
    """What was counted after ``base``; what is 0 is left out."""
    pairs = {(p["answered"], p["replayed"]): p for p in base.get("pairs", [])}
    dropped = {(d["model"], d["reason"]): d["count"] for d in base.get("dropped", [])}
    found: dict[str, Any] = counts | {"pairs": [], "dropped": []}
    for pair in counts["pairs"]:
        old = pairs.get((pair["answered"], pair["replayed"]), {"compared": 0, "agreed": 0})
        new = pair | {key: pair[key] - old[key] for key in ("compared", "agreed")}
        found["pairs"] += [new] if new["compared"] else []
    for drop in counts["dropped"]:
        count = drop["count"] - dropped.get((drop["model"], drop["reason"]), 0)
        found["dropped"] += [drop | {"count": count}] if count else []
    found["offered"] = counts["offered"].get("digits", 0) - base.get("offered", 0)
    return found


HANDED_OVER = ("refused", "alone", "rate", "queue", "unsupported", "decode", "unreachable", "unjudged")
"""Reasons that leave out an exchange that was handed over whole."""


@contextlib.contextmanager
def observer_stage(folder: Path) -> Iterator[ObserverStage]:
    """Everything started, with stable at 100 % and every request sampled."""
    servers = {name: LabelServer(name).start() for name in (STABLE, CANARY)}
    watcher = ObserverProcess(folder)
    hosts = {name: server.address for name, server in servers.items()} | {
        OBSERVER: watcher.address,
        "": watcher.address,
    }
    router = Router(folder, hosts)
    router.write(table(sampled_route(100, 100, 0)))
    stage = ObserverStage(router, watcher, servers)
    try:
        router.start()
        yield stage
    finally:
        router.stop()
        watcher.stop()
        for server in servers.values():
            server.stop()
