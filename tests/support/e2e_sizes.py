"""The sizes that a live model had under a load, beside those that the simulator foretells for the same requests."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from e2e_load import Request

from tidegate.simulation.model import Model
from tidegate.simulation.ours import Tidegate
from tidegate.simulation.run import simulate


@dataclass
class Sizes:
    """Pods that were asked for, by the time since the epoch, once a second."""

    asked: list[tuple[float, int]] = field(default_factory=list)

    def between(self, begin: float, end: float) -> list[int]:
        """Those of a span of time."""
        return [size for at, size in self.asked if begin <= at < end]


@contextmanager
def recorded(asked: Callable[[], int]) -> Iterator[Sizes]:
    """Write down the size while the body runs."""
    sizes, stop = Sizes(), threading.Event()

    def watch() -> None:
        while not stop.wait(1):
            sizes.asked.append((time.time(), asked()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sizes
    finally:
        stop.set()
        watcher.join()


@dataclass(frozen=True)
class Course:
    """What became of a load: ``inside`` in percent, ``cost`` in pods asked for on average, ``grown`` in seconds from
    the jump to the first decision for more than one pod."""

    inside: float
    cost: float
    peak: int
    grown: float

    def __str__(self) -> str:
        told = f"{self.inside:.1f} % inside, {self.cost:.2f} pods on average, {self.peak} at most"
        return f"{told}, grown after {self.grown:.0f} s"


def lived(sizes: Sizes, requests: Sequence[Request], jump: float, limit_ms: float) -> Course:
    """What happened to a load that has ended and that jumped at a time since the epoch."""
    inside = 100 * sum(r.milliseconds <= limit_ms and not r.error for r in requests) / len(requests)
    pods = sizes.between(min(r.at for r in requests), max(r.at for r in requests))
    grown = next(at for at, size in sizes.asked if at >= jump and size > 1) - jump
    return Course(inside, sum(pods) / len(pods), max(pods), grown)


def foretold(requests: Sequence[Request], jump: float, model: Model, most: int) -> Course:
    """What the simulator says of the same requests, for a model that begins with one pod."""
    begin, *_ = arrivals = sorted(r.at for r in requests)
    policy = Tidegate.of(model, most)
    outcome = simulate(policy, [at - begin for at in arrivals], model, replicas=1, most=most)
    pods = [moment.wanted for moment in outcome.timeline]
    grown = next(moment.time for moment in outcome.timeline if moment.wanted > 1) - (jump - begin)
    return Course(outcome.inside, sum(pods) / len(pods), max(pods), grown)
