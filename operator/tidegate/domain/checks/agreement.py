"""Whether the canary predicts what stable predicts: a share of compared predictions against a limit."""

from dataclasses import dataclass, replace

from tidegate.domain.checks import limits, noise
from tidegate.domain.checks.judgement import Measured, judge, no_data
from tidegate.domain.checks.memory import Memory, Terms
from tidegate.domain.checks.verdict import Finding
from tidegate.domain.checks.windows import NoiseFloor, Window


@dataclass(frozen=True, kw_only=True)
class AgreementCheck:
    """Fails when it is proven that fewer than ``min_agreement_percent`` of the predictions agree with stable's.

    Where stable is compared with itself as well, the proof must also exclude that this is the noise of the model. One
    that differs from itself in more than 1 % of its predictions may differ that much more from the canary.
    """

    name: str = "predictions"
    min_agreement_percent: float = 98.0

    def step(self, memory: Memory, window: Window, terms: Terms) -> tuple[Memory, Finding]:
        """One look: the memory after the window, and what the check says."""
        if memory.failed:
            return memory, self._judge(memory, terms)
        pairs = window.agreement
        if pairs and pairs.noise:
            memory = _with_noise(memory, pairs.noise)
        if pairs is None or pairs.compared == 0:
            return memory, no_data(self.name, memory, "no predictions were compared since the last look")
        differing = _differing(pairs.compared, pairs.agreed)
        memory = replace(
            memory,
            step_requests=memory.step_requests + pairs.compared,
            limited=memory.limited.plus(pairs.compared, differing),
        )
        if pairs.noise is None:
            ratios = limits.log_ratios(pairs.compared, differing, self._limit)
            memory = replace(memory, against_limit=memory.against_limit.after(ratios))
        else:
            ratios = noise.above_ratios(pairs.compared, differing, self._limit)
            memory = replace(memory, above_noise=memory.above_noise.after(ratios))
        finding = self._judge(memory, terms)
        return replace(memory, failed=finding.evidence >= terms.needed), finding

    @property
    def _limit(self) -> float:
        return 1 - self.min_agreement_percent / 100

    def _evidence(self, memory: Memory) -> float:
        """Of whichever test has seen more: one rollout has a noise floor from its beginning to its end, or none."""
        absolute = memory.against_limit.value(limits.WEIGHTS)
        return noise.value(memory.above_noise, memory.against_noise) if memory.above_noise.logs else absolute

    def _judge(self, memory: Memory, terms: Terms) -> Finding:
        agreed = 100 - memory.limited.percent
        wanted = 100 - 100 * noise.allowed(memory.noise.percent / 100, self._limit)
        text = f"{agreed:.4g} % of {memory.limited.requests} predictions agree with stable's, "
        text += f"at least {wanted:.4g} % should"
        if memory.noise.requests:
            text += f"; stable agrees with itself in {100 - memory.noise.percent:.4g} % of {memory.noise.requests}"
        measured = Measured(
            check=self.name,
            text=text,
            value=agreed,
            limit=wanted,
            samples=memory.limited.requests,
            beyond_limit=agreed < wanted,
        )
        return judge(memory, terms, self._evidence(memory), measured)


def _differing(compared: int, agreed: int) -> int:
    return min(max(compared - agreed, 0), compared)


def _with_noise(memory: Memory, floor: NoiseFloor) -> Memory:
    if not floor.compared:
        return memory
    differing = _differing(floor.compared, floor.agreed)
    ratios = noise.below_ratios(floor.compared, differing)
    return replace(
        memory,
        noise=memory.noise.plus(floor.compared, differing),
        against_noise=memory.against_noise.after(ratios),
    )
