"""The checks of a rollout over recorded windows: the operator's own functions, a look a window."""

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.domain.checks.analysis import Analysis, AnalysisState, look
from tidegate.domain.checks.verdict import Finding, Verdict
from tidegate.simulation.recording import Recorded


@dataclass(frozen=True)
class Turn:
    """The first look with another verdict: how many seconds after the beginning, at which window and step, and why."""

    seconds: float
    windows: int
    step: int | None
    verdict: Verdict
    findings: tuple[Finding, ...]

    @property
    def decisive(self) -> tuple[Finding, ...]:
        """The findings that the verdict comes from."""
        return tuple(f for f in self.findings if f.verdict == self.verdict)


@dataclass(frozen=True)
class Replay:
    """Every turn, and the last look. A replay ends with a Fail, as the rollout would."""

    turns: tuple[Turn, ...]
    last: Turn


def replay(analysis: Analysis, recorded: Iterable[Recorded]) -> Replay:
    """Judge a recording. Raises ValueError when it holds no window, and what reading it raises."""
    state, turns, last = AnalysisState(), list[Turn](), None
    seconds, step = 0.0, None
    for number, item in enumerate(recorded, start=1):
        if item.step != step and number > 1:
            state = state.at_a_new_step()
        step, seconds = item.step, seconds + item.window.seconds
        seen = look(analysis, state, item.window)
        state = seen.state
        last = Turn(seconds, number, step, seen.verdict, seen.findings)
        if not turns or turns[-1].verdict != last.verdict:
            turns.append(last)
        if last.verdict == Verdict.FAIL:
            break
    if last is None:
        raise ValueError("it holds no window: write one JSON object a line")
    return Replay(tuple(turns), last)
