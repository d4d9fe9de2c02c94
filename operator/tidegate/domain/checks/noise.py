"""Whether predictions differ by more than a model differs from itself.

A model need not repeat itself: sampling, dropout that was left in, sums in another order near a tie. Its share of
answers that differ from its own is not known but estimated, and the proof must hold whatever it is. So two bets are
made for each of several levels of noise: one against "the revisions differ by no more than is allowed at that level",
one against "the noise is above that level". Where the canary is within what its noise allows, one of the two claims is
true at each level, so the smaller of the two bets can be expected to win nothing, nor can the mean over the levels.
"""

from collections.abc import Sequence

from tidegate.domain.checks import limits
from tidegate.domain.checks.evidence import Bet

REPEATABLE = 0.01
"""A model that differs from itself in at most this share of its answers is held against the absolute limit."""
LEVELS = (REPEATABLE, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)


def allowed(noise: float, limit: float) -> float:
    """The highest share of predictions that may differ at that share of noise; both 0 to 1.

    Beyond 1 % of noise the limit is what the canary may differ by more than the noise.
    """
    return limit if noise <= REPEATABLE else noise + limit


def above_ratios(compared: int, differing: int, limit: float) -> list[float]:
    """Log likelihood ratios of more than what is allowed, for all levels."""
    levels = [limits.log_ratios(compared, differing, allowed(level, limit)) for level in LEVELS]
    return [ratio for ratios in levels for ratio in ratios]


def below_ratios(compared: int, differing: int) -> list[float]:
    """Log likelihood ratios of less noise than each of the levels."""
    levels = [limits.log_ratios_below(compared, differing, level) for level in LEVELS]
    return [ratio for ratios in levels for ratio in ratios]


def value(above: Bet, against_noise: Bet) -> float:
    """The evidence that the revisions differ by more than is allowed at the true level of noise."""
    smaller = [min(_at(above, i), _at(against_noise, i)) for i in range(len(LEVELS))]
    return sum(smaller) / len(smaller)


def _at(bet: Bet, level: int) -> float:
    width = len(limits.ODDS)
    own: Sequence[float] = bet.logs[level * width : (level + 1) * width]
    return Bet(bet.looks, bet.unplaced, tuple(own)).value(limits.WEIGHTS)
