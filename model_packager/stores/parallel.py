"""Independent transfers side by side, on a fixed number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

T = TypeVar("T")

PARALLEL: Final = 4
WAIT_SECONDS: Final = 0.5


def result_of(future: Future[T]) -> T:
    """The result of a call in another thread, or its error.

    A signal that arrives between Python's last look for one and the start of a wait does not end that wait. Waits are
    therefore short: the handler runs at the latest when the next one begins.
    """
    while not wait([future], WAIT_SECONDS).done:
        pass
    return future.result()


def in_parallel(calls: Iterable[Callable[[], None]]) -> None:
    """Run all calls; raise the first failure, in the order of the calls, without waiting for what is under way."""
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        for done in [pool.submit(call) for call in calls]:
            result_of(done)
    finally:
        # Not waiting: what was asked for and is no longer wanted must not delay an error or a signal.
        pool.shutdown(wait=False, cancel_futures=True)
