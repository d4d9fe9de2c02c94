"""All checks of a rollout: one error probability for all of them, one step a look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.domain.checks.agreement import AgreementCheck
from tidegate.domain.checks.errors import ErrorCheck
from tidegate.domain.checks.latency import LatencyCheck
from tidegate.domain.checks.memory import Memory, Terms
from tidegate.domain.checks.queries import QueryCheck
from tidegate.domain.checks.verdict import Finding, Verdict, overall
from tidegate.domain.checks.windows import Window

Check = ErrorCheck | LatencyCheck | AgreementCheck | QueryCheck
DEFAULT_CHECKS: tuple[Check, ...] = (ErrorCheck(), LatencyCheck())


@dataclass(frozen=True)
class Analysis:
    """What is checked during a rollout.

    ``alpha`` is the highest probability of rolling back a canary that is equal to stable and within the limits, over
    all looks of all steps and all checks together; the tests among the checks share it equally. Names of checks are
    unique (ValueError). ``min_requests`` of the canary in a step hold back its Pass, never a Fail.
    """

    checks: tuple[Check, ...] = DEFAULT_CHECKS
    min_requests: int = 100
    alpha: float = 0.01

    def __post_init__(self) -> None:
        names = [check.name for check in self.checks]
        if len(set(names)) != len(names):
            raise ValueError(f"two checks have one name: {', '.join(sorted(names))}; give each a name of its own")

    def terms(self) -> Terms:
        """What every check is told."""
        tests = sum(not isinstance(check, QueryCheck) for check in self.checks)
        return Terms(alpha=self.alpha / max(tests, 1), min_requests=self.min_requests)


@dataclass(frozen=True)
class AnalysisState:
    """The memory of every check, by name. A new rollout begins with an empty one."""

    memories: Mapping[str, Memory] = field(default_factory=dict)

    def at_a_new_step(self) -> "AnalysisState":
        """To be called when the canary's weight has risen."""
        return AnalysisState({name: memory.at_a_new_step() for name, memory in self.memories.items()})

    def to_wire(self) -> dict[str, Any]:
        """JSON for a status."""
        return {name: memory.to_wire() for name, memory in self.memories.items()}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "AnalysisState":
        """The state that ``to_wire`` wrote. Raises ValueError, TypeError or KeyError for anything else."""
        return cls({name: Memory.from_wire(memory) for name, memory in wire.items()})


@dataclass(frozen=True)
class Look:
    """The outcome of one look: what to remember, and the verdict with the finding of each check."""

    state: AnalysisState
    verdict: Verdict
    findings: tuple[Finding, ...]


def look(analysis: Analysis, state: AnalysisState, window: Window) -> Look:
    """Judge one more window. Total: any window gives a verdict, and a check that has failed stays failed."""
    terms = analysis.terms()
    steps = {c.name: c.step(state.memories.get(c.name, Memory()), window, terms) for c in analysis.checks}
    findings = tuple(finding for _, finding in steps.values())
    memories = {name: memory for name, (memory, _) in steps.items()}
    return Look(AnalysisState(memories), overall(findings), findings)
