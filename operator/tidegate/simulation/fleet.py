"""The replicas of one model as discrete events: starting, balancing, queueing, batching, draining.

The router is Envoy's LEAST_REQUEST: of two replicas chosen at random the one with fewer requests in flight. Each
replica is a Triton: one queue, instances that take batches from it, a bounded queue and a time-out in it.
"""

from collections import deque
from heapq import heappop, heappush
from math import inf
from random import Random

from tidegate.simulation.model import Model

_DRAWS = 1 << 16


class Replica:
    """One pod. It costs from ``created`` until it has drained."""

    __slots__ = ("created", "free", "in_flight", "queue", "ready_at", "retired")

    def __init__(self, created: float, ready_at: float, instances: int) -> None:
        self.created = created
        self.ready_at = ready_at
        self.free = instances
        self.in_flight = 0
        self.queue: deque[float] = deque()
        self.retired = False


class Counters:
    """Sums since the last look."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.refused = 0
        self.queue_seconds = 0.0
        self.compute_seconds = 0.0
        self.busy_seconds = 0.0
        self.executions = 0
        self.request_seconds = 0.0


class Fleet:
    """All replicas, the router in front, and the clock. Arrivals are given once, in order, in seconds."""

    def __init__(self, model: Model, arrivals: list[float], replicas: int, seed: int = 0) -> None:
        self.model = model
        self.ready = [Replica(0.0, 0.0, model.instances) for _ in range(replicas)]
        self.starting: list[Replica] = []
        self.counters = Counters()
        self.now = 0.0
        self.spent = 0.0
        self.arrived = 0
        self.held: deque[float] = deque()
        self._arrivals = [*arrivals, inf]
        self._draining: set[Replica] = set()
        self._events: list[tuple[float, int, Replica, list[float] | None]] = []
        self._sequence = 0
        self._in_flight = 0
        random = Random(seed)
        self._draws = [random.random() for _ in range(_DRAWS)]
        self._factors = [max(random.gauss(1.0, model.spread), 0.2) for _ in range(_DRAWS)] if model.spread else [1.0]

    @property
    def cost(self) -> float:
        """Replica seconds so far, from the creation of each until now or until it was gone."""
        alive = (*self.ready, *self.starting, *self._draining)
        return self.spent + sum(self.now - replica.created for replica in alive)

    def scale(self, wanted: int) -> None:
        """Have ``wanted`` replicas: start new ones, or give up those that are still starting, then the youngest."""
        while len(self.ready) + len(self.starting) < wanted:
            self.starting.append(Replica(self.now, self.now + self.model.startup, self.model.instances))
        while len(self.ready) + len(self.starting) > wanted:
            replica = (self.starting or self.ready).pop()
            replica.retired = True
            if replica.in_flight:
                self._draining.add(replica)
            else:
                self.spent += self.now - replica.created

    def run(self, until: float) -> None:
        """Let time pass, with replicas becoming ready on the way."""
        while self.starting and self.starting[0].ready_at <= until:
            self._events_until(self.starting[0].ready_at)
            self.ready.append(self.starting.pop(0))
            while self.held:
                self._admit(self.held.popleft())
        self._events_until(until)

    def _events_until(self, until: float) -> None:
        """Arrivals and completions in order of time. The hot loop: everything it touches is a local name."""
        arrivals, events, index, ready = self._arrivals, self._events, self.arrived, self.ready
        now, in_flight, area = self.now, self._in_flight, 0.0
        draws, queue_size, max_batch = self._draws, self.model.queue_size, self.model.max_batch
        arrival = arrivals[index]
        while True:
            done = events[0][0] if events else inf
            if arrival <= done:
                if arrival >= until:
                    break
                area += in_flight * (arrival - now)
                now = arrival
                count = len(ready)
                in_flight += 1
                if count > 1:
                    replica = ready[int(draws[index * 2 & 0xFFFF] * count)]
                    other = ready[int(draws[index * 2 + 1 & 0xFFFF] * count)]
                    if other.in_flight < replica.in_flight:
                        replica = other
                elif count:
                    replica = ready[0]
                else:
                    self.held.append(now)
                    index += 1
                    arrival = arrivals[index]
                    continue
                index += 1
                arrival = arrivals[index]
                if max_batch == 1 and replica.free and not replica.queue:
                    replica.in_flight += 1
                    self._execute(replica, [now], now)
                elif len(replica.queue) >= queue_size:
                    in_flight -= 1
                    self.counters.refused += 1
                else:
                    replica.in_flight += 1
                    replica.queue.append(now)
                    # Later ones come while the first waits for them: only it sets the timer, only a full batch ends it.
                    if replica.free and (len(replica.queue) == 1 or len(replica.queue) >= max_batch):
                        self._dispatch(replica, now)
            else:
                if done >= until:
                    break
                area += in_flight * (done - now)
                now = done
                _, _, replica, batch = heappop(events)
                if batch is not None:
                    replica.free += 1
                    replica.in_flight -= len(batch)
                    in_flight -= len(batch)
                    self._answer(batch, now)
                if replica.queue:
                    in_flight -= self._dispatch(replica, now)
                if replica.retired and not replica.in_flight:
                    self._gone(replica, now)
        self.counters.request_seconds += area + in_flight * (until - now)
        self.now, self.arrived, self._in_flight = until, index, in_flight

    def _admit(self, arrival: float) -> None:
        """A request that was held goes to the least busy replica, unless its time at the router is over."""
        if self.now - arrival > self.model.timeout:
            self.counters.refused += 1
            self._in_flight -= 1
            return
        replica = min(self.ready, key=lambda each: each.in_flight)
        replica.in_flight += 1
        replica.queue.append(arrival)
        self._in_flight -= self._dispatch(replica, self.now)

    def _dispatch(self, replica: Replica, now: float) -> int:
        """Start what can start in a replica; returns how many requests were refused because they waited too long."""
        model, queue, refused = self.model, replica.queue, 0
        while queue and now - queue[0] > model.queue_timeout:
            queue.popleft()
            refused += 1
        while replica.free and queue:
            size = min(len(queue), model.max_batch)
            if model.max_batch > 1 and size < model.max_batch and now < queue[0] + model.queue_delay:
                self._push(queue[0] + model.queue_delay, replica, None)
                break
            self._execute(replica, [queue.popleft() for _ in range(size)], now)
        replica.in_flight -= refused
        self.counters.refused += refused
        return refused

    def _execute(self, replica: Replica, batch: list[float], now: float) -> None:
        replica.free -= 1
        model, counters, size = self.model, self.counters, len(batch)
        seconds = (model.fixed + size * model.each) * self._factors[self._sequence % len(self._factors)]
        counters.busy_seconds += seconds
        counters.executions += 1
        counters.compute_seconds += seconds * size
        counters.queue_seconds += now * size - sum(batch)
        self._push(now + seconds, replica, batch)

    def _push(self, time: float, replica: Replica, batch: list[float] | None) -> None:
        self._sequence += 1
        heappush(self._events, (time, self._sequence, replica, batch))

    def _answer(self, batch: list[float], now: float) -> None:
        latencies, end = self.counters.latencies, now + self.model.extra
        for arrival in batch:
            latencies.append(end - arrival)

    def _gone(self, replica: Replica, now: float) -> None:
        if replica in self._draining:
            self._draining.remove(replica)
            self.spent += now - replica.created
