"""What was measured between two looks, for one model over all its routers and replicas.

Whoever builds a :class:`Sample` has added the routers' counters and handled their resets (domain/checks/windows.py).
What cannot be true all the same (a negative count, NaN, a clock that jumped) is found here: :func:`fault` names it, and
the policy treats the sample as missing.
"""

from dataclasses import dataclass, field
from math import isfinite

from tidegate.domain.checks.windows import Histogram

LONGEST_SECONDS = 120.0
CLOCK_TOLERANCE_SECONDS = 5.0
MOST_REQUESTS = 1e9


@dataclass(frozen=True)
class Sample:
    """One look. Times are in seconds of one clock; ``time`` is the end of a window that is ``seconds`` long.

    From the routers: ``arrivals`` that came and ``latency`` of those that were answered, in milliseconds; ``failed``
    are those of the arrivals that were refused or got no answer; ``concurrency`` is the mean number of requests in
    flight, ``waiting`` the requests that the router holds because no replica is ready.
    From Triton, None while it cannot be read: ``queue_seconds`` and ``compute_seconds`` are sums over the requests that
    ended, ``executions`` how many batches these were.
    From the cluster: ``ready`` and ``starting`` replicas at the end of the window.
    """

    time: float
    seconds: float
    arrivals: float
    concurrency: float
    ready: int
    starting: int
    latency: Histogram = field(default_factory=Histogram)
    failed: float = 0.0
    waiting: float = 0.0
    queue_seconds: float | None = None
    compute_seconds: float | None = None
    executions: float | None = None

    @property
    def rate(self) -> float:
        """Arrivals a second."""
        return self.arrivals / self.seconds


@dataclass(frozen=True)
class Window:
    """What one decision may look at.

    ``samples`` rise in time; the policy reads those that it has not seen yet, so a missing look is simply absent.
    ``wanted`` is the number of replicas that the workload is told to have now. ``startup_seconds`` is the time from
    wanting a replica until it serves, as measured; None before one was. ``profile_rate`` is what the bundle says that
    one replica serves, in requests a second, None without a profile. ``instances`` are the copies of the model in one
    replica, ``max_batch`` the most requests that one of them computes together.
    """

    samples: tuple[Sample, ...]
    wanted: int
    startup_seconds: float | None = None
    profile_rate: float | None = None
    instances: int = 1
    max_batch: int = 1


def fault(sample: Sample, seen: float | None, now: float) -> str | None:
    """What makes a sample unbelievable, in words; None for a good one. ``seen`` is the time of the last good one."""
    numbers = {
        "time": sample.time,
        "seconds": sample.seconds,
        "arrivals": sample.arrivals,
        "concurrency": sample.concurrency,
        "failed": sample.failed,
        "waiting": sample.waiting,
        "queue seconds": sample.queue_seconds or 0.0,
        "compute seconds": sample.compute_seconds or 0.0,
        "executions": sample.executions or 0.0,
    }
    for name, value in numbers.items():
        if not isfinite(value):
            return f"{name} is not a number"
        if value < 0:
            return f"{name} is negative"
        if name in ("arrivals", "concurrency", "executions") and value > MOST_REQUESTS:
            return f"{name} is beyond belief"
    if sample.ready < 0 or sample.starting < 0:
        return "replicas are negative"
    if not 0 < sample.seconds <= LONGEST_SECONDS:
        return f"a window of {sample.seconds:g} s"
    if sample.time > now + CLOCK_TOLERANCE_SECONDS:
        return "the clock is ahead"
    if seen is not None and sample.time <= seen:
        return "the clock went back"
    return None
