"""Correction by the measured percentile: when requests are late although the models say that they should not be.

Only lateness that waiting explains asks for replicas. A model that is slow by itself, or behind something slow, is not
made faster by more of it.
"""

from dataclasses import dataclass
from math import exp, log

from tidegate.domain.scaling.window import Sample

MEMORY_SECONDS = 60.0
LEAST_REQUESTS = 50.0
MOST = 2.0
RISE_SECONDS = 200.0
FALL_SECONDS = 2000.0
WAITING_SHARE = 0.6
"""If waiting made exactly the allowed share of requests late, with exponential waits, the mean wait would be patience
over ln(1 / allowed). Waiting explains lateness from this share of that mean on."""


@dataclass(frozen=True)
class Correction:
    """``factor`` on demand, from 1 to 2; requests of the last minute, those that were late, and what they waited."""

    factor: float = 1.0
    requests: float = 0.0
    late: float = 0.0
    waited: float = 0.0

    @property
    def late_share(self) -> float:
        """Share of the requests of the last minute that were late."""
        return self.late / self.requests if self.requests else 0.0

    def explained(self, allowed: float, patience: float) -> bool:
        """Whether requests wait long enough in queues for more replicas to help."""
        return self.waited > WAITING_SHARE * patience / log(1 / allowed) * self.requests

    def out_of_reach(self, allowed: float, patience: float) -> bool:
        """Whether the objective is missed for a reason that replicas do not change."""
        missed = self.requests >= LEAST_REQUESTS and self.late_share > allowed
        return missed and not self.explained(allowed, patience)

    def after(
        self, sample: Sample, milliseconds: float, allowed: float, patience: float, slots: int = 1, *, clogged: bool
    ) -> "Correction":
        """With one more look. ``allowed`` is the share that may be late, ``slots`` the requests that a replica computes
        at a time. An overload is corrected by the fast path,
        so nothing is learned from it (``clogged``)."""
        if clogged:
            return Correction(self.factor)
        kept = exp(-sample.seconds / MEMORY_SECONDS)
        waiting = sample.queue_seconds
        if waiting is None:
            # Without Triton's word: what is in flight beyond what computes, over the time of the look.
            waiting = max(sample.concurrency - slots * sample.ready, 0.0) * sample.seconds
        now = Correction(
            self.factor,
            kept * self.requests + sample.latency.total + sample.failed,
            kept * self.late + sample.latency.above(milliseconds) + sample.failed,
            kept * self.waited + waiting,
        )
        factor = self.factor
        if now.requests >= LEAST_REQUESTS and now.late_share > allowed and now.explained(allowed, patience):
            factor *= 1 + sample.seconds / RISE_SECONDS
        else:
            factor = 1 + (factor - 1) * exp(-sample.seconds / FALL_SECONDS)
        return Correction(min(factor, MOST), now.requests, now.late, now.waited)
