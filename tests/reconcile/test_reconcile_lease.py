"""The lease on a real API server: one leads, and the next one takes over at once or after the lease ran out."""

import time
from collections.abc import Iterator
from typing import Any

import cluster_server
import pytest
from cluster_server import eventually
from cluster_stage import Stage

from tidegate.adapters.errors import Conflict
from tidegate.adapters.lease import LeaseLock
from tidegate.runtime.leader import Elector

DURATION = 2
"""Seconds that a lease lasts here."""
TAKEN_WITHIN = 1.0
"""Seconds, far less than the lease lasts."""


class ShortLock(LeaseLock):
    """A lease that runs out soon; a dead process's requests no longer arrive."""

    dead = False

    def write(self, existing: dict[str, Any] | None, holder: str | None, duration: int) -> None:
        if self.dead:
            raise Conflict("nobody is there any more")
        super().write(existing, holder, DURATION)


@pytest.fixture
def locks(stage: Stage) -> tuple[ShortLock, ShortLock]:
    """Two processes' ways to one lease."""
    return ShortLock(stage.client.api(), stage.namespace, "lead"), ShortLock(
        stage.client.api(), stage.namespace, "lead"
    )


@pytest.fixture
def electors(locks: tuple[ShortLock, ShortLock]) -> Iterator[tuple[Elector, Elector]]:
    """The first one leads already, and the second one waits."""
    first, second = (Elector(lock, name, renew_within=1.0, retry=0.1) for lock, name in zip(locks, "ab", strict=True))
    assert first.acquire()
    cluster_server.in_background(second.acquire)
    yield first, second
    for elector in (first, second):
        elector.release()


def holder(stage: Stage) -> str:
    """Who has the lease."""
    return str((ShortLock(stage.api, stage.namespace, "lead").read() or {})["spec"]["holderIdentity"])


@pytest.mark.usefixtures("electors")
def test_only_one_leads_for_as_long_as_it_renews(stage: Stage) -> None:
    until = time.monotonic() + DURATION * 1.5
    seen = set()
    eventually(lambda: seen.add(holder(stage)) or time.monotonic() > until, "the lease would have run out")
    assert seen == {"a"}


def test_a_lease_that_is_given_back_is_taken_at_once(stage: Stage, electors: tuple[Elector, Elector]) -> None:
    electors[0].release()
    eventually(lambda: holder(stage) == "b", "the next one leads", TAKEN_WITHIN)
    assert not electors[0].lost.is_set()


def test_a_dead_leader_is_followed_once_its_lease_ran_out(
    stage: Stage, locks: tuple[ShortLock, ShortLock], electors: tuple[Elector, Elector]
) -> None:
    locks[0].dead = True
    died = time.monotonic()
    eventually(lambda: holder(stage) == "b", "the next one leads", DURATION * 3)
    assert time.monotonic() - died > DURATION - 0.5
    assert electors[0].lost.is_set(), "the old leader knew before the new one led"


def test_of_two_that_take_the_same_lease_one_is_refused(stage: Stage, locks: tuple[ShortLock, ShortLock]) -> None:
    first, second = locks
    first.write(None, "a", DURATION)
    with pytest.raises(Conflict):
        second.write(None, "b", DURATION)
    seen = first.read()
    second.write(second.read(), "b", DURATION)
    with pytest.raises(Conflict):
        first.write(seen, "a", DURATION)
    assert holder(stage) == "b"
