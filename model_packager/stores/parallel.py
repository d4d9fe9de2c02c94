"""Independent transfers side by side, on a fixed number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

PARALLEL = 4


def in_parallel(calls: Iterable[Callable[[], None]]) -> None:
    """Run all calls; raise the first failure, in the order of the calls, without waiting for what is under way."""
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        for done in [pool.submit(call) for call in calls]:
            done.result()
    finally:
        # Not waiting: what was asked for and is no longer wanted must not delay an error or a signal.
        pool.shutdown(wait=False, cancel_futures=True)
