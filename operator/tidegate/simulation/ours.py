"""Tidegate's own policy in the simulator: the very function that the operator calls."""

from tidegate.domain.scaling.limits import Limits
from tidegate.domain.scaling.policy import Policy, State, decide
from tidegate.domain.scaling.window import Window
from tidegate.simulation.model import Model
from tidegate.simulation.run import Look


class Tidegate:
    """``profile_factor`` is how many times too fast the bundle's profile says that the model is."""

    name = "Tidegate"
    interval = 2.0

    def __init__(self, model: Model, policy: Policy, profile_factor: float = 1.0) -> None:
        self._policy = policy
        self._model = model
        self._profile = model.rate * profile_factor
        self.state = State()
        self.decision = None

    @classmethod
    def of(cls, model: Model, most: int, *, percentile: float = 95, profile_factor: float = 1.0) -> "Tidegate":
        """With the model's own objective and no limits but the most replicas."""
        return cls(model, Policy(percentile, model.limit * 1000, Limits(1, most)), profile_factor)

    def desired(self, look: Look) -> int:
        """One look."""
        window = Window((look.sample,), look.wanted, self._model.startup, self._profile, self._model.instances)
        decision, self.state = decide(self._policy, window, self.state, look.now)
        self.decision = decision
        return decision.replicas
