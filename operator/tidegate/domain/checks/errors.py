"""The share of failed requests: against stable over the same window, and against an absolute limit."""

from dataclasses import dataclass, replace

from tidegate.domain.checks import limits
from tidegate.domain.checks.judgement import Measured, combined, judge, no_data
from tidegate.domain.checks.memory import Memory, Tally, Terms
from tidegate.domain.checks.tables import log_ratio
from tidegate.domain.checks.verdict import Finding
from tidegate.domain.checks.windows import Window

ODDS = (4.0, 25.0, 200.0)
"""The alternatives: the canary's odds of failing are so many times stable's."""
WEIGHTS = (1.0, 2.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class ErrorCheck:
    """Fails when the canary is proven to fail more requests than stable, or more than ``max_percent`` of its own.

    ``max_percent`` (0 to 100; None: no absolute limit) holds whatever stable does. A canary that is worse than stable
    by no more than ``max_increase_points`` percentage points, as measured of late, is tolerated, proven or not.
    """

    name: str = "errors"
    max_percent: float | None = 1.0
    max_increase_points: float = 0.1

    def step(self, memory: Memory, window: Window, terms: Terms) -> tuple[Memory, Finding]:
        """One look: the memory after the window, and what the check says."""
        if memory.failed:
            return memory, self._judge(memory, terms)
        stable, canary = window.stable, window.canary
        if stable is None or canary is None:
            return memory, no_data(self.name, memory, "the routers gave no counts for this look")
        if canary.requests == 0:
            return memory, no_data(self.name, memory, "the canary had no requests since the last look")
        drawn, bad = canary.requests, min(canary.errors, canary.requests)
        memory = replace(memory, step_requests=memory.step_requests + drawn, limited=memory.limited.plus(drawn, bad))
        if stable.requests:
            stable_bad = min(stable.errors, stable.requests)
            ratios = [log_ratio(bad, drawn, bad + stable_bad, drawn + stable.requests, odds) for odds in ODDS]
            memory = replace(
                memory,
                canary=memory.canary.plus(drawn, bad),
                stable=memory.stable.plus(stable.requests, stable_bad),
                recent=memory.recent.after(Tally(drawn, bad), Tally(stable.requests, stable_bad)),
                against_stable=memory.against_stable.after(ratios),
            )
        if self.max_percent is not None:
            bet = memory.against_limit.after(limits.log_ratios(drawn, bad, self.max_percent / 100))
            memory = replace(memory, against_limit=bet)
        if self.max_percent is None and not memory.stable.requests:
            return memory, no_data(self.name, memory, "stable had no requests to compare with")
        finding = self._judge(memory, terms)
        return replace(memory, failed=finding.evidence >= terms.needed), finding

    def _judge(self, memory: Memory, terms: Terms) -> Finding:
        stable, limited = memory.stable, memory.limited
        tolerated = memory.recent.excess_points <= self.max_increase_points
        against_stable = 0.0 if tolerated else memory.against_stable.value(WEIGHTS)
        against_limit = None if self.max_percent is None else memory.against_limit.value(limits.WEIGHTS)
        text = f"{limited.percent:.3g} % of the canary's {limited.requests} requests failed"
        text += f", {stable.percent:.3g} % of stable's {stable.requests}" if stable.requests else ""
        text += f", limit {self.max_percent:g} %" if self.max_percent is not None else ""
        measured = Measured(
            check=self.name,
            text=text,
            value=limited.percent,
            limit=self.max_percent,
            samples=limited.requests,
            beyond_limit=self.max_percent is not None and limited.percent > self.max_percent,
        )
        return judge(memory, terms, combined(against_stable, against_limit), measured)
