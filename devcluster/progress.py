"""Say what is happening, so that no step is silent for longer than HEARTBEAT_SECONDS."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 15.0


class Progress:
    """Prints steps with their elapsed time to standard error; standard output stays free for answers."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line with the seconds since this object was made."""
        if not self._quiet:
            print(f"[{time.monotonic() - self._start:6.1f}s] {text}", file=sys.stderr, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Announce ``text``, repeat it as a heartbeat while the body runs, and say how long it took."""
        begun = time.monotonic()
        finished = threading.Event()

        def beat() -> None:
            while not finished.wait(HEARTBEAT_SECONDS):
                self.say(f"{text} ... still at it after {time.monotonic() - begun:.0f} s")

        self.say(text)
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
        if time.monotonic() - begun >= 1.0:
            self.say(f"{text}: done in {time.monotonic() - begun:.1f} s")
