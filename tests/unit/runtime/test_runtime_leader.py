"""Promises about leading: one operator acts at a time, it knows in time that it may not, and hands over at once."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tidegate.adapters.errors import ApiError, Conflict, NotFound, Unavailable
from tidegate.adapters.lease import LeaseLock
from tidegate.runtime.leader import DURATION, RENEW_WITHIN, RETRY, Elector, Sighting, may_take

PATIENCE = 10.0


def lease(holder: str | None, duration: int = 15, renewed: str = "2026-01-01T00:00:00.000000Z") -> dict[str, Any]:
    return {"spec": {"holderIdentity": holder, "leaseDurationSeconds": duration, "renewTime": renewed}}


def seen(at: float) -> Sighting:
    return Sighting(("b", "2026-01-01T00:00:00.000000Z"), at)


@pytest.mark.parametrize(
    ("found", "sighting", "now", "may"),
    [
        (None, None, 0.0, True),
        ({}, None, 0.0, True),
        ({"spec": {}}, None, 0.0, True),
        (lease(""), None, 0.0, True),
        (lease(None), None, 0.0, True),
        (lease("a"), seen(0), 0.0, True),
        (lease("b"), None, 1e9, False),
        (lease("b"), seen(100.0), 100.0, False),
        (lease("b"), seen(100.0), 114.9, False),
        (lease("b"), seen(100.0), 115.0, True),
        (lease("b", duration=60), seen(100.0), 115.0, False),
        (lease("b", duration=60), seen(100.0), 160.0, True),
        ({"spec": {"holderIdentity": "b"}}, seen(100.0), 100.0 + DURATION, True),
        # The holder's clock is years behind or ahead: only how long no renewal was seen counts.
        (lease("b", renewed="1970-01-01T00:00:00Z"), seen(100.0), 101.0, False),
        (lease("b", renewed="2999-01-01T00:00:00Z"), seen(100.0), 115.0, True),
    ],
)
def test_who_may_take_the_lease(found: dict[str, Any] | None, sighting: Sighting | None, now: float, may: bool) -> None:
    assert may_take(found, sighting, "a", now) is may


def test_a_leader_gives_up_well_before_anybody_else_may_take_over() -> None:
    assert RENEW_WITHIN + RETRY < DURATION


class MemoryLock:
    """A lease in memory, with the version check that the API server makes; ``before`` may fail or wait."""

    def __init__(self, content: dict[str, Any] | None = None) -> None:
        self.lease = content
        self.version = 0
        self.before: Callable[[str], None] = lambda verb: None
        self.writes: list[str | None] = []

    def read(self) -> dict[str, Any] | None:
        self.before("read")
        return None if self.lease is None else self.lease | {"version": self.version}

    def write(self, existing: dict[str, Any] | None, holder: str | None, duration: int) -> None:
        self.before("write")
        if (existing or {"version": self.version})["version"] != self.version:
            raise Conflict("somebody was quicker")
        self.version += 1
        self.writes.append(holder)
        self.lease = lease(holder, duration, renewed=str(self.version))

    @property
    def holder(self) -> str | None:
        found: str | None = (self.lease or {}).get("spec", {}).get("holderIdentity")
        return found


SOON = 0.3
"""Seconds for tests in which the lease is lost. In all others a process that stands still for so long keeps it."""


def elector(lock: MemoryLock, name: str = "a", *, within: float = 60) -> Elector:
    return Elector(lock, name, renew_within=within, retry=0.02)


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.005)


def fail(*verbs: str) -> Callable[[str], None]:
    def before(verb: str) -> None:
        if verb in verbs:
            raise Unavailable(f"{verb}: no answer")

    return before


def test_the_first_takes_the_lease_and_keeps_renewing_it() -> None:
    lock = MemoryLock()
    leader = elector(lock)
    assert leader.acquire()
    eventually(lambda: len(lock.writes) >= 4)
    assert set(lock.writes) == {"a"}
    assert not leader.lost.is_set()
    leader.release()


def test_a_second_waits_while_the_first_renews_and_takes_over_at_once_when_it_gives_the_lease_back() -> None:
    lock = MemoryLock()
    first, second = elector(lock, "a"), elector(lock, "b")
    assert first.acquire()
    waiting = threading.Thread(target=second.acquire, daemon=True)
    waiting.start()
    eventually(lambda: len(lock.writes) >= 5)
    assert waiting.is_alive()
    assert "b" not in lock.writes
    first.release()
    waiting.join(PATIENCE)
    assert lock.holder == "b"
    second.release()


@pytest.mark.parametrize("verb", ["read", "write"])
def test_a_leader_that_cannot_renew_knows_it_in_time(verb: str) -> None:
    lock = MemoryLock()
    leader = elector(lock, within=SOON)
    assert leader.acquire()
    lock.before = fail(verb)
    failing = time.monotonic()
    assert leader.lost.wait(PATIENCE)
    assert time.monotonic() - failing < 2
    assert leader.ended.is_set()


@pytest.mark.parametrize("verb", ["read", "write"])
def test_a_leader_whose_question_is_never_answered_knows_it_in_time_too(verb: str) -> None:
    lock, over = MemoryLock(), threading.Event()
    leader = elector(lock, within=SOON)
    assert leader.acquire()

    def before(asked: str) -> None:
        if asked == verb:
            over.wait(PATIENCE)

    lock.before = before
    hanging = time.monotonic()
    assert leader.lost.wait(PATIENCE)
    assert time.monotonic() - hanging < 2
    over.set()


def test_a_renewal_counts_from_when_it_was_asked_not_from_when_it_was_answered() -> None:
    lock = MemoryLock()
    leader = elector(lock, within=SOON)
    assert leader.acquire()
    written = threading.Event()
    answered = threading.Event()
    write = lock.write

    def slow(existing: dict[str, Any] | None, holder: str | None, duration: int) -> None:
        write(existing, holder, duration)
        written.set()
        answered.wait(PATIENCE)

    lock.write = slow  # type: ignore[method-assign]
    assert written.wait(PATIENCE)
    asked = time.monotonic()
    assert leader.lost.wait(PATIENCE), "others count from the write: it must not lead until the answer"
    assert time.monotonic() - asked < 2
    answered.set()


def test_short_trouble_is_no_loss() -> None:
    lock, tries = MemoryLock(), [0]
    leader = elector(lock)
    assert leader.acquire()

    def trouble(verb: str) -> None:
        tries[0] += 1
        raise Unavailable("no answer")

    lock.before = trouble
    eventually(lambda: tries[0] >= 3)
    renewed = len(lock.writes)
    lock.before = lambda verb: None
    eventually(lambda: len(lock.writes) > renewed + 2)
    assert not leader.lost.is_set()
    leader.release()


def test_a_lease_that_another_one_holds_after_all_is_lost_at_once() -> None:
    lock = MemoryLock()
    leader = elector(lock)
    assert leader.acquire()
    lock.lease, lock.version = lease("b"), lock.version + 1
    assert leader.lost.wait(PATIENCE)
    leader.release()
    assert lock.holder == "b"


def test_a_lease_is_given_back_only_by_its_holder() -> None:
    lock = MemoryLock(lease("b"))
    elector(lock).release()
    assert (lock.holder, lock.writes) == ("b", [])


def test_a_lease_that_cannot_be_given_back_runs_out_by_itself() -> None:
    lock = MemoryLock()
    leader = elector(lock)
    assert leader.acquire()
    lock.before = fail("read")
    leader.release()
    assert leader.ended.is_set()


def test_nothing_takes_the_lease_after_it_was_given_back() -> None:
    lock = MemoryLock()
    leader = elector(lock)
    assert leader.acquire()
    eventually(lambda: len(lock.writes) >= 3)
    leader.release()
    count = len(lock.writes)
    assert lock.writes[-1] is None
    assert not leader.acquire()
    assert len(lock.writes) == count
    assert not leader.lost.is_set(), "given back is not lost"


def test_waiting_ends_when_it_is_told_to_and_leaves_the_lease_alone() -> None:
    lock = MemoryLock(lease("b"))
    waiter = elector(lock)
    result: list[bool] = []
    waiting = threading.Thread(target=lambda: result.append(waiter.acquire()), daemon=True)
    waiting.start()
    waiter.release()
    waiting.join(PATIENCE)
    assert (result, lock.holder) == ([False], "b")


class FakeApi:
    """An API server with at most one Lease."""

    def __init__(self, content: dict[str, Any] | None = None) -> None:
        self.content = content
        self.sent: list[tuple[str, str, Any]] = []

    def request(self, method: str, path: str, *, content_type: str = "", body: Any = None) -> dict[str, Any]:
        self.sent.append((method, path, body))
        if method == "GET" and self.content is None:
            raise NotFound("none")
        return self.content or {}


FOLDER = "/apis/coordination.k8s.io/v1/namespaces/tidegate-system/leases"


def lock_on(api: FakeApi) -> LeaseLock:
    return LeaseLock(api, "tidegate-system", "tidegate-operator")  # type: ignore[arg-type]


def test_the_first_lease_is_created_so_that_only_one_can_win() -> None:
    api = FakeApi()
    lock = lock_on(api)
    assert lock.read() is None
    lock.write(None, "a", 15)
    method, path, body = api.sent[-1]
    assert (method, path) == ("POST", FOLDER)
    assert body["metadata"] == {"name": "tidegate-operator"}
    assert body["spec"].items() >= {"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 1}.items()


def existing(holder: str) -> dict[str, Any]:
    spec = {"holderIdentity": holder, "acquireTime": "then", "renewTime": "then", "leaseTransitions": 4}
    return {"metadata": {"name": "tidegate-operator", "resourceVersion": "7"}, "spec": spec}


@pytest.mark.parametrize(
    ("before", "holder", "transitions", "acquired_before"),
    [("a", "a", 4, True), ("b", "a", 5, False), ("", "a", 5, False), ("a", None, 4, False)],
)
def test_a_write_names_the_version_it_replaces_and_keeps_the_history(
    before: str, holder: str | None, transitions: int, acquired_before: bool
) -> None:
    api = FakeApi(existing(before))
    lock = lock_on(api)
    lock.write(lock.read(), holder, 15)
    method, path, body = api.sent[-1]
    assert (method, path) == ("PUT", f"{FOLDER}/tidegate-operator")
    assert body["metadata"]["resourceVersion"] == "7"
    assert body["spec"]["holderIdentity"] == (holder or "")
    assert body["spec"]["leaseTransitions"] == transitions
    assert (body["spec"]["acquireTime"] == "then") is acquired_before
    assert body["spec"]["renewTime"].endswith("Z")


@pytest.mark.parametrize("error", [Unavailable("x"), Conflict("x"), ApiError("x")])
def test_a_candidate_goes_on_trying_whatever_the_api_server_says(error: ApiError) -> None:
    lock = MemoryLock()
    refusals = [error] * 3

    def before(verb: str) -> None:
        if refusals:
            raise refusals.pop()

    lock.before = before
    candidate = elector(lock)
    assert candidate.acquire()
    candidate.release()
