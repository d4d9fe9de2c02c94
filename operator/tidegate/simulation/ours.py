"""Tidegate's own policy in the simulator: the very function that the operator calls."""

from collections.abc import Callable

from tidegate.domain.scaling.limits import Limits
from tidegate.domain.scaling.policy import Decision, Policy, State, decide
from tidegate.domain.scaling.window import Sample, Window
from tidegate.simulation.model import Model
from tidegate.simulation.run import Look

Scrape = Callable[[Sample], Sample | None]


def honest(sample: Sample) -> Sample:
    """A scrape that reports what is."""
    return sample


class Tidegate:
    """``profile_factor`` is how many times too fast the bundle's profile says that the model is. ``scrape`` is what
    measuring makes of a look, None when it fails."""

    name = "Tidegate"

    def __init__(
        self,
        model: Model,
        policy: Policy,
        *,
        profile_factor: float = 1.0,
        scrape: Scrape = honest,
        interval: float = 2.0,
    ) -> None:
        self.interval = interval
        self._policy = policy
        self._model = model
        self._profile = model.rate * profile_factor
        self._scrape = scrape
        self.state = State()
        self.decisions: list[Decision] = []

    @classmethod
    def of(cls, model: Model, most: int, *, percentile: float = 95, profile_factor: float = 1.0) -> "Tidegate":
        """With the model's own objective and no limits but the most replicas."""
        return cls(model, Policy(percentile, model.limit * 1000, Limits(1, most)), profile_factor=profile_factor)

    def desired(self, look: Look) -> int:
        """One look."""
        sample = self._scrape(look.sample)
        window = Window(
            samples=() if sample is None else (sample,),
            wanted=look.wanted,
            startup_seconds=self._model.startup,
            profile_rate=self._profile,
            instances=self._model.instances,
            max_batch=self._model.max_batch,
        )
        decision, self.state = decide(self._policy, window, self.state, look.now)
        self.decisions.append(decision)
        return decision.replicas
