"""Phases: the times between two abrupt changes of demand, and what they say about the next jump.

A jump that comes faster than replicas start can only be met by replicas that are there already. Whether keeping them
is worth it depends on how likely a jump is now. That is learned from the phases that began as the present one did,
with a rise or with a fall: how long they lasted, and to what height demand jumped at their end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

MERGE_RISES_SECONDS = 10.0
MERGE_FALLS_SECONDS = 30.0
"""What follows this soon is the same change: the first look at one sees only a part of it."""
MOST_PHASES = 48
FALL_COUNTS = 0.5
"""What demand fell from may come back: so much of a jump that was seen."""
PRIOR_JUMPS = 1.0
"""How many jumps the chance over all phases counts as, beside those of phases that began as the present one did."""


@dataclass(frozen=True)
class Phase:
    """One that ended. ``rose``: it began with a rise; it lasted ``seconds``. It ended with a jump to ``peak`` requests
    a second, ``ratio`` times the level before, or with a fall: then both are 0."""

    rose: bool
    seconds: float
    peak: float = 0.0
    ratio: float = 0.0


@dataclass(frozen=True)
class Phases:
    """Those that ended, the last one last, and the present one: ``since`` when (None: nothing was seen yet), whether it
    began with a rise, and, where it began with a fall, the rate that demand had ``left``."""

    ended: tuple[Phase, ...] = ()
    since: float | None = None
    rose: bool = False
    left: float = 0.0

    def age(self, time: float) -> float:
        """Seconds of the present phase."""
        return 0.0 if self.since is None else max(time - self.since, 0.0)

    def may_be(self, glimpse: float) -> float:
        """How high a jump is that a look saw only a part of: not higher than what was seen before, if anything was."""
        return min(glimpse, max((phase.peak for phase in self.ended), default=0.0) or glimpse)

    def fell(self, time: float, rate: float) -> "Phases":
        """Demand fell abruptly, from ``rate``."""
        if self.left and self.age(time) < MERGE_FALLS_SECONDS:
            return self
        return Phases(self._with(Phase(self.rose, self.age(time))), time, False, rate)

    def jumped(self, time: float, peak: float, ratio: float) -> "Phases":
        """Demand rose faster than replicas start."""
        if (self.rose or not self.ended) and self.age(time) < MERGE_RISES_SECONDS:
            # Either the same jump, or the first thing that was seen at all.
            return self.higher(peak)
        return Phases(self._with(Phase(self.rose, self.age(time), peak, ratio)), time, True)

    def higher(self, peak: float) -> "Phases":
        """The jump with which the present phase began goes on."""
        last = self.ended[-1] if self.ended else None
        if not self.rose or last is None or not 0 < last.peak < peak:
            return self
        last = replace(last, peak=peak, ratio=last.ratio * peak / last.peak)
        return replace(self, ended=(*self.ended[:-1], last))

    def _with(self, phase: Phase) -> tuple[Phase, ...]:
        return (*self.ended, phase)[-MOST_PHASES:]


@dataclass(frozen=True)
class Risk:
    """A jump that may come: to ``peak`` requests a second or ``ratio`` times the level, for ``seconds``, and ``chance``
    times a second. ``same``: it ended a phase that began as the present one did, so its ratio is to such a level."""

    peak: float
    ratio: float
    seconds: float
    chance: float
    same: bool


def quiet(lengths: Sequence[float]) -> float:
    """Seconds after a change in which nothing happens, given how long phases lasted.

    Phases are taken to end at a constant rate after a time without any change: the shifted exponential distribution,
    whose beginning the shortest and the mean estimate without bias.
    """
    count = len(lengths)
    if count < 2:
        return 0.0
    return max((count * min(lengths) - sum(lengths) / count) / (count - 1), 0.0)


def risks(phases: Phases, time: float, ahead: float) -> list[Risk]:
    """Every jump that was seen, with its chance between now and ``ahead`` seconds from now.

    ``counts`` below is 1 for a jump that was seen, and less for the return of what demand fell from.
    """
    age, ended = phases.age(time), phases.ended
    lasted = [*(phase.seconds for phase in ended), age][1:]
    jumps = [(p, after, float(p.rose == phases.rose), 1.0) for p, after in zip(ended, lasted, strict=True) if p.peak]
    if phases.left:
        jumps.append((Phase(False, 0.0, phases.left, 1.0), ahead, 0.0, FALL_COUNTS))
    if not jumps:
        return []
    alike = [phase.seconds for phase in ended if phase.rose == phases.rose]
    begin = quiet(alike)
    exposed = sum(max(seconds - begin, 0.0) for seconds in (*alike, age))
    seen = sum(counts for *_, counts in jumps)
    pooled = seen / max(sum(phase.seconds for phase in ended) + age, 1.0)
    # Only the part of the time ahead that comes after the quiet counts.
    soon = min(max(age + ahead - begin, 0.0) / ahead, 1.0)
    each = soon / (exposed + PRIOR_JUMPS / pooled)
    return [
        Risk(p.peak, p.ratio, after, each * (same + PRIOR_JUMPS * counts / seen), bool(same))
        for p, after, same, counts in jumps
    ]
