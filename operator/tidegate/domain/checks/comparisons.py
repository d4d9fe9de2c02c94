"""What the observers of a namespace have compared, and what of it happened between two looks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tidegate.domain.checks.windows import Agreement, NoiseFloor


@dataclass(frozen=True, order=True)
class Pair:
    """``answered`` is the revision whose answer a client got, ``replayed`` the one that was asked the same again."""

    model: str
    answered: str
    replayed: str


@dataclass(frozen=True)
class Comparisons:
    """What one observer has counted since it started: comparisons, and those that agree, by pair.

    ``run`` names the process, ``plan`` the version of what it watches.
    """

    run: str
    plan: str = ""
    pairs: Mapping[Pair, tuple[int, int]] = field(default_factory=dict)


def agreement(
    before: Mapping[str, Comparisons], after: Mapping[str, Comparisons], model: str, stable: str, canary: str
) -> Agreement | None:
    """What was compared between two readings, by observer; None when no observer is in both.

    An observer that was restarted counts from 0, one that is missing in a reading adds nothing. The noise is stable's
    alone: a canary that does not repeat itself where stable does is no excuse for the canary.
    """
    both = [(before[name], after[name]) for name in sorted(before.keys() & after.keys())]
    if not both:
        return None
    crossed = [Pair(model, stable, canary), Pair(model, canary, stable)]
    return Agreement(*_sum(both, crossed), noise=NoiseFloor(*_sum(both, [Pair(model, stable, stable)])))


def _sum(both: Iterable[tuple[Comparisons, Comparisons]], pairs: Iterable[Pair]) -> tuple[int, int]:
    wanted = list(pairs)
    found = [_since(old, new, pair) for old, new in both for pair in wanted]
    return sum(compared for compared, _ in found), sum(agreed for _, agreed in found)


def _since(old: Comparisons, new: Comparisons, pair: Pair) -> tuple[int, int]:
    now, then = new.pairs.get(pair, (0, 0)), old.pairs.get(pair, (0, 0))
    if old.run != new.run:
        return now
    return now[0] - then[0], now[1] - then[1]
