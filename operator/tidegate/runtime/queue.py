"""The work queue: a key is worked on as soon as something happened, and never twice at once.

Keys of one namespace share its router's table, so they are worked on one after another; keys of different namespaces
side by side. A failing key comes back later and later; a waking one at once.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import timedelta

from tidegate.adapters.errors import ApiError, Conflict

log = logging.getLogger(__name__)
Key = tuple[str, str]
FIRST_RETRY = 0.2
LONGEST_RETRY = 60.0
PATIENCE = 4
"""Conflicts in a row that are everyday business; more of them are told."""


class WorkQueue:
    """Runs ``work`` for keys that were woken, at most once at a time for a namespace."""

    def __init__(
        self,
        work: Callable[[str, str], timedelta | None],
        executor: Executor,
        observe: Callable[[str, float], None],
    ) -> None:
        """``work`` runs in ``executor`` and says when to come back, None for a key whose object is gone.

        ``observe`` is told the outcome and the seconds of every run.
        """
        self._work = work
        self._executor = executor
        self._observe = observe
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._busy: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    def wake(self, namespace: str, name: str, *, delay: float = 0.0) -> None:
        """Ask for a key to be worked on in ``delay`` seconds, or sooner if somebody asked for that."""
        due = asyncio.get_running_loop().time() + delay
        key = (namespace, name)
        self._due[key] = min(due, self._due.get(key, due))
        self._changed.set()

    @property
    def depth(self) -> int:
        """Keys that wait, due or not."""
        return len(self._due)

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            now = loop.time()
            for key, due in sorted(self._due.items(), key=lambda item: item[1]):
                if due <= now and key[0] not in self._busy:
                    self._start(key)
            waiting = [due for key, due in self._due.items() if key[0] not in self._busy]
            timeout = max(min(waiting) - loop.time(), 0) if waiting else None
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except TimeoutError:
                continue

    def _start(self, key: Key) -> None:
        del self._due[key]
        self._busy.add(key[0])
        task = asyncio.create_task(self._process(key))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _process(self, key: Key) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcome = "ok"
        try:
            again = await loop.run_in_executor(self._executor, self._work, *key)
            self._failures.pop(key, None)
            if again is not None:
                self.wake(*key, delay=again.total_seconds())
        except Exception as error:
            outcome = type(error).__name__
            self._failed(key, error)
        finally:
            self._observe(outcome, loop.time() - started)
            self._busy.discard(key[0])
            self._changed.set()

    def _failed(self, key: Key, error: Exception) -> None:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(FIRST_RETRY * 2.0 ** min(count, 20), LONGEST_RETRY)
        name = "/".join(key)
        if isinstance(error, Conflict) and count < PATIENCE:
            log.debug("%s changed meanwhile, looked at again in %.1f s: %s", name, delay, error)
        elif isinstance(error, ApiError):
            log.warning("%s is tried again in %.1f s: %s", name, delay, error)
        else:
            log.exception("%s failed for a reason nobody thought of; tried again in %.1f s", name, delay)
        self.wake(*key, delay=delay)

    def forget(self, namespace: str, name: str) -> None:
        """Drop a key whose object is gone."""
        self._due.pop((namespace, name), None)
        self._failures.pop((namespace, name), None)
