"""The operator's process: lead, watch, reconcile; end when the lease or the watches are lost, and start anew.

Ending is the normal way out of every lost footing: the next start reads everything again and comes to the same end.
"""

import asyncio
import logging
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import kopf

from tidegate.adapters.api import ApiServer, connect
from tidegate.adapters.envoy import EnvoyTelemetry
from tidegate.adapters.kube import KubeCluster
from tidegate.adapters.lease import LeaseLock
from tidegate.adapters.observer import ObserverTelemetry
from tidegate.adapters.triton import TritonTelemetry
from tidegate.ports import Queries
from tidegate.resources.settings import Settings
from tidegate.runtime.handlers import registry
from tidegate.runtime.leader import Elector
from tidegate.runtime.metrics import DEPTH, LEADER, Heartbeat, observe, serve
from tidegate.runtime.queue import WorkQueue
from tidegate.runtime.reconcile import Reconciler

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How one operator process runs. No namespaces means all of them; metrics port 0 means none.

    ``prometheus`` is what PromQL checks are asked of; None where the installation names none. ``gateway_api`` lets
    models be routed by a Gateway.
    """

    settings: Settings
    namespaces: tuple[str, ...] = ()
    lease_namespace: str = "tidegate-system"
    lease_name: str = "tidegate-operator"
    metrics_port: int = 8080
    workers: int = 8
    prometheus: Queries | None = None
    gateway_api: bool = False


class SystemClock:
    """The time, in UTC."""

    def now(self) -> datetime:
        """The time now."""
        return datetime.now(UTC)


def identity() -> str:
    """A name for this process: its pod's where it has one."""
    return os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"


async def run(options: Options) -> int:
    """Run until told to stop (0) or until the lease or the watches are lost (1)."""
    client = connect(connections=options.workers + 4)
    elector = Elector(LeaseLock(ApiServer(client), options.lease_namespace, options.lease_name), identity())
    api = ApiServer(client, may_write=lambda: not elector.lost.is_set())
    cluster = KubeCluster(api, options.settings.pins, identity(), gateway_api=options.gateway_api)
    reconciler = Reconciler(
        cluster,
        EnvoyTelemetry(),
        SystemClock(),
        options.settings,
        queries=options.prometheus,
        observers=ObserverTelemetry(),
        servers=TritonTelemetry(),
    )
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    heartbeat = Heartbeat()
    try:
        health = await serve(options.metrics_port, heartbeat) if options.metrics_port else None
    except OSError as error:
        log.error("port %d for metrics and health cannot be opened: %s", options.metrics_port, error)
        return 1
    beating = asyncio.create_task(heartbeat.run())
    try:
        leading = asyncio.create_task(asyncio.to_thread(elector.acquire))
        await asyncio.wait({leading, asyncio.create_task(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set() or not leading.result():
            return 0
        LEADER.set(1)
        return await _lead(options, reconciler, elector, stopping)
    finally:
        LEADER.set(0)
        await asyncio.to_thread(elector.release)
        beating.cancel()
        if health:
            await health.cleanup()


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)


async def _lead(options: Options, reconciler: Reconciler, elector: Elector, stopping: asyncio.Event) -> int:
    """Watch and work while the lease is ours."""
    with ThreadPoolExecutor(max_workers=options.workers, thread_name_prefix="reconcile") as threads:
        queue = WorkQueue(reconciler, threads, observe)
        DEPTH.set_function(lambda: queue.depth)
        stop_watching = asyncio.Event()
        tasks = {
            asyncio.create_task(queue.run(), name="queue"),
            asyncio.create_task(_watch(options, queue, stop_watching, stopping), name="watches"),
            asyncio.create_task(asyncio.to_thread(elector.ended.wait), name="lease"),
            asyncio.create_task(stopping.wait(), name="stop"),
        }
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.get_name() == "watches" and not task.exception():
                # Kopf ends without an error only on a signal, which it has got while it started.
                stopping.set()
            if not stopping.is_set():
                log.error("the %s ended: %s", task.get_name(), task.exception() or "nothing else is known")
        elector.ended.set()
        stop_watching.set()
        for task in tasks:
            if task.get_name() != "watches":
                task.cancel()
        await asyncio.wait(tasks, timeout=10)
        return 0 if stopping.is_set() else 1


async def _watch(options: Options, queue: WorkQueue, stop: asyncio.Event, stopping: asyncio.Event) -> None:
    """Kopf's watches; they end by themselves on errors they cannot get over.

    Kopf takes the signals when it starts. They are taken back once it has: it would end only after it has waited in
    vain for tasks that are not its own, and nobody would know that it was told to.
    """
    started = asyncio.get_running_loop().create_future()
    started.add_done_callback(lambda _: _stop_on_signals(stopping))
    await kopf.operator(
        registry=registry(queue),
        settings=kopf.OperatorSettings(),
        namespaces=options.namespaces,
        clusterwide=not options.namespaces,
        standalone=True,
        stop_flag=stop,
        ready_flag=started,
        # Without it Kopf asks for the user's name, which a container's user has not. Its type is a str under a name
        # that Kopf does not export.
        identity=identity(),  # type: ignore[arg-type]
    )


def main(options: Options) -> int:
    """Run the operator in this thread."""
    return asyncio.run(run(options))
