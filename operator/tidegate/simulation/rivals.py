"""What others do, as their published algorithms and defaults say, and fleets of a fixed size."""

from collections import deque
from math import ceil, floor

from tidegate.simulation.run import Look


class Static:
    """Always the same number of replicas."""

    interval = 15.0

    def __init__(self, replicas: int, name: str = "static") -> None:
        self.name = f"{name} ({replicas})"
        self._replicas = replicas

    def desired(self, look: Look) -> int:
        """The number it was made with."""
        return self._replicas


class HorizontalPodAutoscaler:
    """Kubernetes' HPA on the busy share of the ready replicas.

    Sync every 15 s; nothing within a tolerance of 10 %; a replica that is not ready counts as idle when the fleet
    grows, and the direction is never reversed by that; up by at most 4 pods or 100 % in 15 s, whichever is more; down
    to the highest recommendation of the last 300 s.
    """

    interval = 15.0

    def __init__(self, target: float) -> None:
        self.name = f"HPA {target:.0%}"
        self._target = target
        self._recommended: deque[tuple[float, int]] = deque()

    def desired(self, look: Look) -> int:
        """One sync."""
        recommended = max(self._recommend(look), 1)
        self._recommended.append((look.now, recommended))
        while self._recommended[0][0] <= look.now - 300:
            self._recommended.popleft()
        stabilised = max(number for _, number in self._recommended)
        down = min(look.wanted, stabilised)
        up = min(recommended, max(look.wanted + 4, 2 * look.wanted))
        return up if recommended > look.wanted else down

    def _recommend(self, look: Look) -> int:
        ready, starting = look.sample.ready, look.sample.starting
        if not ready:
            return look.wanted
        ratio = look.busy / self._target
        if starting == 0 or ratio < 1:
            return look.wanted if abs(ratio - 1) <= 0.1 else ceil(ratio * ready - 1e-9)
        # Worked example: 4 ready at 100 %, 4 starting, target 70 %: (400 % / 8) / 70 % = 0.71 is the other direction.
        diluted = look.busy * ready / (ready + starting) / self._target
        if diluted <= 1.1:
            return look.wanted
        return ceil(diluted * (ready + starting) - 1e-9)


class KnativePodAutoscaler:
    """Knative's KPA on concurrency, with the target as a share of what a replica computes at a time.

    A tick every 2 s; the mean over 60 s, and over 6 s for panic, which begins when the latter asks for twice the ready
    pods or more, never scales down, and ends 60 s after it was last over that; down to half at most in one tick. It
    starts in panic, as after a restart.
    """

    interval = 2.0

    def __init__(self, target: float, slots: int) -> None:
        self.name = f"KPA {target:.0%}"
        self._target = target * slots
        self._concurrency: deque[float] = deque(maxlen=30)
        self._panic_since: float | None = 0.0
        self._panic_most = 0

    def desired(self, look: Look) -> int:
        """One tick."""
        self._concurrency.append(look.sample.concurrency)
        ready = max(look.sample.ready, 1)
        recent = list(self._concurrency)[-3:]
        stable = self._pods(sum(self._concurrency) / len(self._concurrency), ready)
        panic = self._pods(sum(recent) / len(recent), ready)
        # The threshold is asked of the number before the limits of one tick.
        over = ceil(sum(recent) / len(recent) / self._target) / ready >= 2.0
        if over:
            if self._panic_since is None:
                self._panic_most = 0
            self._panic_since = look.now
        elif self._panic_since is not None and look.now > self._panic_since + 60:
            self._panic_since, self._panic_most = None, 0
        if self._panic_since is None:
            return stable
        self._panic_most = max(self._panic_most, stable, panic, ready)
        return self._panic_most

    def _pods(self, concurrency: float, ready: int) -> int:
        lowest, highest = floor(ready / 2), 1000 * ready
        return max(min(max(ceil(concurrency / self._target), lowest), highest), 1)
