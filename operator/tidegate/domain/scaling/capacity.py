"""What one replica serves, learned: the bundle's profile is only where learning starts.

Two things tell it. Triton's compute time says how busy the instances were with the requests that ended: the rate at
which they would be busy all the time. And a replica with a queue is busy all the time: what it then answers is its
rate, whatever compute time says (a batch is more efficient than single requests, a neighbour on the device less).
"""

from dataclasses import dataclass

from tidegate.domain.scaling.window import Sample

PRIOR_REQUESTS = 1.0
MEMORY_REQUESTS = 400.0
SATURATED_MEMORY_REQUESTS = 200.0
UNKNOWN_RATE = 10.0


@dataclass(frozen=True)
class Capacity:
    """``rate``: requests a second that one replica serves when it is always busy; ``seconds``: what one request
    computes; ``evidence``: how many requests that rests on (a profile counts as few), ``saturated`` how far what a full
    queue showed is from what compute time says, as a factor."""

    rate: float
    seconds: float
    evidence: float = PRIOR_REQUESTS
    saturated: float = 1.0

    @classmethod
    def prior(cls, profile_rate: float | None, instances: int) -> "Capacity":
        """Before anything was seen."""
        rate = profile_rate or UNKNOWN_RATE
        return cls(rate, instances / rate)

    @property
    def serves(self) -> float:
        """Requests a second to count on."""
        return self.rate * self.saturated

    def after(self, sample: Sample, instances: int, *, steady: bool) -> "Capacity":
        """With one more look. ``steady``: the same replicas were ready all the time, so a queue is theirs together."""
        answered = sample.latency.total
        if answered <= 0 or sample.ready <= 0:
            return self
        rate, seconds, evidence = self.rate, self.seconds, self.evidence
        if sample.compute_seconds and sample.executions:
            # Each request of a batch counts the whole batch's time: divided by the batch it is the time of the device.
            batch = max(answered / sample.executions, 1.0)
            seconds_now = sample.compute_seconds / answered
            weight = answered / (min(evidence, MEMORY_REQUESTS) + answered)
            # Times are averaged, not rates: a few short ones must not look like a fast replica.
            rate = 1 / ((1 - weight) / rate + weight * seconds_now / batch / instances)
            seconds += weight * (seconds_now - seconds)
            evidence += answered
        saturated = self.saturated
        shown = answered / sample.seconds / sample.ready
        if steady and sample.concurrency > 5 * sample.ready * instances:
            weight = answered / (SATURATED_MEMORY_REQUESTS + answered)
            saturated += weight * (shown / rate - saturated)
        elif steady and shown > rate * saturated:
            # More than was thought possible, without a queue.
            saturated += 0.1 * (shown / rate - saturated)
        return Capacity(rate, seconds, evidence, min(max(saturated, 0.1), 10.0))
