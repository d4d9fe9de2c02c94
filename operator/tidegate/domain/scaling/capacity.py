"""What one replica serves, learned: the bundle's profile is only where learning starts.

Two things tell it. Triton's compute time says how busy the instances were with the requests that ended: the rate at
which they would be busy all the time. And a replica with a queue is busy all the time: what it then answers is its
rate, whatever compute time says (a batch is more efficient than single requests, a neighbour on the device less).
"""

from dataclasses import dataclass, field, replace
from math import inf

from tidegate.domain.scaling.batches import Batches
from tidegate.domain.scaling.window import Sample

PRIOR_REQUESTS = 1.0
MEMORY_REQUESTS = 400.0
SATURATED_MEMORY_REQUESTS = 200.0
UNKNOWN_RATE = 10.0


@dataclass(frozen=True)
class Capacity:
    """``rate``: requests a second that one replica serves when it is always busy, with batches as they were seen, of
    ``batch`` requests that take ``seconds``; ``evidence``: how many requests that rests on (a profile counts as few),
    ``saturated`` how far what a full queue showed is from what compute time says, as a factor. ``batches`` says what
    larger batches would serve."""

    rate: float
    seconds: float
    evidence: float = PRIOR_REQUESTS
    saturated: float = 1.0
    batch: float = 1.0
    batches: Batches = field(default_factory=Batches)

    @classmethod
    def prior(cls, profile_rate: float | None, instances: int) -> "Capacity":
        """Before anything was seen."""
        rate = profile_rate or UNKNOWN_RATE
        return cls(rate, instances / rate)

    @property
    def reach(self) -> float:
        """Requests that are counted on in a batch: what was seen of late at least."""
        return max(self.batches.aim, self.batch)

    @property
    def reach_seconds(self) -> float:
        """Seconds that such a batch takes."""
        return self.seconds + self.batches.slope * (self.reach - self.batch)

    @property
    def serves(self) -> float:
        """Requests a second to count on."""
        larger = self.reach / self.batch * self.seconds / max(self.reach_seconds, 1e-9)
        return self.rate * larger * self.saturated

    def after(
        self, sample: Sample, instances: int, max_batch: int = 1, longest: float = inf, *, steady: bool
    ) -> "Capacity":
        """With one more look. A replica takes batches of up to ``max_batch`` requests, which may take ``longest``
        seconds. ``steady``: the same replicas were ready all the time, so a queue is theirs together."""
        answered = sample.latency.total
        if answered <= 0 or sample.ready <= 0:
            return self
        now = self._computed(sample, answered, instances, max_batch, longest)
        saturated = now.saturated
        shown = answered / sample.seconds / sample.ready
        if steady and sample.concurrency > 5 * sample.ready * instances * max_batch:
            weight = answered / (SATURATED_MEMORY_REQUESTS + answered)
            saturated += weight * (shown * saturated / now.serves - saturated)
        elif steady and shown > now.serves:
            # More than was thought possible, without a queue.
            saturated += 0.1 * (shown * saturated / now.serves - saturated)
        return replace(now, saturated=min(max(saturated, 0.1), 10.0))

    def _computed(self, sample: Sample, answered: int, instances: int, max_batch: int, longest: float) -> "Capacity":
        """With what Triton says of one look, if it says anything."""
        if not sample.compute_seconds or not sample.executions:
            return self
        # Each request of a batch counts the whole batch's time: divided by the batch it is the time of the device.
        batch = min(max(answered / sample.executions, 1.0), float(max_batch))
        seconds = sample.compute_seconds / answered
        weight = answered / (min(self.evidence, MEMORY_REQUESTS) + answered)
        return replace(
            self,
            # Times are averaged, not rates: a few short ones must not look like a fast replica.
            rate=1 / ((1 - weight) / self.rate + weight * seconds / batch / instances),
            seconds=self.seconds + weight * (seconds - self.seconds),
            evidence=self.evidence + answered,
            batch=self.batch + weight * (batch - self.batch),
            batches=self.batches.after(batch, seconds, sample.seconds, max_batch, longest),
        )
