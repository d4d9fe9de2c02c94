"""Promises about the work queue: nothing is worked on twice at once, nothing that happened is missed or hammered."""

import asyncio
import logging
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from tidegate.adapters.errors import Conflict, Unavailable
from tidegate.runtime.queue import FIRST_RETRY, LONGEST_RETRY, WorkQueue


class _Jump(selectors.DefaultSelector):
    """Waits for nothing: the clock jumps to when the next thing is due."""

    loop: "JumpingLoop"

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            self.loop.jumped += timeout
        return found


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while something is done and jumps while nothing is."""

    def __init__(self) -> None:
        self.jumped = 0.0
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.jumped


class Inline(Executor):
    """Does the work at once, on the loop's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Bench:
    """A queue whose work is scripted, on a clock of its own."""

    def __init__(self) -> None:
        self.runs: list[tuple[float, str, str]] = []
        self.outcomes: list[str] = []
        self.answers: dict[str, list[Any]] = {}
        self.during: Callable[[str, str], None] = lambda namespace, name: None
        self.queue = WorkQueue(self.work, Inline(), lambda outcome, seconds: self.outcomes.append(outcome))

    def work(self, namespace: str, name: str) -> timedelta | None:
        self.runs.append((round(self.loop.time(), 3), namespace, name))
        self.during(namespace, name)
        answers = self.answers.get(name, [])
        answer = answers.pop(0) if answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def play(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.loop = JumpingLoop()

        async def main() -> None:
            running = asyncio.create_task(self.queue.run())
            await story()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

        try:
            self.loop.run_until_complete(main())
        finally:
            self.loop.close()

    @property
    def times(self) -> list[float]:
        return [at for at, _, _ in self.runs]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_woken_key_is_worked_on_at_once_and_again_when_it_asked_to(bench: Bench) -> None:
    bench.answers["a"] = [timedelta(seconds=5), timedelta(seconds=60)]

    async def story() -> None:
        bench.queue.wake("n", "a")
        await asyncio.sleep(30)

    bench.play(story)
    assert bench.times == [0, 5]
    assert bench.outcomes == ["ok", "ok"]


def test_a_key_whose_object_is_gone_is_never_worked_on_again(bench: Bench) -> None:
    async def story() -> None:
        bench.queue.wake("n", "a")
        await asyncio.sleep(1_000_000)

    bench.play(story)
    assert bench.times == [0]
    assert bench.queue.depth == 0


def test_many_events_before_a_run_are_one_run(bench: Bench) -> None:
    async def story() -> None:
        for _ in range(100):
            bench.queue.wake("n", "a")
        await asyncio.sleep(10)

    bench.play(story)
    assert len(bench.runs) == 1


def test_an_event_comes_before_what_was_planned(bench: Bench) -> None:
    bench.answers["a"] = [timedelta(seconds=600)]

    async def story() -> None:
        bench.queue.wake("n", "a")
        await asyncio.sleep(7)
        bench.queue.wake("n", "a")
        await asyncio.sleep(2000)

    bench.play(story)
    assert bench.times == [0, 7]


def test_a_later_wish_does_not_put_off_a_sooner_one(bench: Bench) -> None:
    async def story() -> None:
        bench.queue.wake("n", "a", delay=3)
        bench.queue.wake("n", "a", delay=300)
        await asyncio.sleep(10)

    bench.play(story)
    assert bench.times == [3]


def test_what_happens_during_a_run_is_looked_at_right_after_it(bench: Bench) -> None:
    def once(namespace: str, name: str) -> None:
        if len(bench.runs) == 1:
            bench.queue.wake(namespace, name)

    bench.during = once

    async def story() -> None:
        bench.queue.wake("n", "a")
        await asyncio.sleep(1)

    bench.play(story)
    assert bench.times == [0, 0]


def test_a_failing_key_comes_back_later_and_later_and_starts_anew_after_a_success(bench: Bench) -> None:
    bench.answers["a"] = [*(Unavailable("x") for _ in range(12)), timedelta(seconds=1), Unavailable("x")]

    async def story() -> None:
        bench.queue.wake("n", "a")
        await asyncio.sleep(5000)

    bench.play(story)
    waits = [round(b - a, 3) for a, b in zip(bench.times, bench.times[1:], strict=False)]
    doubled = [min(FIRST_RETRY * 2**number, LONGEST_RETRY) for number in range(12)]
    assert waits == pytest.approx([*doubled, 1, FIRST_RETRY], abs=0.002)
    assert bench.outcomes.count("Unavailable") == 13


def test_an_event_for_a_failing_key_is_looked_at_at_once(bench: Bench) -> None:
    bench.answers["a"] = [Unavailable("x") for _ in range(10)]

    async def story() -> None:
        bench.queue.wake("n", "a")
        await asyncio.sleep(110)
        bench.queue.wake("n", "a")
        await asyncio.sleep(0.01)

    bench.play(story)
    assert bench.times[-1] == 110


def test_a_failing_key_does_not_keep_its_neighbours_waiting(bench: Bench) -> None:
    bench.answers["bad"] = [RuntimeError("x") for _ in range(1000)]
    bench.answers["good"] = [timedelta(seconds=1) for _ in range(1000)]

    async def story() -> None:
        bench.queue.wake("n", "bad")
        bench.queue.wake("n", "good")
        await asyncio.sleep(100.5)

    bench.play(story)
    assert sum(name == "good" for _, _, name in bench.runs) == 101


@pytest.mark.parametrize(
    ("error", "level", "traceback"),
    [
        (Conflict("GET x: changed (HTTP 409)"), logging.DEBUG, False),
        (Unavailable("GET x: no answer"), logging.WARNING, False),
        (RuntimeError("bug"), logging.ERROR, True),
    ],
)
def test_a_failure_is_told_as_loudly_as_it_deserves(
    bench: Bench, caplog: pytest.LogCaptureFixture, error: Exception, level: int, traceback: bool
) -> None:
    bench.answers["a"] = [error]

    async def story() -> None:
        bench.queue.wake("n", "a")
        await asyncio.sleep(0.1)

    with caplog.at_level(logging.DEBUG, "tidegate"):
        bench.play(story)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info is not None) == (level, traceback)
    assert "n/a" in record.getMessage()


