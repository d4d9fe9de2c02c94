"""Leader election by a Lease: one operator acts, the others wait. Kopf's peering is no lease: equals pause each other.

The official client has an elector, but it cannot be stopped, does not give the lease back, and waits without limit for
an answer; a hand-over on every upgrade would then take a whole lease duration.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

from tidegate.adapters.errors import ApiError

log = logging.getLogger(__name__)
DURATION = 15
RENEW_WITHIN = 10.0
RETRY = 2.0


class Lock(Protocol):
    """Where the lease is kept."""

    def read(self) -> dict[str, Any] | None: ...

    def write(self, existing: dict[str, Any] | None, holder: str | None, duration: int) -> None: ...


@dataclass(frozen=True)
class Sighting:
    """A lease as last seen to change, by the holder's renewals, and when on our own clock."""

    mark: tuple[str, str]
    at: float


def may_take(lease: dict[str, Any] | None, seen: Sighting | None, identity: str, now: float) -> bool:
    """True when nobody holds the lease, we do, or its holder has not renewed it for its duration on our clock.

    The holder's clock is never compared with ours: only how long we have seen no renewal counts.
    """
    spec = (lease or {}).get("spec", {})
    holder = spec.get("holderIdentity") or ""
    if holder in ("", identity):
        return True
    return seen is not None and now - seen.at >= spec.get("leaseDurationSeconds", DURATION)


class Elector:
    """Takes the lease, renews it in a thread, and says when it is lost.

    ``lost`` is set no later than ``renew_within`` seconds after the last renewal was asked for, however long the lock
    takes to answer: that is before anybody else may take the lease. ``ended`` is set then too, and on release.
    """

    def __init__(self, lock: Lock, identity: str, *, renew_within: float = RENEW_WITHIN, retry: float = RETRY) -> None:
        self._lock = lock
        self._identity = identity
        self._renew_within = renew_within
        self._retry = retry
        self._seen: Sighting | None = None
        self._renewed = 0.0
        self._refused = False
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self.lost = threading.Event()
        self.ended = threading.Event()

    def acquire(self) -> bool:
        """Wait until this process leads; False when it was told to stop first."""
        log.info("waiting to lead as %s", self._identity)
        while not self._stop.is_set():
            if self._try():
                log.info("leading as %s", self._identity)
                for work in (self._renew, self._watch):
                    threading.Thread(target=work, name="lease", daemon=True).start()
                return True
            self._stop.wait(self._retry)
        return False

    def release(self) -> None:
        """Stop renewing, and give the lease back so that the next one need not wait for it to run out."""
        self._stop.set()
        self.ended.set()
        # A try that is under way would take back what is given up here.
        with self._turn:
            try:
                lease = self._lock.read()
                if lease and lease.get("spec", {}).get("holderIdentity") == self._identity:
                    self._lock.write(lease, None, DURATION)
            except ApiError as error:
                log.warning("the lease could not be given back and runs out by itself: %s", error)

    def _try(self) -> bool:
        with self._turn:
            if self._stop.is_set():
                return False
            asked = time.monotonic()
            self._refused = False
            try:
                lease = self._lock.read()
                self._look(lease)
                if not may_take(lease, self._seen, self._identity, time.monotonic()):
                    self._refused = True
                    return False
                self._lock.write(lease, self._identity, DURATION)
            except ApiError as error:
                log.info("the lease could not be taken: %s", error)
                return False
            # Counted from the question: others may have seen the renewal long before its answer came back.
            self._renewed = asked
            return True

    def _look(self, lease: dict[str, Any] | None) -> None:
        spec = (lease or {}).get("spec", {})
        mark = (spec.get("holderIdentity", ""), spec.get("renewTime", ""))
        if self._seen is None or self._seen.mark != mark:
            self._seen = Sighting(mark, time.monotonic())

    def _renew(self) -> None:
        while not self._stop.wait(self._retry) and not self.lost.is_set():
            if not self._try() and self._refused:
                self._lose("another process has it")

    def _watch(self) -> None:
        while (left := self._renewed + self._renew_within - time.monotonic()) > 0:
            if self._stop.wait(left):
                return
        self._lose(f"it could not be renewed for {self._renew_within:.0f} s")

    def _lose(self, reason: str) -> None:
        log.error("the lease was lost: %s", reason)
        self.lost.set()
        self.ended.set()
