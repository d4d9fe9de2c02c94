"""The bounds around a decision: the fewest and the most replicas, and `behavior` in HPA v2's vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil, floor


class Select(StrEnum):
    """Which policy of several counts: the one that allows the most change, the least, or no change at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True)
class Rule:
    """At most ``value`` pods, or percent of the pods at the period's start, in ``seconds``."""

    value: int
    seconds: float
    percent: bool = False


@dataclass(frozen=True)
class Direction:
    """Rules of one direction. Without rules any change is allowed, unless ``select`` is Disabled.

    ``window`` seconds of former recommendations: down goes to the highest of them, up to the lowest.
    """

    window: float = 0.0
    rules: tuple[Rule, ...] = ()
    select: Select = Select.MAX


@dataclass(frozen=True)
class Limits:
    """Everything that bounds a decision."""

    least: int = 1
    most: int = 1
    up: Direction = field(default_factory=Direction)
    down: Direction = field(default_factory=Direction)


@dataclass(frozen=True)
class Past:
    """What the bounds must remember: recommendations and changes of the size, each as (time, replicas)."""

    recommended: tuple[tuple[float, int], ...] = ()
    sizes: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True)
class Bounded:
    """The size after all bounds; ``by`` names the last bound that changed it, None when none did."""

    replicas: int
    by: str | None
    past: Past


_LONGEST = 3600.0
_MOST = 64


def bound(wish: int, current: int, limits: Limits, past: Past, now: float) -> Bounded:
    """Apply the windows, then the rates, then the fewest and the most."""
    recommended = _recommended(past.recommended, wish, limits, now)
    stable = _stabilised(wish, current, limits, recommended, now)
    by = "Stabilizing" if stable != wish else None
    limited = _limited(stable, current, limits, past.sizes, now)
    by = "RateLimited" if limited != stable else by
    final = min(max(limited, limits.least), limits.most)
    if final != limited:
        by = "AtMaximum" if final < limited else "AtMinimum"
    return Bounded(final, by, Past(recommended, _sizes(past.sizes, final, current, limits, now)))


def _recommended(
    old: tuple[tuple[float, int], ...], wish: int, limits: Limits, now: float
) -> tuple[tuple[float, int], ...]:
    longest = min(max(limits.up.window, limits.down.window), _LONGEST)
    if longest <= 0:
        return ()
    kept = [(time, replicas) for time, replicas in old if now - longest < time <= now]
    # Equal ones in a row are one, at the time of the last: the others cannot decide anything that it does not.
    if len(kept) > 1 and kept[-1][1] == kept[-2][1] == wish:
        kept.pop()
    return (*kept, (now, wish))[-_MOST:]


def _stabilised(wish: int, current: int, limits: Limits, recommended: Sequence[tuple[float, int]], now: float) -> int:
    down = max((r for time, r in recommended if time > now - limits.down.window), default=wish)
    up = min((r for time, r in recommended if time > now - limits.up.window), default=wish)
    if wish < current:
        return min(max(wish, down), current)
    return max(min(wish, up), current)


def _limited(wish: int, current: int, limits: Limits, sizes: Sequence[tuple[float, int]], now: float) -> int:
    direction = limits.up if wish > current else limits.down
    if wish == current:
        return wish
    if direction.select is Select.DISABLED:
        return current
    if not direction.rules:
        return wish
    allowed = [_allowed(rule, current, sizes, now, up=wish > current) for rule in direction.rules]
    widest = (direction.select is Select.MAX) == (wish > current)
    edge = max(allowed) if widest else min(allowed)
    return max(min(wish, edge), current) if wish > current else min(max(wish, edge), current)


def _allowed(rule: Rule, current: int, sizes: Sequence[tuple[float, int]], now: float, *, up: bool) -> int:
    """The farthest size that a rule allows now: counted from the size at the start of its period."""
    start = next((replicas for time, replicas in reversed(sizes) if time <= now - rule.seconds), None)
    within = [replicas for time, replicas in sizes if time > now - rule.seconds]
    if start is None:
        start = within[0] if within else current
    if rule.percent:
        return ceil(start * (1 + rule.value / 100) - 1e-9) if up else floor(start * (1 - rule.value / 100) + 1e-9)
    return start + rule.value if up else start - rule.value


def _sizes(
    old: tuple[tuple[float, int], ...], final: int, current: int, limits: Limits, now: float
) -> tuple[tuple[float, int], ...]:
    rules = (*limits.up.rules, *limits.down.rules)
    if not rules:
        return ()
    longest = max(rule.seconds for rule in rules)
    sizes = old or ((now, current),)
    if sizes[-1][1] != final:
        sizes = (*sizes, (now, final))
    recent = [index for index, (time, _) in enumerate(sizes) if time <= now - longest]
    return sizes[recent[-1] if recent else 0 :][-_MOST:]
