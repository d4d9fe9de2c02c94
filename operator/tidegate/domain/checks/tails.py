"""The slow end of two histograms, cut into levels that can be compared exactly.

The cuts are quantiles of both revisions' requests together, so that which requests are above them is known before it
is known whose they are. Level by level from the top ("above the 98th percentile?", "if not, above the 95th?", ...) the
canary's count is hypergeometric under an equal canary, and the product of the levels' likelihood ratios is an e-value.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

from tidegate.domain.checks.tables import log_ratio
from tidegate.domain.checks.windows import Histogram, Ladder

_NORMAL = NormalDist()
BODY = (0.1, 0.25, 0.5, 0.75)
"""Shares above the cuts below the percentile: how the rest of the requests is spread tells of the tail as well."""


@dataclass(frozen=True)
class Cut:
    """How many requests were above one latency: of both revisions, and of the canary alone."""

    everything: int
    canary: int


@dataclass(frozen=True)
class Tail:
    """The cuts of one window, from the slowest on; ``main`` is the one nearest to the percentile asked for."""

    everything: int
    canary: int
    cuts: tuple[Cut, ...]
    main: Cut

    def at_and_beyond(self) -> tuple[Cut, ...]:
        """The cuts from the slowest to the main one."""
        return tuple(cut for cut in self.cuts if cut.everything <= self.main.everything)


def wanted_tails(percentile: float) -> tuple[float, ...]:
    """Shares of the requests above each cut: beyond the percentile, at it, and below it."""
    share = 1 - percentile / 100
    return (0.4 * share, share, *(body for body in BODY if body > 1.5 * share))


def tail(stable: Histogram, canary: Histogram, percentile: float, factor: float) -> Tail:
    """Cut the window; the canary's latencies are divided by ``factor`` first, to compare with stable plus a margin."""
    slow, fast = Ladder.of(canary), Ladder.of(stable)
    drawn, everything = slow.cumulated[-1], slow.cumulated[-1] + fast.cumulated[-1]
    edges = sorted(set(slow.uppers) | set(fast.uppers))

    def cut_at(edge: float) -> Cut:
        own = slow.above(edge * factor)
        return Cut(own + fast.above(edge), own)

    def nearest(share: float) -> Cut:
        wanted = share * everything
        index = bisect_left(edges, -wanted, key=lambda edge: -cut_at(edge).everything)
        found = [cut_at(edge) for edge in edges[max(index - 1, 0) : index + 1]]
        return min(found, key=lambda cut: abs(cut.everything - wanted))

    found = [nearest(share) for share in wanted_tails(percentile)]
    cuts = [found[0], *(new for old, new in pairwise(found) if new.everything > old.everything)]
    proper = tuple(cut for cut in cuts if 0 < cut.everything < everything)
    return Tail(everything, drawn, proper, found[1])


def log_ratio_of_cuts(window: Tail, cuts: Sequence[Cut], shift: float) -> float:
    """Log likelihood ratio of a canary whose (log) latencies are ``shift`` standard deviations higher, level by level.

    The deviation is that of a normal distribution, and gives the odds of each level; the test is exact for latencies
    of any shape, it only is at its strongest for this one.
    """
    total, above, drawn_above, shifted_above = 0.0, 0, 0, 0.0
    for cut in cuts:
        share = cut.everything / window.everything
        shifted = _NORMAL.cdf(_NORMAL.inv_cdf(share) + shift)
        odds = _odds(shifted - shifted_above, 1 - shifted) / _odds(share - above / window.everything, 1 - share)
        total += log_ratio(
            cut.canary - drawn_above,
            window.canary - drawn_above,
            cut.everything - above,
            window.everything - above,
            odds,
        )
        above, drawn_above, shifted_above = cut.everything, cut.canary, shifted
    return total


def log_ratios(window: Tail, shifts: Sequence[float], tail_shifts: Sequence[float]) -> list[float]:
    """Log likelihood ratios: of a shift of all requests, then of a shift at the percentile and beyond alone."""
    tail_cuts = window.at_and_beyond()
    ratios = [log_ratio_of_cuts(window, window.cuts, shift) for shift in shifts]
    return ratios + [log_ratio_of_cuts(window, tail_cuts, shift) for shift in tail_shifts]


def _odds(chance: float, otherwise: float) -> float:
    return max(chance, 1e-12) / max(otherwise, 1e-12)
