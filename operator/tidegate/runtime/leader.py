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
    """Takes the lease, renews it in a thread, and says when it is lost."""

    def __init__(self, lock: Lock, identity: str) -> None:
        self._lock = lock
        self._identity = identity
        self._seen: Sighting | None = None
        self._stop = threading.Event()
        self.lost = threading.Event()

    def acquire(self) -> bool:
        """Wait until this process leads; False when it was told to stop first."""
        log.info("waiting to lead as %s", self._identity)
        while not self._stop.is_set():
            if self._try():
                log.info("leading as %s", self._identity)
                threading.Thread(target=self._renew, name="lease", daemon=True).start()
                return True
            self._stop.wait(RETRY)
        return False

    def release(self) -> None:
        """Stop renewing, and give the lease back so that the next one need not wait for it to run out."""
        self._stop.set()
        try:
            lease = self._lock.read()
            if lease and lease.get("spec", {}).get("holderIdentity") == self._identity:
                self._lock.write(lease, None, DURATION)
        except ApiError as error:
            log.warning("the lease could not be given back and runs out by itself: %s", error)

    def _try(self) -> bool:
        try:
            lease = self._lock.read()
            spec = (lease or {}).get("spec", {})
            mark = (spec.get("holderIdentity", ""), spec.get("renewTime", ""))
            if self._seen is None or self._seen.mark != mark:
                self._seen = Sighting(mark, time.monotonic())
            if not may_take(lease, self._seen, self._identity, time.monotonic()):
                return False
            self._lock.write(lease, self._identity, DURATION)
        except ApiError as error:
            log.info("the lease could not be taken: %s", error)
            return False
        return True

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._stop.wait(RETRY):
            if self._try():
                renewed = time.monotonic()
            elif time.monotonic() - renewed >= RENEW_WITHIN:
                log.error("the lease was lost: it could not be renewed for %.0f s", RENEW_WITHIN)
                self.lost.set()
                return
