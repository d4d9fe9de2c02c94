"""How long a batch takes by its size, learned: a model that batches serves more when it is busier.

What is seen at low load says little of what a full replica serves: its batches are small. Without this the fleet would
stay as large as small batches need, and batches small because the fleet is large. So the time of a batch is learned as
a line over its size, and the policy counts on batches somewhat larger than those it sees. The fleet then shrinks,
batches grow, and the line is known farther out.
"""

from dataclasses import dataclass
from math import exp

MEMORY_SECONDS = 120.0
AIM_SECONDS = 60.0
FARTHEST = 2.0
"""How many times larger than the batches that were seen those may be that are counted on."""
DOUBT = 0.001
"""Weight of the belief that a batch is no better than single requests, in squares of the mean size."""


@dataclass(frozen=True)
class Batches:
    """``size`` and ``seconds`` of a batch are means of the last minutes, ``spread`` is the variance of the size and
    ``together`` its covariance with the seconds; ``aim`` is the size to count on."""

    size: float = 0.0
    seconds: float = 0.0
    spread: float = 0.0
    together: float = 0.0
    aim: float = 1.0

    @property
    def slope(self) -> float:
        """Seconds that one more request adds to a batch: none at least, and no more than alone."""
        if self.size <= 0:
            return 0.0
        alone, doubt = self.seconds / self.size, DOUBT * self.size**2
        return min(max((self.together + doubt * alone) / (self.spread + doubt), 0.0), alone)

    def after(self, size: float, seconds: float, look: float, max_batch: int, longest: float) -> "Batches":
        """With one more look of ``look`` seconds: its mean batch and the time of that. ``longest`` is how many seconds
        a batch may take without breaking the objective: a request may have to wait for one before its own."""
        if not self.size:
            return Batches(size, seconds, aim=size)
        weight = 1 - exp(-look / MEMORY_SECONDS)
        more, later = size - self.size, seconds - self.seconds
        now = Batches(
            self.size + weight * more,
            self.seconds + weight * later,
            (1 - weight) * (self.spread + weight * more**2),
            (1 - weight) * (self.together + weight * more * later),
        )
        farthest = min(FARTHEST * now.size, float(max_batch))
        if now.slope > 0:
            farthest = min(farthest, now.size + (longest - now.seconds) / now.slope)
        # Slowly, so that the fleet shrinks no faster than the line is learned.
        aim = min(farthest, self.aim * (1 + look / AIM_SECONDS))
        return Batches(now.size, now.seconds, now.spread, now.together, max(aim, 1.0))
