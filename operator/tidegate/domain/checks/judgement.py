"""From evidence to a verdict: the same rule for every test."""

from dataclasses import dataclass

from tidegate.domain.checks.memory import Memory, Terms
from tidegate.domain.checks.verdict import Finding, Verdict

SUSPICIOUS = 10.0
"""Evidence that holds back a Pass. An equal canary ever meets it in at most one rollout of ten, and only waits."""
STABLE_WEIGHT = 0.8
"""Share of a check's alpha for the comparison with stable when there is an absolute limit as well."""
LARGEST_SHOWN = 1e26


@dataclass(frozen=True)
class Measured:
    """What a check measured, for people, and whether it is beyond an absolute limit right now."""

    check: str
    text: str
    value: float
    limit: float | None
    samples: int
    beyond_limit: bool = False


def combined(stable: float | None, limit: float | None) -> float:
    """The evidence of one check: the weighted mean of two bets is a bet, and loses less than splitting alpha.

    ``stable`` is the evidence of the comparison and ``limit`` that against the absolute limit; None where there is
    no such test.
    """
    if stable is None or limit is None:
        return stable if stable is not None else limit if limit is not None else 1.0
    return STABLE_WEIGHT * stable + (1 - STABLE_WEIGHT) * limit


def judge(memory: Memory, terms: Terms, evidence: float, measured: Measured) -> Finding:
    """Fail on proof, at any number of requests; Pass on enough requests that raise no suspicion."""
    if memory.failed or evidence >= terms.needed:
        verdict, why = Verdict.FAIL, f"{measured.text}; {_odds(evidence)}, {terms.needed:.0f} to 1 is proof"
    elif memory.step_requests < terms.min_requests:
        verdict = Verdict.INCONCLUSIVE
        why = f"{measured.text}; {memory.step_requests} of at least {terms.min_requests} requests in this step so far"
    elif measured.beyond_limit:
        verdict, why = Verdict.INCONCLUSIVE, f"{measured.text}; beyond the limit, but not proven yet"
    elif evidence >= SUSPICIOUS:
        verdict, why = Verdict.INCONCLUSIVE, f"{measured.text}; suspicious: {_odds(evidence)}, not proven yet"
    else:
        verdict, why = Verdict.PASS, measured.text
    return Finding(
        check=measured.check,
        verdict=verdict,
        message=f"{measured.check}: {why}",
        value=measured.value,
        limit=measured.limit,
        samples=measured.samples,
        evidence=min(evidence, LARGEST_SHOWN),
        needed=terms.needed,
    )


def no_data(check: str, memory: Memory, what: str) -> Finding:
    """Nothing was measured. A check that has failed is to be asked before."""
    samples = max(memory.canary.requests, memory.limited.requests)
    return Finding(check=check, verdict=Verdict.NO_DATA, message=f"{check}: {what}", samples=samples)


def _odds(evidence: float) -> str:
    return f"the odds are {min(evidence, LARGEST_SHOWN):,.0f} to 1" if evidence < 1e6 else "the odds are over 10^6 to 1"
