"""Evidence that grows: a bet against "the canary is no worse" that can be looked at whenever one likes.

Each look multiplies the evidence by the likelihood ratio of its window. Under "no worse" the product is a
supermartingale that starts at 1, so it ever reaches 1/alpha with probability at most alpha (J. Ville, 1939), however
often and whenever one looks. How bad a bad canary is and since when is not known, so the bet is spread: over several
alternatives (mixture SPRT: H. Robbins, 1970; R. Johari et al., "Always valid inference", 2022) and over the looks at
which the canary may turn bad (J. Shin, A. Ramdas, A. Rinaldo, "E-detectors", 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, floor, log

from tidegate.domain.checks.tables import log_add

FROM_THE_START = 0.9
"""Share of the bet on "bad from the first request on"."""
FROM_A_STEP = 0.3
"""Share of what is left that is bet on "bad since the weight rose", at each later step."""
SPREAD_LOOKS = 200
"""What is left of a step's share is placed over its looks, half of it within so many, ever more thinly later."""
HIGHEST = 60.0
DIGITS = 4


@dataclass(frozen=True)
class Bet:
    """Evidence against one claim.

    ``looks`` since the step began, the share of the bet that is ``unplaced`` yet, and the log of the placed evidence
    for each alternative, rounded down.
    """

    looks: int = 0
    unplaced: float = 1.0
    logs: tuple[float, ...] = ()

    def at_a_new_step(self) -> "Bet":
        """The same evidence, with a fresh stake on a canary that turns bad under its new weight."""
        return Bet(0, self.unplaced, self.logs)

    def after(self, log_ratios: Sequence[float]) -> "Bet":
        """The evidence after one more look, given the look's log likelihood ratio for each alternative.

        Evidence for another number of alternatives, as another release of the operator may have left it, is dropped.
        """
        if self.logs and len(self.logs) != len(log_ratios):
            return Bet().after(log_ratios)
        left = _rounded(self.unplaced * (1 - self._stake()), 2 * DIGITS)
        fresh = log(max(self.unplaced - left, _SMALLEST_STAKE))
        before = [log_add(old, fresh) for old in self.logs] if self.logs else [fresh] * len(log_ratios)
        logs = [min(_rounded(old + new, DIGITS), HIGHEST) for old, new in zip(before, log_ratios, strict=True)]
        return Bet(self.looks + 1, left, tuple(logs))

    def value(self, weights: Sequence[float]) -> float:
        """The evidence, at most e^60: the weighted mean over the alternatives, and what is not placed yet."""
        if len(self.logs) != len(weights):
            return 1.0
        placed = sum(weight * exp(value) for weight, value in zip(weights, self.logs, strict=True))
        return placed / sum(weights) + self.unplaced

    def _stake(self) -> float:
        """Share of what is unplaced that goes into the next look."""
        if self.looks:
            return 1 / (self.looks + SPREAD_LOOKS)
        return FROM_A_STEP if self.logs else FROM_THE_START


_SMALLEST_STAKE = 1e-300


def _rounded(value: float, digits: int) -> float:
    """Few digits, and rounded so that the evidence is never overstated."""
    scale = 10.0**digits
    return floor(value * scale) / scale
