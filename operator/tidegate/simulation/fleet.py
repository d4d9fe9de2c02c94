"""The replicas of one model as discrete events: starting, balancing, queueing, batching, draining.

A router is Envoy's LEAST_REQUEST with a full scan: of all replicas the one that has the fewest requests of this router
in flight. There are a few, a request comes to any of them, and none knows what the others sent. Each replica is a
Triton: one queue, instances that take batches from it, a bounded queue and a time-out in it.
"""

from collections import deque
from heapq import heappop, heappush
from math import inf
from random import Random

from tidegate.simulation.model import Model

_DRAWS = 1 << 16


class Replica:
    """One pod. It costs from ``created`` until it has drained. ``place``: its index among the ready ones, -1 when it is
    none of them. A request is its index among the arrivals."""

    __slots__ = ("created", "free", "in_flight", "place", "queue", "ready_at")

    def __init__(self, created: float, ready_at: float, instances: int) -> None:
        self.created = created
        self.ready_at = ready_at
        self.free = instances
        self.in_flight = 0
        self.place = -1
        self.queue: deque[int] = deque()


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
        self.ready: list[Replica] = []
        self.starting: list[Replica] = []
        self.counters = Counters()
        self.now = 0.0
        self.spent = 0.0
        self.arrived = 0
        self.held: deque[int] = deque()
        self._arrivals = [*arrivals, inf]
        self._draining: set[Replica] = set()
        self._events: list[tuple[float, int, Replica, list[int] | None]] = []
        self._sequence = 0
        self._in_flight = 0
        random = Random(seed)
        self._draws = [random.random() for _ in range(_DRAWS)]
        self._factors = [max(random.gauss(1.0, model.spread), 0.2) for _ in range(_DRAWS)] if model.spread else [1.0]
        self._via = [random.randrange(model.routers) for _ in range(_DRAWS)]
        self._loads: list[list[int]] = [[] for _ in range(model.routers)]
        """By router and place: requests in flight."""
        for _ in range(replicas):
            self._serve(Replica(0.0, 0.0, model.instances))

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
            replica = self.starting.pop() if self.starting else self._leave()
            if replica.in_flight:
                self._draining.add(replica)
            else:
                self.spent += self.now - replica.created

    def run(self, until: float) -> None:
        """Let time pass, with replicas becoming ready on the way."""
        while self.starting and self.starting[0].ready_at <= until:
            self._events_until(self.starting[0].ready_at)
            self._serve(self.starting.pop(0))
            while self.held:
                self._admit(self.held.popleft())
        self._events_until(until)

    def _serve(self, replica: Replica) -> None:
        replica.place = len(self.ready)
        self.ready.append(replica)
        for loads in self._loads:
            loads.append(0)

    def _leave(self) -> Replica:
        replica = self.ready.pop()
        replica.place = -1
        for loads in self._loads:
            loads.pop()
        return replica

    def _events_until(self, until: float) -> None:
        """Arrivals and completions in order of time. The hot loop: everything it touches is a local name."""
        arrivals, events, index, ready = self._arrivals, self._events, self.arrived, self.ready
        now, in_flight, area = self.now, self._in_flight, 0.0
        draws, queue_size, max_batch = self._draws, self.model.queue_size, self.model.max_batch
        via, all_loads = self._via, self._loads
        arrival = arrivals[index]
        while True:
            done = events[0][0] if events else inf
            if arrival <= done:
                if arrival >= until:
                    break
                area += in_flight * (arrival - now)
                now = arrival
                in_flight += 1
                request, index = index, index + 1
                arrival = arrivals[index]
                if not ready:
                    self.held.append(request)
                    continue
                loads = all_loads[via[request & 0xFFFF]]
                lowest = min(loads)
                # The first that has as few, from anywhere on.
                place = int(draws[request & 0xFFFF] * len(loads))
                if loads[place] != lowest:
                    place = loads.index(lowest, place if lowest in loads[place:] else 0)
                replica = ready[place]
                if max_batch == 1 and replica.free and not replica.queue:
                    loads[place] += 1
                    replica.in_flight += 1
                    self._execute(replica, [request], now)
                elif len(replica.queue) >= queue_size:
                    in_flight -= 1
                    self.counters.refused += 1
                else:
                    loads[place] += 1
                    replica.in_flight += 1
                    replica.queue.append(request)
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
                    for request in batch:
                        self._left(replica, request)
                    in_flight -= len(batch)
                    self._answer(batch, now)
                if replica.queue:
                    in_flight -= self._dispatch(replica, now)
                if replica.place < 0 and not replica.in_flight:
                    self._gone(replica, now)
        self.counters.request_seconds += area + in_flight * (until - now)
        self.now, self.arrived, self._in_flight = until, index, in_flight

    def _left(self, replica: Replica, request: int) -> None:
        replica.in_flight -= 1
        if replica.place >= 0:
            self._loads[self._via[request & 0xFFFF]][replica.place] -= 1

    def _admit(self, request: int) -> None:
        """A request that was held goes to the least busy replica, unless its time at the router is over."""
        if self.now - self._arrivals[request] > self.model.timeout:
            self.counters.refused += 1
            self._in_flight -= 1
            return
        loads = self._loads[self._via[request & 0xFFFF]]
        place = loads.index(min(loads))
        replica = self.ready[place]
        loads[place] += 1
        replica.in_flight += 1
        replica.queue.append(request)
        self._in_flight -= self._dispatch(replica, self.now)

    def _dispatch(self, replica: Replica, now: float) -> int:
        """Start what can start in a replica; returns how many requests were refused because they waited too long."""
        model, queue, arrivals, refused = self.model, replica.queue, self._arrivals, 0
        while queue and now - arrivals[queue[0]] > model.queue_timeout:
            self._left(replica, queue.popleft())
            refused += 1
        while replica.free and queue:
            size = min(len(queue), model.max_batch)
            if model.max_batch > 1 and size < model.max_batch and now < arrivals[queue[0]] + model.queue_delay:
                self._push(arrivals[queue[0]] + model.queue_delay, replica, None)
                break
            self._execute(replica, [queue.popleft() for _ in range(size)], now)
        self.counters.refused += refused
        return refused

    def _execute(self, replica: Replica, batch: list[int], now: float) -> None:
        replica.free -= 1
        model, counters, arrivals, size = self.model, self.counters, self._arrivals, len(batch)
        seconds = (model.fixed + size * model.each) * self._factors[self._sequence % len(self._factors)]
        counters.busy_seconds += seconds
        counters.executions += 1
        counters.compute_seconds += seconds * size
        counters.queue_seconds += now * size - sum([arrivals[request] for request in batch])
        self._push(now + seconds, replica, batch)

    def _push(self, time: float, replica: Replica, batch: list[int] | None) -> None:
        self._sequence += 1
        heappush(self._events, (time, self._sequence, replica, batch))

    def _answer(self, batch: list[int], now: float) -> None:
        latencies, arrivals, end = self.counters.latencies, self._arrivals, now + self.model.extra
        for request in batch:
            latencies.append(end - arrivals[request])

    def _gone(self, replica: Replica, now: float) -> None:
        if replica in self._draining:
            self._draining.remove(replica)
            self.spent += now - replica.created
