"""What observing costs: ``PYTHONPATH=tests/support python -m tests.observer.observer_figures``, about 5 minutes."""

import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from envoy_stage import CANARY
from observer_stage import ObserverStage, Outcome, observer_stage, sampled_route

REQUESTS = 500
Case = tuple[str, int, Callable[[ObserverStage], None]]


def nothing(stage: ObserverStage) -> None:
    """The observer runs as usual."""


def dead(stage: ObserverStage) -> None:
    """The observer is gone."""
    stage.observer.stop(signal.SIGKILL)


def frozen(stage: ObserverStage) -> None:
    """The observer stands still."""
    stage.observer.send(signal.SIGSTOP)


def slow(stage: ObserverStage) -> None:
    """Each replay takes two seconds."""
    stage.servers[CANARY].delay = 2.0


CASES: list[Case] = [
    ("not sampled", 0, nothing),
    ("5 %", 5, nothing),
    ("100 %", 100, nothing),
    ("100 %, dead", 100, dead),
    ("100 %, frozen", 100, frozen),
    ("100 %, slow replays", 100, slow),
]
LOADS: dict[str, Callable[[ObserverStage], Outcome]] = {
    "HTTP 2 kB": lambda stage: stage.http(REQUESTS, 2_000),
    "HTTP 900 kB": lambda stage: stage.http(REQUESTS // 5, 900_000),
    "gRPC 2 kB": lambda stage: stage.grpc(REQUESTS, 2_000),
    "gRPC 900 kB": lambda stage: stage.grpc(REQUESTS // 5, 900_000),
    "gRPC 8 MB": lambda stage: stage.grpc(REQUESTS // 10, 8_000_000),
}


def main() -> None:
    """Print one line a case."""
    with tempfile.TemporaryDirectory() as folder, observer_stage(Path(folder)) as stage:
        print("| load | case | failed | p50 ms | p99 ms | router heap MB | handed over |")
        print("|---|---|---|---|---|---|---|")
        for load, ask in LOADS.items():
            for name, percent, harm in CASES:
                print(f"| {load} | {name} | {_measured(stage, ask, percent, harm)} |", flush=True)


def _measured(
    stage: ObserverStage, ask: Callable[[ObserverStage], Outcome], percent: int, harm: Callable[[ObserverStage], None]
) -> str:
    stage.servers[CANARY].delay = 0.0
    stage.fresh_observer()
    stage.serve(sampled_route(percent, 100, 0))
    harm(stage)
    outcome = ask(stage)
    heap = stage.heap() / 1e6
    handed = "-"
    if harm in (nothing, slow):
        handed = str(stage.observer.counts()["offered"].get("digits", 0) - stage.base.get("offered", 0))
    count = len(outcome.seconds)
    return (
        f"{outcome.failed} of {count} | {outcome.percentile(0.5):.2f} | {outcome.percentile(0.99):.1f} "
        f"| {heap:.0f} | {handed}"
    )


if __name__ == "__main__":
    main()
