"""The canary against an absolute limit: at most such a share of its requests may be bad.

One Bernoulli question serves error shares ("at most 1 %"), latency percentiles ("p95 <= 80 ms" is "at most 5 % of the
requests over 80 ms") and agreement of predictions ("at least 98 % agree"). The test is a mixture of sequential
likelihood ratios (A. Wald, 1945; H. Robbins, 1970) of higher shares against the limit.
"""

from math import log, log1p

ODDS = (1.5, 3.0, 10.0, 60.0)
"""The alternatives: the odds of a bad request are so many times those at the limit."""
WEIGHTS = (1.0, 1.0, 1.0, 1.0)
PROVEN = 100.0


def log_ratios(requests: int, bad: int, limit: float) -> list[float]:
    """Log likelihood ratio for each alternative; ``limit`` is the highest share allowed, 0 to 1.

    The expectation of its exponential is at most 1 for every share up to the limit. A limit of 0 allows none: the
    first bad request is proof.
    """
    if limit <= 0:
        return [PROVEN if bad else 0.0] * len(ODDS)
    return [bad * log(odds) - requests * log1p(min(limit, 1.0) * (odds - 1)) for odds in ODDS]


def log_ratios_below(requests: int, bad: int, share: float) -> list[float]:
    """The other way round: log likelihood ratios of lower shares against ``share``, which is between 0 and 1.

    The expectation of its exponential is at most 1 for every share of at least ``share``.
    """
    return [-bad * log(odds) - requests * log1p(share * (1 / odds - 1)) for odds in ODDS]
