"""What a simulated model is like: how long a batch takes, how it queues, how long a replica needs to start."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model on Triton. Times are in seconds.

    A batch of b requests takes ``fixed + b * each``, times a random factor whose standard deviation is ``spread``.
    ``instances`` batches run side by side in a replica, of up to ``max_batch`` requests; while an instance is free a
    request waits for others up to ``queue_delay`` (without batching it does not wait). As the packager configures
    Triton, a queue holds ``queue_size`` requests, and one that waited ``queue_timeout`` is refused when its turn comes.
    Clients use all of ``routers``, which hold a request for ``timeout`` while there is no replica.
    ``extra`` is time that each request takes outside the replicas and that no replica can shorten. ``startup`` is the
    time from wanting a replica until it serves; ``limit`` is the objective's latency.
    """

    fixed: float = 0.2
    each: float = 0.0
    spread: float = 0.1
    instances: int = 1
    max_batch: int = 1
    queue_delay: float = 0.0005
    queue_size: int = 256
    queue_timeout: float = 10.0
    routers: int = 2
    timeout: float = 30.0
    extra: float = 0.0
    startup: float = 15.0
    limit: float = 0.8

    def seconds(self, batch: int) -> float:
        """Mean time of one batch."""
        return self.fixed + batch * self.each

    @property
    def rate(self) -> float:
        """Requests a second that one replica serves at most, with full batches."""
        return self.instances * self.max_batch / self.seconds(self.max_batch)

    @property
    def patience(self) -> float:
        """How long a request may wait and still be inside the objective."""
        return self.limit - self.extra - self.seconds(self.max_batch)
