"""A PromQL query against fixed limits. A number of unknown noise is no test: it spends no part of alpha."""

from dataclasses import dataclass, replace
from math import isfinite

from tidegate.domain.checks.judgement import no_data
from tidegate.domain.checks.memory import Memory, Terms
from tidegate.domain.checks.verdict import Finding, Verdict
from tidegate.domain.checks.windows import Window


@dataclass(frozen=True)
class QueryAnswer:
    """What a query gave: one number, which may be NaN or infinite, or None; ``why`` says why it is not a finite one."""

    value: float | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class QueryCheck:
    """Fails when the query's value is beyond ``minimum`` or ``maximum`` for ``sustained_seconds`` without a break.

    No result, NaN and infinity are NoData: they neither pass nor fail, and neither extend nor end a breach.
    """

    name: str
    maximum: float | None = None
    minimum: float | None = None
    sustained_seconds: float = 10.0

    def step(self, memory: Memory, window: Window, terms: Terms) -> tuple[Memory, Finding]:
        """One look; ``terms`` play no part."""
        if memory.failed:
            return memory, self._finding(Verdict.FAIL, memory, None, f"was {self._bounds(beyond=True)} for too long")
        value = window.values.get(self.name)
        if value is None or not isfinite(value):
            why = window.reasons.get(self.name, "the query had no result, or no finite one")
            return memory, no_data(self.name, memory, why)
        memory = replace(memory, limited=memory.limited.plus(1, 0))
        within = (self.maximum is None or value <= self.maximum) and (self.minimum is None or value >= self.minimum)
        if within:
            memory = replace(memory, breached_seconds=0.0)
            return memory, self._finding(Verdict.PASS, memory, value, f"{value:g} is {self._bounds(beyond=False)}")
        breached = round(memory.breached_seconds + window.seconds, 1)
        memory = replace(memory, breached_seconds=breached, failed=breached >= self.sustained_seconds)
        verdict = Verdict.FAIL if memory.failed else Verdict.INCONCLUSIVE
        return memory, self._finding(
            verdict, memory, value, f"{value:g} is {self._bounds(beyond=True)} ({breached:g} s)"
        )

    def _bounds(self, beyond: bool) -> str:
        low, high = ("under", "over") if beyond else ("at least", "at most")
        parts = [(low, self.minimum), (high, self.maximum)]
        return (" or " if beyond else " and ").join(f"{word} {bound:g}" for word, bound in parts if bound is not None)

    def _finding(self, verdict: Verdict, memory: Memory, value: float | None, text: str) -> Finding:
        limit = self.maximum if self.maximum is not None else self.minimum
        samples = memory.limited.requests
        return Finding(self.name, verdict, f"{self.name}: {text}", value=value, limit=limit, samples=samples)
