"""The process: taps, replays and views, put together."""

import asyncio
import contextlib
import logging
import random
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from model_observer import plan as plans
from model_observer.asking import Asker
from model_observer.budget import Budget
from model_observer.counters import Counters
from model_observer.replay import Replayer
from model_observer.serve import Views, json_page
from model_observer.tap import Tap

logger = logging.getLogger(__name__)
TAP_PORT, VIEWS_PORT = 18080, 18081
MAX_STREAMS = 256
"""Exchanges that are handed over at the same time; each router sends at most 8."""
CHUNK_BYTES = 16 * 1024 * 1024
"""Largest part of a body that a router may send at once."""


@dataclass(frozen=True)
class Settings:
    """``largest`` bytes of a request or an answer; ``memory`` bytes of all exchanges that are held at once."""

    plan: Path
    host: str = "0.0.0.0"
    tap_port: int = TAP_PORT
    views_port: int = VIEWS_PORT
    largest: int = 1024 * 1024
    memory: int = 64 * 1024 * 1024
    parallel: int = 4
    replay_seconds: float = 5.0


async def run(settings: Settings) -> None:
    """Observe until SIGTERM or SIGINT. Raises OSError when a port is taken."""
    counters = Counters(run=uuid.uuid4().hex)
    budget = Budget(settings.memory)
    asker = Asker(settings.replay_seconds, settings.largest, settings.parallel)
    replayer = Replayer(counters, budget, asker, settings.largest, random.Random())
    views = Views(
        {
            "/v1/windows": json_page(counters.windows),
            "/metrics": lambda: ("text/plain; version=0.0.4", "\n".join(_exposition(counters, budget)) + "\n"),
            "/healthz": lambda: ("text/plain", "ok\n"),
        }
    )
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    tap = await _tap(settings, Tap(replayer, budget, settings.largest))
    listening = await views.start(settings.host, settings.views_port)
    tasks = [asyncio.create_task(plans.follow(settings.plan, replayer.use))]
    tasks += [asyncio.create_task(replayer.work()) for _ in range(settings.parallel)]
    logger.info("observing: routers on port %d, counts on port %d", settings.tap_port, settings.views_port)
    waiting = asyncio.create_task(ended.wait())
    # None of the tasks ends by itself: one that does has failed, and a fresh process is better than half of one.
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    listening.close()
    await tap.stop(grace=1.0)
    for task in (waiting, *tasks):
        task.cancel()
    await asker.close()
    for task in done - {waiting}:
        with contextlib.suppress(asyncio.CancelledError):
            task.result()


async def _tap(settings: Settings, tap: Tap) -> grpc.aio.Server:
    options = [("grpc.max_receive_message_length", CHUNK_BYTES), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(handlers=[tap.handler()], options=options, maximum_concurrent_rpcs=MAX_STREAMS)
    try:
        server.add_insecure_port(f"{settings.host}:{settings.tap_port}")
    except RuntimeError as error:
        raise OSError(f"port {settings.tap_port} cannot be listened on") from error
    await server.start()
    return server


def _exposition(counters: Counters, budget: Budget) -> list[str]:
    return [
        *counters.exposition(),
        "# HELP tidegate_observer_held_bytes Bytes of exchanges that are held right now.",
        "# TYPE tidegate_observer_held_bytes gauge",
        f"tidegate_observer_held_bytes {budget.taken}",
    ]
