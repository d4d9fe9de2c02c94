"""A running server process: its log, whether it lives, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from model_packager.errors import ServeFailed
from model_packager.tritonserver import EXIT_TIMEOUT, Launch

STOP_SECONDS: Final = EXIT_TIMEOUT + 10
_REMOVE_SECONDS: Final = 30
_DRAIN_SECONDS: Final = 2
_INTERVAL: Final = 0.1
_TAIL_BYTES: Final = 256 * 1024
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REASONS: Final = (
    re.compile(r"failed to load '[^']+' version \d+: "),
    re.compile(r"Poll failed for model directory '[^']+': "),
    re.compile(r"tritonserver: (?:unrecognized|ambiguous|invalid) "),
)
_NEXT_LINE: Final = re.compile(r"\n(?=[IWEF]\d{4} |\+-|Usage:)")


class ServerProcess:
    """A started server. Its log is copied to standard error; :meth:`stop` must be called."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._tail = bytearray()
        try:
            # Ctrl-C in a terminal goes to the group in the foreground: the server must learn of it from us.
            self._process = subprocess.Popen(
                launch.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env={**os.environ, **launch.environment}, process_group=0,
            )  # fmt: skip
        except OSError as error:
            raise ServeFailed(f"{launch.shown} could not be started: {error.strerror}.") from error
        self._reader = threading.Thread(target=self._copy_log, daemon=True)
        self._reader.start()

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Ask until the answer is yes. Raises ServeFailed if the server ends before, or after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._has_ended():
                raise self._failure("ended before the model was ready")
            if time.monotonic() > deadline:
                raise ServeFailed(
                    f"The model was not ready within {seconds:g} s; see the server's log above, or give more --timeout."
                )
            time.sleep(_INTERVAL)

    def wait_for_end(self) -> None:
        """Block while the server runs. Raises ServeFailed when it has ended, because nobody asked it to."""
        while not self._has_ended():
            # Not one wait for all time: a signal that comes in the moment before it would only be heard at its end.
            time.sleep(_INTERVAL)
        raise self._failure("ended by itself")

    def stop(self) -> None:
        """Tell the server to stop, wait for a bounded time, and kill what is left; a second signal kills at once."""
        try:
            deadline = time.monotonic() + STOP_SECONDS
            if not self._has_ended():
                self._process.terminate()
            while not self._has_ended() and time.monotonic() < deadline:
                time.sleep(_INTERVAL)
        finally:
            with held_signals():
                self._kill()

    def _kill(self) -> None:
        # As long as the first process was not reaped, its number names no other group.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(_DRAIN_SECONDS)
        if self._launch.remove:
            with suppress(subprocess.TimeoutExpired, OSError):
                subprocess.run(
                    self._launch.remove, stdin=subprocess.DEVNULL, capture_output=True, timeout=_REMOVE_SECONDS,
                    check=False, process_group=0,
                )  # fmt: skip

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _failure(self, what: str) -> ServeFailed:
        self._reader.join(_DRAIN_SECONDS)
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        code = found.si_status if found else 0
        how = f"exit code {code}" if found and found.si_code == os.CLD_EXITED else f"signal {code}"
        return ServeFailed(f"The server {what} ({how}): {reason(self._tail.decode(errors='replace'))}")

    def _copy_log(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        for line in pipe:
            self._tail += line
            del self._tail[:-_TAIL_BYTES]
            with suppress(OSError, ValueError):  # a server must not stop because nobody reads its log
                sys.stderr.write(line.decode(errors="replace"))
                sys.stderr.flush()


def reason(log: str) -> str:
    """Why the server ended, on one line: the first failure that it names, else the last thing that it said."""
    for pattern in _REASONS:
        if match := pattern.search(log):
            rest = log[match.start() :]
            end = _NEXT_LINE.search(rest)
            return " ".join((rest[: end.start()] if end else rest).replace("\\n", " ").split()).rstrip('"')
    lines = [line.strip() for line in log.splitlines() if line.strip() and line[0] not in "+|"]
    return lines[-1] if lines else "it said nothing."


@contextmanager
def held_signals() -> Iterator[None]:
    """Hold back the signals that end a program until the body is done."""
    waiting: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        waiting.append(number)

    before = {number: signal.signal(number, hold) for number in _SIGNALS if callable(signal.getsignal(number))}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for came in waiting:
            signal.raise_signal(came)