def test_a_forgotten_key_is_dropped_with_its_failures(bench: Bench) -> None:
    bench.answers["a"] = [Unavailable("x"), Unavailable("x"), Unavailable("x"), Unavailable("x")]

    async def story() -> None:
        bench.queue.wake("n", "a")
        await asyncio.sleep(1)
        bench.queue.forget("n", "a")
        assert bench.queue.depth == 0
        await asyncio.sleep(1000)
        assert bench.times == pytest.approx([0, 0.2, 0.6])
        bench.queue.wake("n", "a")
        await asyncio.sleep(0.25)

    bench.play(story)
    assert bench.times[3:] == [1001, 1001.2]


def test_forgetting_what_nobody_knows_is_no_error(bench: Bench) -> None:
    async def story() -> None:
        bench.queue.forget("n", "a")

    bench.play(story)
    assert bench.runs == []


def test_keys_of_one_namespace_take_turns_and_namespaces_work_side_by_side() -> None:
    """With real threads: every namespace's work waits until all namespaces are at work."""
    namespaces, names = ["a", "b", "c"], ["x", "y", "z"]
    together = threading.Barrier(len(namespaces))
    lock = threading.Lock()
    busy: dict[str, int] = dict.fromkeys(namespaces, 0)
    most: dict[str, int] = dict.fromkeys(namespaces, 0)
    done: list[tuple[str, str]] = []

    def work(namespace: str, name: str) -> None:
        with lock:
            busy[namespace] += 1
            most[namespace] = max(most[namespace], busy[namespace])
        together.wait(10)
        with lock:
            busy[namespace] -= 1
            done.append((namespace, name))

    async def main() -> None:
        with ThreadPoolExecutor(8) as threads:
            all_done = asyncio.Event()
            loop = asyncio.get_running_loop()

            def observe(outcome: str, seconds: float) -> None:
                assert outcome == "ok"
                if len(done) == len(namespaces) * len(names):
                    loop.call_soon(all_done.set)

            queue = WorkQueue(work, threads, observe)
            running = asyncio.create_task(queue.run())
            for name in names:
                for namespace in namespaces:
                    queue.wake(namespace, name)
            await asyncio.wait_for(all_done.wait(), 20)
            running.cancel()

    asyncio.run(main())
    assert most == dict.fromkeys(namespaces, 1)
    assert sorted(done) == sorted((namespace, name) for namespace in namespaces for name in names)


def test_what_is_due_first_is_worked_on_first(bench: Bench) -> None:
    async def story() -> None:
        for delay, name in ((0.3, "c"), (0.1, "a"), (0.2, "b")):
            bench.queue.wake("n", name, delay=delay)
        await asyncio.sleep(1)

    bench.play(story)
    assert [(at, name) for at, _, name in bench.runs] == [(0.1, "a"), (0.2, "b"), (0.3, "c")]
