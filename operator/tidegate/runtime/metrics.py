"""The operator's own metrics and health, on one port."""

import asyncio
import time

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from tidegate.api.autoscaling import ScalingStatus

RECONCILES = Counter("tidegate_reconcile_total", "Reconciles by outcome.", ["result"])
DURATION = Histogram(
    "tidegate_reconcile_duration_seconds",
    "Seconds for one reconcile, from reading the object to writing its status.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LEADER = Gauge("tidegate_leader", "1 while this process leads.")
DEPTH = Gauge("tidegate_workqueue_depth", "Objects that wait for a reconcile, due or not.")
DESIRED = Gauge("tidegate_scaling_desired_replicas", "Pods that autoscaling asks for.", ["namespace", "name"])
INPUT = Gauge(
    "tidegate_scaling_input",
    "A number that the last decision about the size rests on.",
    ["namespace", "name", "input"],
)
REASON = Gauge("tidegate_scaling_reason", "1 for the reason of the last decision.", ["namespace", "name", "reason"])
STUCK_SECONDS = 60.0
_shown: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
"""Reason and inputs that are shown for each model that is sized."""


def observe(outcome: str, seconds: float) -> None:
    """Count one reconcile."""
    RECONCILES.labels(outcome).inc()
    DURATION.observe(seconds)


def sized(namespace: str, name: str, told: ScalingStatus | None) -> None:
    """Show the last decision about a model's size; None where there is none any more."""
    before = _shown.pop((namespace, name), None)
    if before is not None:
        reason, inputs = before
        REASON.remove(namespace, name, reason)
        for each in inputs:
            INPUT.remove(namespace, name, each)
        if told is None:
            DESIRED.remove(namespace, name)
    if told is None:
        return
    _shown[namespace, name] = (told.reason, tuple(item.name for item in told.inputs))
    DESIRED.labels(namespace, name).set(told.desired)
    REASON.labels(namespace, name, told.reason).set(1)
    for item in told.inputs:
        INPUT.labels(namespace, name, item.name).set(item.value)


class Heartbeat:
    """Beats in the event loop: a loop that stands still is seen from outside."""

    def __init__(self) -> None:
        self._beat = time.monotonic()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(1)

    @property
    def alive(self) -> bool:
        """False when the loop has stood still."""
        return time.monotonic() - self._beat < STUCK_SECONDS


async def serve(port: int, heartbeat: Heartbeat) -> web.AppRunner:
    """Serve /metrics, /healthz and /readyz. A process whose watches ended ends itself, so health asks the loop only."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        good = heartbeat.alive
        return web.Response(text="ok\n" if good else "stuck\n", status=200 if good else 500)

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
