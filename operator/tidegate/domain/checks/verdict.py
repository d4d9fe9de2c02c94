"""What a check says at one look, and how the checks of one look add up."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The four answers of a check.

    ``PASS``: enough requests were judged and nothing speaks against the canary; the rollout may take its next step when
    the hold is over. ``FAIL``: the evidence is there, roll back at once; it never changes any more. ``INCONCLUSIVE``:
    too few requests, or suspicion without proof; the weight stays and the looks go on. ``NO_DATA``: nothing was
    measured; never a reason to step on nor to roll back.
    """

    PASS = "Pass"
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"
    NO_DATA = "NoData"


@dataclass(frozen=True)
class Finding:
    """What one check found at one look.

    ``value`` is what was measured and ``limit`` what it is held against, both in the unit the message names; None when
    there is none. ``samples`` counts the canary's requests (or comparisons, or values) behind it, since the rollout
    began. ``evidence`` is how many times likelier the data are under a worse canary than under an equal one, at most
    10^26; ``needed`` is the evidence at which the check fails; both are 0 for a check that is no test.
    """

    check: str
    verdict: Verdict
    message: str
    value: float | None = None
    limit: float | None = None
    samples: int = 0
    evidence: float = 0.0
    needed: float = 0.0


_RANK = (Verdict.FAIL, Verdict.NO_DATA, Verdict.INCONCLUSIVE, Verdict.PASS)


def overall(findings: Iterable[Finding]) -> Verdict:
    """The verdict of a look: one Fail fails it, and it passes only when every check passes.

    NoData comes before Inconclusive, so that a rollout that cannot be measured says so. Without checks it passes.
    """
    verdicts = {finding.verdict for finding in findings}
    return next((verdict for verdict in _RANK if verdict in verdicts), Verdict.PASS)
