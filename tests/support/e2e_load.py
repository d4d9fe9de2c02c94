"""A running load and what became of its requests."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

PROGRAM = Path(__file__).with_name("e2e_load_process.py")
RATES = {"kept": (90.0, 8), "fresh": (20.0, 1), "rare": (1.0, 3), "grpc": (70.0, 5)}
"""Requests a second and connections, by kind. A rarely used connection waits three seconds between two requests."""


@dataclass(frozen=True)
class Request:
    """One request; ``at`` is when it left, in seconds since the epoch."""

    at: float
    kind: str
    milliseconds: float
    revision: str
    error: str


class Load:
    """A load process; leaving the context stops it and waits for what is under way."""

    def __init__(self, plan: dict[str, object], file: Path) -> None:
        self._plan = {"rates": RATES} | plan
        self._file = file
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Load":
        self._file.write_text("")
        # In a session of its own, so that a kernel that shares by session does not count it to the tests beside it.
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM, self._file], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdin
        self._process.stdin.write(json.dumps(self._plan))
        self._process.stdin.close()
        deadline = time.monotonic() + 60
        while len(self.requests()) < 20:
            assert self._process.poll() is None, "the load process ended before it sent anything"
            assert time.monotonic() < deadline, "no requests were sent within 60 s"
            time.sleep(0.1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._process
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
            raise

    def requests(self) -> list[Request]:
        """Every request that has ended, in the order in which they ended."""
        found = []
        for line in self._file.read_text().splitlines():
            fields = line.split("\t")
            if len(fields) == 5:
                found.append(Request(float(fields[0]), fields[1], float(fields[2]), fields[3], fields[4]))
        return found

    def failures(self) -> list[Request]:
        """Those that went wrong."""
        return [r for r in self.requests() if r.error]

    def shares(self, since: float, until: float) -> Counter[str]:
        """Answers by revision among the requests that left in a span of time."""
        return Counter(r.revision for r in self.requests() if since <= r.at < until and not r.error)

    def summary(self) -> str:
        """Totals for people."""
        requests = self.requests()
        if not requests:
            return "no request"
        kinds = Counter(r.kind for r in requests)
        times = sorted(r.milliseconds for r in requests)
        slowest, p99 = times[-1], times[int(len(times) * 0.99)]
        split = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        failed = len(self.failures())
        return f"{len(requests)} requests ({split}), {failed} failed, p99 {p99:.0f} ms, slowest {slowest:.0f} ms"


@contextmanager
def unharmed(load: Load, say: Callable[[str], None], explain: Callable[[], str]) -> Iterator[Load]:
    """Run a body under load and demand that not one request failed. ``explain`` adds to the failure's message."""
    with load:
        yield load
    say(load.summary())
    failures = load.failures()
    if failures:
        lines = [f"  {r.at:.3f} {r.kind} after {r.milliseconds:.0f} ms: {r.error}" for r in failures[:20]]
        raise AssertionError("\n".join([load.summary(), *lines, explain()]))
