"""Whether the canary predicts what stable predicts: a share of compared predictions against a limit."""

from dataclasses import dataclass, replace

from tidegate.domain.checks import limits
from tidegate.domain.checks.judgement import Measured, judge, no_data
from tidegate.domain.checks.memory import Memory, Terms
from tidegate.domain.checks.verdict import Finding
from tidegate.domain.checks.windows import Window


@dataclass(frozen=True, kw_only=True)
class AgreementCheck:
    """Fails when it is proven that fewer than ``min_agreement_percent`` of the predictions agree with stable's."""

    name: str = "predictions"
    min_agreement_percent: float = 98.0

    def step(self, memory: Memory, window: Window, terms: Terms) -> tuple[Memory, Finding]:
        """One look: the memory after the window, and what the check says."""
        if memory.failed:
            return memory, self._judge(memory, terms)
        pairs = window.agreement
        if pairs is None or pairs.compared == 0:
            return memory, no_data(self.name, memory, "no predictions were compared since the last look")
        differing = min(max(pairs.compared - pairs.agreed, 0), pairs.compared)
        ratios = limits.log_ratios(pairs.compared, differing, 1 - self.min_agreement_percent / 100)
        memory = replace(
            memory,
            step_requests=memory.step_requests + pairs.compared,
            limited=memory.limited.plus(pairs.compared, differing),
            against_limit=memory.against_limit.after(ratios),
        )
        finding = self._judge(memory, terms)
        return replace(memory, failed=finding.evidence >= terms.needed), finding

    def _judge(self, memory: Memory, terms: Terms) -> Finding:
        agreed = 100 - memory.limited.percent
        measured = Measured(
            check=self.name,
            text=f"{agreed:.4g} % of {memory.limited.requests} predictions agree with stable's, "
            f"at least {self.min_agreement_percent:g} % should",
            value=agreed,
            limit=self.min_agreement_percent,
            samples=memory.limited.requests,
            beyond_limit=agreed < self.min_agreement_percent,
        )
        return judge(memory, terms, memory.against_limit.value(limits.WEIGHTS), measured)
