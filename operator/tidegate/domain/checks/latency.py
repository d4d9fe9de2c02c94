"""A latency percentile: against stable over the same window with a margin, and against an absolute limit."""

from dataclasses import dataclass, replace

from tidegate.domain.checks import limits
from tidegate.domain.checks.judgement import Measured, combined, judge, no_data
from tidegate.domain.checks.memory import Memory, Tally, Terms
from tidegate.domain.checks.tails import log_ratios, tail
from tidegate.domain.checks.verdict import Finding
from tidegate.domain.checks.windows import Traffic, Window

SHIFTS = (0.2, 0.35, 0.8)
"""Alternatives for all requests: slower by so many standard deviations."""
TAIL_SHIFTS = (0.4,)
"""Alternatives for the percentile and beyond, whatever the rest does."""
WEIGHTS = (2.0, 4.0, 3.0, 3.0)
MARGIN_PROOF = 5.0
"""Evidence that must speak against "no worse than the margin" before a proven difference counts."""


@dataclass(frozen=True, kw_only=True)
class LatencyCheck:
    """Fails when the canary is proven to be slower than stable and beyond the margin, or beyond the absolute limit.

    ``percentile`` (50 to 99.9) of the canary may be ``max_increase_percent`` above stable's (None: not compared) and
    at most ``max_milliseconds`` (None: no absolute limit). The margin is held against evidence of its own, weaker than
    the proof of the difference: a canary that is slower, but within the margin, is rolled back with a probability of at
    most 1 / ``MARGIN_PROOF``, an equal one with at most alpha.
    """

    name: str = "latency"
    percentile: float = 95.0
    max_milliseconds: float | None = None
    max_increase_percent: float | None = 5.0

    def step(self, memory: Memory, window: Window, terms: Terms) -> tuple[Memory, Finding]:
        """One look: the memory after the window, and what the check says."""
        if memory.failed:
            return memory, self._judge(memory, terms)
        stable, canary = window.stable, window.canary
        if stable is None or canary is None:
            return memory, no_data(self.name, memory, "the routers gave no latencies for this look")
        drawn = canary.latency.total
        if drawn == 0:
            return memory, no_data(self.name, memory, "the canary had no requests since the last look")
        memory = replace(memory, step_requests=memory.step_requests + drawn)
        if self.max_increase_percent is not None and stable.latency.total:
            memory = self._compare(memory, stable, canary)
        if self.max_milliseconds is not None:
            late = canary.latency.above(self.max_milliseconds)
            bet = memory.against_limit.after(limits.log_ratios(drawn, late, 1 - self.percentile / 100))
            memory = replace(memory, limited=memory.limited.plus(drawn, late), against_limit=bet)
        if self.max_milliseconds is None and not memory.stable.requests:
            return memory, no_data(self.name, memory, "stable had no requests to compare with")
        finding = self._judge(memory, terms)
        return replace(memory, failed=finding.evidence >= terms.needed), finding

    def _compare(self, memory: Memory, stable: Traffic, canary: Traffic) -> Memory:
        factor = 1 + (self.max_increase_percent or 0) / 100
        equal = tail(stable.latency, canary.latency, self.percentile, 1)
        scaled = tail(stable.latency, canary.latency, self.percentile, factor) if factor > 1 else equal
        main = scaled.main
        return replace(
            memory,
            canary=memory.canary.plus(scaled.canary, main.canary),
            stable=memory.stable.plus(scaled.everything - scaled.canary, main.everything - main.canary),
            recent=memory.recent.after(
                Tally(scaled.canary, main.canary),
                Tally(scaled.everything - scaled.canary, main.everything - main.canary),
            ),
            against_stable=memory.against_stable.after(log_ratios(equal, SHIFTS, TAIL_SHIFTS)),
            against_margin=memory.against_margin.after(log_ratios(scaled, SHIFTS, TAIL_SHIFTS)),
        )

    def _against_stable(self, memory: Memory) -> float | None:
        """The proof of a difference, worth nothing while the canary may well be within the margin."""
        if self.max_increase_percent is None:
            return None
        beyond = memory.recent.excess_points > 0 and memory.against_margin.value(WEIGHTS) >= MARGIN_PROOF
        return memory.against_stable.value(WEIGHTS) if beyond else 0.0

    def _judge(self, memory: Memory, terms: Terms) -> Finding:
        against_limit = None if self.max_milliseconds is None else memory.against_limit.value(limits.WEIGHTS)
        allowed = 100 - self.percentile
        parts = []
        if memory.stable.requests:
            parts.append(
                f"{memory.canary.percent:.3g} % of the canary's {memory.canary.requests} requests were slower than "
                f"stable's p{self.percentile:g} + {self.max_increase_percent:g} %, {memory.stable.percent:.3g} % of "
                f"stable's {memory.stable.requests} slower than its p{self.percentile:g}"
            )
        if self.max_milliseconds is not None:
            parts.append(
                f"{memory.limited.percent:.3g} % of the canary's {memory.limited.requests} requests took over "
                f"{self.max_milliseconds:g} ms, {allowed:.3g} % may"
            )
        tally = memory.limited if self.max_milliseconds is not None else memory.canary
        measured = Measured(
            check=self.name,
            text="; ".join(parts),
            value=tally.percent,
            limit=allowed,
            samples=tally.requests,
            beyond_limit=self.max_milliseconds is not None and memory.limited.percent > allowed,
        )
        return judge(memory, terms, combined(self._against_stable(memory), against_limit), measured)
