"""The gate of a step: what the checks say of the window since the last look, and what they remember.

A window is used once: either it is long enough and has enough requests, and every check sees it, or nobody does and it
grows. Which of the two depends on time and on the number of requests alone, so that the tests stay exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tidegate.api import rollout as api
from tidegate.api.status import CheckStatus, ModelDeploymentStatus
from tidegate.domain.checks.agreement import AgreementCheck
from tidegate.domain.checks.analysis import DEFAULT_CHECKS, Analysis, AnalysisState, Check, look
from tidegate.domain.checks.errors import ErrorCheck
from tidegate.domain.checks.latency import LatencyCheck
from tidegate.domain.checks.queries import QueryCheck
from tidegate.domain.checks.verdict import Finding, Verdict
from tidegate.domain.checks.windows import Window, enough_to_compare

ALPHA = 0.01
"""Highest probability of rolling back an equal canary, over all checks and looks of a rollout."""
DEFAULT_INCREASE_PERCENT = 5.0
DEFAULT_INCREASE_POINTS = 0.1


@dataclass(frozen=True)
class Judged:
    """The outcome of one look at the gate.

    ``looked`` says that the window was used up. ``fresh`` is False when there was no window at all: what was said
    before must not let a step pass then.
    """

    evidence: dict[str, Any] | None
    verdict: Verdict | None
    findings: tuple[Finding, ...] = ()
    looked: bool = False
    fresh: bool = False

    @property
    def failed(self) -> bool:
        return self.verdict is Verdict.FAIL

    @property
    def passes(self) -> bool:
        """True when a step may end."""
        return self.fresh and self.verdict is Verdict.PASS


@dataclass(frozen=True)
class Course:
    """What the requests of the current step can tell: shares in percent, and whether predictions are compared.

    ``counted`` is False where nobody ever counts requests by revision.
    """

    stable_weight: int
    canary_weight: int
    shadow: bool = False
    counted: bool = True


def watched(status: ModelDeploymentStatus) -> tuple[str, str] | None:
    """The revisions whose requests the next look compares: stable and canary; after a promotion, former and new."""
    if status.bake:
        return status.bake.former, status.bake.revision
    if status.stable and status.canary:
        return status.stable.revision, status.canary.revision
    return None


def checks_of(analysis: api.Analysis) -> tuple[Check, ...]:
    """The checks that spec asks for, or the defaults."""
    return DEFAULT_CHECKS if analysis.checks is None else tuple(_check(check) for check in analysis.checks)


def _check(check: api.Check) -> Check:
    if check.percentile is not None:
        relative = check.max_increase_percent
        if relative is None and check.max_milliseconds is None:
            relative = DEFAULT_INCREASE_PERCENT
        return LatencyCheck(
            name=check.name,
            percentile=check.percentile,
            max_milliseconds=check.max_milliseconds,
            max_increase_percent=relative,
        )
    if check.max_percent is not None:
        points = DEFAULT_INCREASE_POINTS if check.max_increase_points is None else check.max_increase_points
        return ErrorCheck(name=check.name, max_percent=check.max_percent, max_increase_points=points)
    if check.prometheus is not None:
        query = check.prometheus
        sustained = query.sustained.total_seconds()
        return QueryCheck(name=check.name, maximum=query.max, minimum=query.min, sustained_seconds=sustained)
    return AgreementCheck(name=check.name, min_agreement_percent=check.min_agreement_percent or 0.0)


def _applies(check: Check, course: Course) -> bool:
    """False for a check that the current step can give no data for: it would hold the rollout for ever."""
    if isinstance(check, AgreementCheck):
        return course.shadow
    if isinstance(check, QueryCheck):
        return True
    if course.canary_weight == 0:
        return False
    if course.stable_weight > 0:
        return True
    # Nothing to compare with: only what has a limit of its own.
    return isinstance(check, ErrorCheck) or check.max_milliseconds is not None


def analysis_for(analysis: api.Analysis, course: Course) -> Analysis:
    """The checks that count in this step; each keeps the share of alpha that it has among all of them."""
    checks = checks_of(analysis)
    if course.shadow and not any(isinstance(check, AgreementCheck) for check in checks):
        checks = (*checks, AgreementCheck())
    counted = tuple(check for check in checks if _applies(check, course))
    share = _tests(counted) / max(_tests(checks), 1)
    return Analysis(checks=counted, min_requests=analysis.min_requests, alpha=ALPHA * share or ALPHA)


def _tests(checks: tuple[Check, ...]) -> int:
    return sum(not isinstance(check, QueryCheck) for check in checks)


def judge(
    spec: api.Analysis,
    evidence: Mapping[str, Any] | None,
    verdict: Verdict | None,
    window: Window | None,
    course: Course,
) -> Judged:
    """One look. ``evidence`` and ``verdict`` are what the last look left."""
    before = dict(evidence) if evidence is not None else None
    if window is None:
        return Judged(before, verdict)
    analysis = analysis_for(spec, course)
    if not analysis.checks:
        return Judged(before, Verdict.PASS, fresh=True)
    if window.seconds < spec.interval.total_seconds():
        return Judged(before, verdict, fresh=True)
    if not _worth_a_look(window, analysis, course):
        quiet = spec.min_requests == 0 and verdict in (None, Verdict.NO_DATA, Verdict.PASS) and _no_requests(window)
        return Judged(before, Verdict.PASS if quiet else verdict, fresh=True)
    state = _state(before)
    found = look(analysis, state, window)
    # Checks that do not count in this step remember on.
    memories = {**state.memories, **found.state.memories}
    wire = replace(found.state, memories=memories).to_wire()
    # A reading that the routers did not give is no beginning for the next window.
    counted = window.canary is not None or course.canary_weight == 0 or not course.counted
    return Judged(wire, found.verdict, found.findings, looked=counted, fresh=True)


def _worth_a_look(window: Window, analysis: Analysis, course: Course) -> bool:
    if any(isinstance(check, QueryCheck) for check in analysis.checks):
        return True
    if course.shadow and course.canary_weight == 0:
        return window.agreement is not None and window.agreement.compared > 0
    if window.stable is None or window.canary is None:
        return True
    if course.stable_weight == 0:
        return window.canary.requests > 0
    return enough_to_compare(window.stable, window.canary)


def _no_requests(window: Window) -> bool:
    return window.canary is not None and window.canary.requests == 0


def _state(evidence: Mapping[str, Any] | None) -> AnalysisState:
    """What the checks remember; what cannot be read, as after a downgrade, is forgotten."""
    try:
        return AnalysisState.from_wire(evidence or {})
    except (ValueError, TypeError, KeyError, AttributeError):
        return AnalysisState()


def at_a_new_step(evidence: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the checks remember when the weight has risen."""
    return _state(evidence).at_a_new_step().to_wire() if evidence else None


def told(findings: tuple[Finding, ...]) -> list[CheckStatus]:
    """The findings for status: three significant digits, which is what they are worth."""
    return [
        CheckStatus(
            check=f.check,
            verdict=f.verdict.value,
            value=_short(f.value),
            limit=_short(f.limit),
            samples=f.samples,
            message=f.message[:4096],
        )
        for f in findings
    ]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
