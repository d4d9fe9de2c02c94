"""Calls in other threads: a signal ends the wait for one, whichever thread the system gave it to."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from model_packager.stores.backends import interruptible
from model_packager.stores.parallel import in_parallel

SECONDS = 20.0


class Stopped(Exception):
    """Raised by the handler."""


@pytest.fixture
def handled() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    before = signal.signal(signal.SIGUSR1, stop)
    yield
    signal.signal(signal.SIGUSR1, before)


def _main_thread_waits() -> bool:
    """Whether it is asleep in a wait for the result, and not, for example, for the start of this thread."""
    frame: FrameType | None = sys._current_frames()[threading.main_thread().ident or 0]
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names[0] == "wait" and "result_of" in names


@pytest.mark.parametrize("how", ["interruptible", "in_parallel"])
def test_a_signal_that_does_not_wake_the_main_thread_is_handled_all_the_same(handled: None, how: str) -> None:
    released = threading.Event()
    in_time = []

    def hang() -> None:
        deadline = time.monotonic() + SECONDS
        while not _main_thread_waits() and time.monotonic() < deadline:
            time.sleep(0.001)
        # The handler in C runs in this thread, so the wait of the main thread goes on as if nothing had happened.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        in_time.append(released.wait(SECONDS))

    with pytest.raises(Stopped):
        interruptible(hang) if how == "interruptible" else in_parallel([hang])
    released.set()
    assert in_time in ([], [True])
