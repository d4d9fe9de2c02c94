"""Demand: how much there is, where it goes, and how far it jumped when it was not foreseen.

Rates of different memory, a trend, and *surprises*: times at which a fleet that only follows the forecast would
have been caught. How high demand went then is remembered, as requests a second and as a multiple of the level before.
"""

from dataclasses import dataclass, replace
from math import exp

FAST_SECONDS = 6.0
LEVEL_SECONDS = 40.0
BASE_UP_SECONDS = 400.0
BASE_DOWN_SECONDS = 60.0
TREND_SECONDS = 150.0
JUMP_DEVIATIONS = 4.0
MOST_TREND = 0.25
MOST_RATIO = 5.0
STILL = 0.9
FALLEN = 0.75
MOST_SURPRISES = 12


@dataclass(frozen=True)
class Surprise:
    """Demand rose faster than replicas start: its highest rate, that as a multiple of the level before, and when."""

    time: float
    peak: float
    ratio: float


@dataclass(frozen=True)
class Demand:
    """Rates in requests a second: over 6 s, over 40 s and over 5 min, and the change a second.

    ``level`` begins anew with each jump, as the mean since; ``age`` is how long that is ago, in seconds.
    """

    fast: float = 0.0
    level: float = 0.0
    base: float = 0.0
    slow: float = 0.0
    trend: float = 0.0
    age: float = 0.0

    def after(self, rate: float, seconds: float) -> "Demand":
        """With one more look. A jump that chance does not explain is taken at once, not over the memory of a rate."""
        if not self.age:
            return Demand(rate, rate, rate, rate, 0.0, seconds)
        base = _towards(self.base, self.fast, seconds, BASE_UP_SECONDS if self.fast > self.base else BASE_DOWN_SECONDS)
        fast = _towards(self.fast, rate, seconds, FAST_SECONDS)
        floor = max(self.level, 1 / seconds)
        if rate - self.level > JUMP_DEVIATIONS * (floor / seconds) ** 0.5:
            return Demand(rate, rate, base, rate, 0.0, seconds)
        if abs(fast - self.level) > JUMP_DEVIATIONS * (floor / (2 * FAST_SECONDS)) ** 0.5:
            return Demand(fast, fast, base, fast, 0.0, FAST_SECONDS)
        level = self.level + (rate - self.level) * max(
            1 - exp(-seconds / LEVEL_SECONDS), seconds / (self.age + seconds)
        )
        slow = _towards(self.slow, rate, seconds, TREND_SECONDS)
        trend = _towards(self.trend, (slow - self.slow) / seconds, seconds, TREND_SECONDS)
        return Demand(fast, level, base, slow, trend, self.age + seconds)

    def ahead(self, seconds: float) -> float:
        """The rate to expect some seconds from now. A rise goes on as it did lately; a fall is not counted on."""
        rising = max(self.trend, 0.0) * (seconds + LEVEL_SECONDS)
        return self.level + min(rising, MOST_TREND * self.level)


def _towards(old: float, new: float, seconds: float, memory: float) -> float:
    return old + (new - old) * (1 - exp(-seconds / memory))


def remember(surprises: tuple[Surprise, ...], new: Surprise) -> tuple[Surprise, ...]:
    """With one more surprise. A later and higher one makes an earlier one irrelevant; the oldest are forgotten."""
    kept = tuple(old for old in surprises if old.peak > new.peak or old.ratio > new.ratio)
    return (*kept, new)[-MOST_SURPRISES:]


def continued(surprises: tuple[Surprise, ...], peak: float) -> tuple[Surprise, ...]:
    """The last surprise went higher."""
    last = surprises[-1]
    if peak <= last.peak:
        return surprises
    ratio = last.ratio * peak / last.peak if last.peak else last.ratio
    return remember(surprises[:-1], replace(last, peak=peak, ratio=ratio))


def refreshed(surprises: tuple[Surprise, ...], demand: Demand, time: float) -> tuple[Surprise, ...]:
    """A surprise is as old as the time since demand was last about that high."""
    if not any(demand.level >= STILL * old.peak for old in surprises):
        return surprises
    return tuple(replace(old, time=time) if demand.level >= STILL * old.peak else old for old in surprises)


def left(before: Demand, now: Demand) -> bool:
    """Whether demand fell abruptly: what falls like that may come back like that."""
    return now.age < before.age and now.level < FALLEN * before.level
