"""How likely a table of counts is under a worse canary, against how likely it is under an equal one.

Given how many of a window's requests went to each revision, and how many of all of them were bad, it is pure chance
under an equal canary which revision the bad ones fell to: the hypergeometric distribution. Under a canary with other
odds it is Fisher's noncentral hypergeometric distribution. Their ratio is an e-value, exact at any size and whatever
the share of bad requests is or does over time (R. A. Fisher, "The logic of inductive inference", 1935; R. Turner,
A. Ly, P. Gruenwald, "Generic E-variables for exact sequential k-sample tests", 2022).
"""

from math import exp, lgamma, log, log1p, sqrt

_NEGLIGIBLE = 1e-14


def log_ratio(bad: int, drawn: int, all_bad: int, everything: int, odds: float) -> float:
    """Log likelihood ratio of ``bad`` among the canary's ``drawn`` requests, odds ratio ``odds`` against 1.

    ``all_bad`` of the ``everything`` requests of both revisions were bad. Its exponential has expectation 1 when the
    revisions are equal; 0 when the table can say nothing.
    """
    if all_bad in (0, everything) or drawn in (0, everything):
        return 0.0
    return bad * log(odds) - _log_expectation(drawn, all_bad, everything, odds)


def _log_expectation(drawn: int, all_bad: int, everything: int, odds: float) -> float:
    """Log of the hypergeometric expectation of odds^bad, summed outwards from its largest term."""
    lowest, highest = max(0, drawn + all_bad - everything), min(drawn, all_bad)
    good_left = everything - all_bad - drawn
    top = min(max(_mode(drawn, all_bad, everything, odds), lowest), highest)
    total = term = 1.0
    for j in range(top, highest):
        term *= (all_bad - j) * (drawn - j) * odds / ((j + 1) * (good_left + j + 1))
        total += term
        if term < _NEGLIGIBLE * total:
            break
    term = 1.0
    for j in range(top, lowest, -1):
        term *= j * (good_left + j) / ((all_bad - j + 1) * (drawn - j + 1) * odds)
        total += term
        if term < _NEGLIGIBLE * total:
            break
    central = _log_choose(all_bad, top) + _log_choose(everything - all_bad, drawn - top)
    return central - _log_choose(everything, drawn) + top * log(odds) + log(total)


def _mode(drawn: int, all_bad: int, everything: int, odds: float) -> int:
    """The likeliest count, to within one (J. Liao, O. Rosen, "Fast and stable algorithms ...", 2001)."""
    a = odds - 1
    b = (all_bad + drawn + 2) * odds + everything - all_bad - drawn
    c = (all_bad + 1) * (drawn + 1) * odds
    return int(2 * c / (b + sqrt(max(b * b - 4 * a * c, 0.0))))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)) without overflow."""
    high, low = max(a, b), min(a, b)
    return high + log1p(exp(low - high))
