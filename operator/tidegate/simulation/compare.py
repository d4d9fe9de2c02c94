"""One row of the comparison: a trace and a model, every policy on it, and the optimum they are held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tidegate.simulation.model import Model
from tidegate.simulation.optimum import fewest, hindsight, optimum, reactive
from tidegate.simulation.ours import Tidegate
from tidegate.simulation.rivals import HorizontalPodAutoscaler, KnativePodAutoscaler, Static
from tidegate.simulation.run import LATE_PRICE, Outcome, Scaler, simulate

INITIAL_SECONDS = 30.0
INITIAL_LOAD = 0.8


@dataclass(frozen=True)
class Score:
    """One policy on one row: ``cost`` over the optimum, ``inside`` in percent, ``price`` with the late requests."""

    policy: str
    cost: float
    inside: float
    price: float
    changes: int

    def better_on_both_axes(self, other: "Score") -> bool:
        """At most the cost and at least the share of ``other``, and not the same."""
        same = self.cost == other.cost and self.inside == other.inside
        return self.cost <= other.cost and self.inside >= other.inside and not same


class Row:
    """A trace with its optimum. Every policy starts with the fleet that the first half minute loads to 80 %."""

    def __init__(self, arrivals: NDArray[np.float64], model: Model, most: int) -> None:
        self.arrivals = arrivals
        self.model = model
        self.most = most
        self.needed = fewest(arrivals, model)
        first = np.searchsorted(arrivals, INITIAL_SECONDS) / INITIAL_SECONDS
        self.initial = max(ceil(first / model.rate / INITIAL_LOAD), 1)
        self.optimum = optimum(self.needed, model.startup, self.initial)

    def play(self, scaler: Scaler) -> Outcome:
        """Run one policy."""
        return simulate(scaler, self.arrivals.tolist(), self.model, replicas=self.initial, most=self.most)

    def score(self, scaler: Scaler) -> Score:
        """Run one policy and hold it against the optimum."""
        return self.judge(self.play(scaler))

    def judge(self, outcome: Outcome) -> Score:
        """Hold a run against the optimum."""
        price = outcome.price(self.model, self.optimum.cost)
        return Score(outcome.policy, outcome.cost / self.optimum.cost, outcome.inside, price, outcome.changes)

    def ours(self, profile_factor: float = 1.0) -> Scaler:
        """Tidegate's policy, with a profile that is right or wrong."""
        return Tidegate.of(self.model, self.most, profile_factor=profile_factor)

    def published(self) -> list[Scaler]:
        """HPA and KPA at 50 and 70 %."""
        slots = self.model.instances * self.model.max_batch
        return [
            HorizontalPodAutoscaler(0.5),
            HorizontalPodAutoscaler(0.7),
            KnativePodAutoscaler(0.5, slots),
            KnativePodAutoscaler(0.7, slots),
        ]

    def bounds(self) -> list[Scaler]:
        """What no operator can know or should pay: fixed fleets, and a perfect view of the present."""
        return [
            Static(int(self.needed.max(initial=1)), "static peak"),
            Static(hindsight(self.arrivals, self.model, self.most, LATE_PRICE), "hindsight static"),
            reactive(self.needed, self.model.startup),
        ]


def best_price(scores: Sequence[Score]) -> float:
    """The lowest price of several policies."""
    return min(score.price for score in scores)
