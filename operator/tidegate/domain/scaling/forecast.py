"""Demand: how much there is, where it goes, and whether it just changed abruptly: rates of different memory and a
trend."""

from dataclasses import dataclass
from math import exp

FAST_SECONDS = 6.0
LEVEL_SECONDS = 40.0
BASE_UP_SECONDS = 400.0
BASE_DOWN_SECONDS = 60.0
TREND_SECONDS = 150.0
LOOK_DEVIATIONS = 5.0
FAST_DEVIATIONS = 4.0
"""A change is abrupt beyond so many standard deviations of a Poisson process, in one look and in the fast mean: there
are many looks, and one of them is wrong more easily."""
MOST_TREND = 0.25
FALLEN = 0.75
SETTLED_SECONDS = 10.0
"""Changes that follow each other faster are one change."""


@dataclass(frozen=True)
class Demand:
    """Rates in requests a second: over 6 s, over 40 s and over 5 min, and the change a second.

    ``level`` begins anew with each abrupt change, as the mean since; ``age`` is how long that is ago, in seconds, and
    ``before`` was the level until then. ``turned``: this very look showed the change. The look that shows a jump first
    has seen a part of it only: ``glimpse`` is what it may be, where it would begin in the middle of the look.
    """

    fast: float = 0.0
    level: float = 0.0
    base: float = 0.0
    slow: float = 0.0
    trend: float = 0.0
    age: float = 0.0
    before: float = 0.0
    turned: bool = False
    glimpse: float = 0.0

    def after(self, rate: float, seconds: float) -> "Demand":
        """With one more look. A change that chance does not explain is taken at once, not over the memory of a rate."""
        if not self.age:
            return Demand(rate, rate, rate, rate, 0.0, seconds, rate)
        base = _towards(self.base, self.fast, seconds, BASE_UP_SECONDS if self.fast > self.base else BASE_DOWN_SECONDS)
        fast = _towards(self.fast, rate, seconds, FAST_SECONDS)
        floor = max(self.level, 1 / seconds)
        first = self.age >= SETTLED_SECONDS
        before = self.level if first else self.before
        if abs(rate - self.level) > LOOK_DEVIATIONS * (floor / seconds) ** 0.5:
            glimpse = 2 * rate - before if first and rate > before else 0.0
            return Demand(rate, rate, base, rate, 0.0, seconds, before, True, glimpse)
        if abs(fast - self.level) > FAST_DEVIATIONS * (floor / (2 * FAST_SECONDS)) ** 0.5:
            return Demand(fast, fast, base, fast, 0.0, FAST_SECONDS, before, True)
        level = self.level + (rate - self.level) * max(
            1 - exp(-seconds / LEVEL_SECONDS), seconds / (self.age + seconds)
        )
        slow = _towards(self.slow, rate, seconds, TREND_SECONDS)
        trend = _towards(self.trend, (slow - self.slow) / seconds, seconds, TREND_SECONDS)
        return Demand(fast, level, base, slow, trend, self.age + seconds, self.before)

    def ahead(self, seconds: float) -> float:
        """The rate to expect some seconds from now. A rise goes on as it did lately; a fall is not counted on."""
        rising = max(self.trend, 0.0) * (seconds + LEVEL_SECONDS)
        return self.level + min(rising, MOST_TREND * self.level)


def _towards(old: float, new: float, seconds: float, memory: float) -> float:
    return old + (new - old) * (1 - exp(-seconds / memory))


def fell(before: Demand, now: Demand) -> bool:
    """Whether this look showed an abrupt fall: what falls like that may come back like that."""
    return now.turned and now.level < FALLEN * before.level
