"""What is counted, since the process started. Nothing else outlives an exchange."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from model_observer.reasons import Reason

SCHEMA = "tidegate.dev/observer/v1"
MAX_PAIRS = 4096
"""More pairs of revisions than any plans in a row can name while a process lives; later ones are not counted."""


@dataclass(frozen=True, order=True)
class Pair:
    """``answered`` is the revision whose answer a client got, ``replayed`` the one that was asked the same again."""

    model: str
    answered: str
    replayed: str

    @property
    def noise(self) -> bool:
        """One revision against itself."""
        return self.answered == self.replayed


@dataclass
class Score:
    """Comparisons, and how many of them agree."""

    compared: int = 0
    agreed: int = 0


@dataclass
class Counters:
    """All counts. ``run`` names this process: counts of another run begin at 0."""

    run: str
    plan: str = "none"
    pairs: dict[Pair, Score] = field(default_factory=dict)
    dropped: Counter[tuple[str, Reason]] = field(default_factory=Counter)
    """By model and reason; the model is empty where it is not known."""
    offered: Counter[str] = field(default_factory=Counter)
    """Exchanges that routers handed over whole, by model."""

    def compared(self, pair: Pair, *, agreed: bool) -> None:
        """One more comparison."""
        if pair not in self.pairs and len(self.pairs) >= MAX_PAIRS:
            return
        score = self.pairs.setdefault(pair, Score())
        score.compared += 1
        score.agreed += agreed

    def noise_of(self, model: str, revision: str) -> int:
        """How often a revision was compared with itself."""
        return self.pairs.get(Pair(model, revision, revision), Score()).compared

    def windows(self) -> dict[str, Any]:
        """The JSON of ``GET /v1/windows``: cumulative counts, for the operator to subtract."""
        return {
            "schema": SCHEMA,
            "run": self.run,
            "plan": self.plan,
            "pairs": [
                {
                    "model": pair.model,
                    "answered": pair.answered,
                    "replayed": pair.replayed,
                    "compared": score.compared,
                    "agreed": score.agreed,
                }
                for pair, score in sorted(self.pairs.items())
            ],
            "offered": dict(sorted(self.offered.items())),
            "dropped": [
                {"model": model, "reason": reason.value, "count": count}
                for (model, reason), count in sorted(self.dropped.items())
            ],
        }

    def exposition(self) -> Iterator[str]:
        """The lines of ``GET /metrics``, in Prometheus' text format. All label values are names of the plan."""
        yield "# HELP tidegate_observer_exchanges_total Exchanges that routers handed over whole."
        yield "# TYPE tidegate_observer_exchanges_total counter"
        for model, count in sorted(self.offered.items()):
            yield f'tidegate_observer_exchanges_total{{model="{model}"}} {count}'
        yield "# HELP tidegate_observer_dropped_total Exchanges that were not compared, by reason."
        yield "# TYPE tidegate_observer_dropped_total counter"
        for (model, reason), count in sorted(self.dropped.items()):
            yield f'tidegate_observer_dropped_total{{model="{model}",reason="{reason.value}"}} {count}'
        yield "# HELP tidegate_observer_comparisons_total Answers compared with a replay of their request."
        yield "# TYPE tidegate_observer_comparisons_total counter"
        for pair, score in sorted(self.pairs.items()):
            labels = f'model="{pair.model}",answered="{pair.answered}",replayed="{pair.replayed}"'
            for outcome, count in (("agree", score.agreed), ("differ", score.compared - score.agreed)):
                yield f'tidegate_observer_comparisons_total{{{labels},outcome="{outcome}"}} {count}'
