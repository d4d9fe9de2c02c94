"""What is possible: the cheapest fleet with the future known, and the best without it.

The fewest replicas R[t] of each second are those with which no request of it waits longer than the model's patience,
given what the second before has left over. A layer is the k-th replica: needed while R[t] >= k. Between two times of
need it either stays, or goes and starts again at the price of one start-up; layers do not depend on each other, so
the sum over layers is the least cost (replicas cost from their creation on).
"""

import itertools
from dataclasses import dataclass
from math import ceil, exp

import numpy as np
from numpy.typing import NDArray

from tidegate.simulation.model import Model
from tidegate.simulation.run import Look, Scaler

Counts = NDArray[np.int64]


def fewest(arrivals: NDArray[np.float64], model: Model) -> Counts:
    """R[t]: the fewest replicas in each second."""
    seconds = int(arrivals[-1]) + 1 if len(arrivals) else 0
    edges = np.searchsorted(arrivals, np.arange(seconds + 1))
    needed = np.zeros(seconds, dtype=np.int64)
    work_each, left = 1 / model.rate, 0.0
    for second in range(seconds):
        since = arrivals[edges[second] : edges[second + 1]] - second
        count = len(since)
        if not count:
            replicas = ceil(left / (1 + model.patience) - 1e-9)
            left = max(left - replicas, 0.0)
        else:
            # The j-th request is done in time when the work up to it fits into its time and its patience.
            work = left + np.arange(count) * work_each
            replicas = max(ceil(float((work / (since + max(model.patience, 1e-3))).max()) - 1e-9), 1)
            after = (count - np.arange(count)) * work_each - replicas * (1 - since)
            left = max(left + count * work_each - replicas, float(after.max()), 0.0)
        needed[second] = replicas
    return needed


@dataclass(frozen=True)
class Schedule:
    """A fleet over time, second by second: replicas that serve, and the least cost of having them."""

    replicas: Counts
    cost: float


def optimum(needed: Counts, startup: float, initial: int) -> Schedule:
    """The least cost of serving ``needed`` in time; ``initial`` replicas run at the start and need no start-up."""
    cost, serving = 0.0, np.zeros_like(needed)
    for layer in range(1, int(needed.max(initial=0)) + 1):
        busy = np.flatnonzero(needed >= layer)
        serving[busy] += 1
        cost += len(busy)
        gaps = [(int(a) + 1, int(b)) for a, b in itertools.pairwise(busy) if b > a + 1]
        first = int(busy[0])
        if layer <= initial:
            gaps.append((0, first))
        else:
            cost += min(startup, first) if first < startup else startup
        for start, end in gaps:
            if end - start <= startup:
                serving[start:end] += 1
            cost += min(end - start, startup)
    return Schedule(serving, cost)


class Replay:
    """Plays a schedule: wants at each second what serves one start-up time later, or ``behind`` as a reactive law."""

    interval = 1.0

    def __init__(self, schedule: Counts, startup: float, name: str, *, ahead: bool = True) -> None:
        self.name = name
        self._schedule = schedule
        self._ahead = ceil(startup) if ahead else 0

    def desired(self, look: Look) -> int:
        """The schedule's next values: what is needed until a replica that starts now is ready, at least."""
        now = round(look.now)
        return int(self._schedule[now : now + self._ahead + 2].max(initial=1))


def reactive(needed: Counts, startup: float) -> Scaler:
    """The reactive bound: it knows the present perfectly and nothing of the future, and its capacity comes one start-up
    later. It keeps what was needed within the last start-up time, as stopping and starting again costs more."""
    span = ceil(startup) + 1
    padded = np.concatenate([np.full(span - 1, needed[0]), needed])
    recent = np.lib.stride_tricks.sliding_window_view(padded, span).max(axis=1)
    return Replay(recent, 0.0, "reactive bound", ahead=False)


def hindsight(arrivals: NDArray[np.float64], model: Model, most: int, late_price: float) -> int:
    """The fixed number of replicas with the lowest price, by a fluid queue second by second."""
    counts = np.bincount(arrivals.astype(np.int64))

    def price(replicas: int) -> float:
        per_second, late, queue = replicas * model.rate, 0.0, 0.0
        longest = min(model.queue_timeout * per_second, float(model.queue_size * replicas))
        for count in counts:
            # Chance queues come on top of those that the fluid sees.
            spare = (replicas - count / model.rate) * (model.patience - queue / per_second)
            late += count if queue > per_second * model.patience else count * exp(-1.6 * max(spare, 0.0) * model.rate)
            queue = min(max(queue + count - per_second, 0.0), longest)
        return replicas * len(counts) + late_price * late / model.rate

    return min(range(1, most + 1), key=price)
