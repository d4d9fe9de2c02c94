"""A few small laws, each with a fleet of its own in a fluid model of the same traffic.

A law says how much head-room demand gets, and whether what jumped before is kept ready for. No fixed choice is good for
all traffic, so every law is played against what really came, at what it would have cost: its replicas, and its late
requests at a price. The real fleet follows the law that was cheapest of late.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import exp, sqrt

from tidegate.domain.scaling.phases import Phases, risks

HEAD_ROOMS = (0.1, 0.4, 0.9)
USUAL = 1
"""Which of them it is at first."""
MEMORY_SECONDS = 10_800.0
QUEUE_SECONDS = 10.0
CAUGHT_SECONDS = 8.0
"""Requests are late for a start-up time and so much longer: until the jump is seen, and until its queue has gone."""
MOST_RATIO = 5.0
HEAD_ROOM_PRIOR_SECONDS = 60.0
NOTHING_PRIOR = 0.5
RATIO_PRIOR = 0.25
"""How much dearer other laws than the default are taken to be at first: in seconds of all replicas for each step of
head-room, and in times of being caught."""


class Reserve(StrEnum):
    """What a law keeps ready for: nothing, the rates to which demand jumped, or multiples of its level."""

    NOTHING = "nothing"
    RATE = "rate"
    RATIO = "ratio"


@dataclass(frozen=True)
class Law:
    """``head_room``: how much more demand than expected is served, in square roots of the demand in replicas; and what
    it keeps ready for."""

    head_room: float
    reserve: Reserve


LAWS: tuple[Law, ...] = tuple(Law(head_room, reserve) for head_room in HEAD_ROOMS for reserve in Reserve)
REFERENCE = LAWS.index(Law(HEAD_ROOMS[-1], Reserve.NOTHING))
"""What catches this law is a surprise. What catches a fleet with less head-room is chance, which head-room is for."""


@dataclass(frozen=True)
class Terms:
    """What all laws share at one look: replicas are the unit of demand.

    ``follow`` is the demand to expect when a replica that starts now is ready, the highest of late; ``now`` the demand
    of this look, ``level`` and ``base`` its longer means; ``rate`` what a replica serves a second, ``patience`` the
    seconds a request may wait, ``late_price`` the price of one late request in service times, ``startup`` seconds.
    """

    time: float
    seconds: float
    now: float
    follow: float
    level: float
    base: float
    rate: float
    patience: float
    late_price: float
    startup: float
    least: int
    most: int

    @property
    def caught_seconds(self) -> float:
        """How long requests are late after a jump that nothing was ready for."""
        return self.startup + CAUGHT_SECONDS


@dataclass(frozen=True)
class Account:
    """One law's fleet in its fluid model: ``price`` so far, in replica seconds, what came longer ago counts less."""

    price: float
    ready: int
    pending: tuple[tuple[float, int], ...] = ()
    queue: float = 0.0
    clogged: int = 0

    @property
    def replicas(self) -> int:
        return self.ready + sum(count for _, count in self.pending)


def caught(demand: float, terms: Terms) -> float:
    """What a jump to ``demand`` replicas costs a fleet that is not ready for it, in replica seconds."""
    return terms.late_price * demand * terms.caught_seconds


def opening(terms: Terms) -> tuple[Account, ...]:
    """Accounts before any traffic was seen: laws other than the default are taken to be dearer, a little."""
    demand = max(terms.level, 1.0)
    steps = [abs(HEAD_ROOMS.index(law.head_room) - USUAL) for law in LAWS]
    kinds = {Reserve.NOTHING: NOTHING_PRIOR, Reserve.RATE: 0.0, Reserve.RATIO: RATIO_PRIOR}
    return tuple(
        Account(HEAD_ROOM_PRIOR_SECONDS * demand * step + kinds[law.reserve] * caught(demand, terms), 0)
        for law, step in zip(LAWS, steps, strict=True)
    )


def reserves(phases: Phases, terms: Terms) -> dict[Reserve, float]:
    """The demand, in replicas, that each kind of law keeps ready for because of what happened before."""
    ahead = terms.caught_seconds
    kept = {Reserve.NOTHING: 0.0}
    may = risks(phases, terms.time, ahead)
    for kind in (Reserve.RATE, Reserve.RATIO):
        jumps: list[tuple[float, float]] = []
        for risk in may:
            level = terms.level if risk.same else terms.base
            peak = risk.peak / terms.rate if kind is Reserve.RATE else min(risk.ratio, MOST_RATIO) * level
            # A jump that is over before new replicas come is late until its queue has gone.
            lasts = min(ahead, risk.seconds + QUEUE_SECONDS)
            jumps.append((peak, risk.chance * terms.late_price * peak * lasts))
        kept[kind] = _worth(terms.level, jumps)
    return kept


def _worth(level: float, jumps: list[tuple[float, float]]) -> float:
    """The height that saves most, given heights and what being ready for each saves a second: idle replicas cost one a
    second each, and who is ready for a height is ready for all lower ones."""
    saved, most, height = 0.0, 0.0, 0.0
    for peak, saves in sorted(jump for jump in jumps if jump[0] > level):
        saved += saves
        if saved - (peak - level) > most:
            most, height = saved - (peak - level), peak
    return height


def drain(queue: float, clogged: int, terms: Terms) -> float:
    """Replicas on top of the demand that end an overload at the least price.

    ``queue`` is in replica seconds. It stands in ``clogged`` replicas: new ones cannot take over what waits there, they
    can only serve everything that still comes, so more than ``clogged`` never help. With k more replicas a queue of Q
    lasts Q / k seconds, in which every request is late, and they cost k times their start-up and what they run: the
    least price is at k = sqrt(price * demand * Q / time).
    """
    if not clogged:
        return 0.0
    left = min(max(queue, terms.startup * (terms.follow - clogged)), QUEUE_SECONDS * clogged)
    return min(sqrt(terms.late_price * terms.follow * max(left, 0.0) / (terms.startup + 30.0)), float(clogged))


def wanted(law: Law, kept: float, extra: float, terms: Terms) -> int:
    """How many replicas a law wants, given the reserve it keeps and what drains its queue."""
    follow = cheapest(terms.follow + law.head_room * sqrt(terms.follow), terms) + round(extra)
    ready = cheapest(kept, terms) if kept else 0
    return min(max(follow, ready, terms.least), terms.most)


def cheapest(demand: float, terms: Terms) -> int:
    """The number of replicas that serves a steady demand at the least price: one more would cost more than the requests
    that come too late without it. Beyond two square roots of spare replicas hardly any request waits at all."""
    count, most = int(demand) + 1, demand + 2 * sqrt(demand)
    while (
        count < most
        and terms.late_price * demand * (too_late(count - demand, terms) - too_late(count + 1 - demand, terms)) > 1
    ):
        count += 1
    return count


def too_late(spare: float, terms: Terms, wait: float = 0.0) -> float:
    """The share of requests that come too late with ``spare`` replicas, when the queue alone makes them ``wait``.

    Waits in one queue for many replicas, in heavy traffic, with service times that hardly vary: their tail falls by e
    in the time in which the spare replicas serve half a request. Two routers that send to the least busy replica are
    nearly as good: of 12 replicas' demand on 13, with a patience of three service times, 0.30 % came too late in a
    simulation, and the formula says 0.25 %.
    """
    patience = terms.patience - wait
    if patience <= 0 or spare <= 0:
        return 1.0
    return exp(-2 * spare * patience * terms.rate)


def serve(ready: int, queue: float, clogged: int, coming: bool, terms: Terms) -> tuple[float, int, float]:
    """One look of a fluid fleet: its queue and its clogged replicas afterwards, and the share of requests too late.

    While replicas are ``coming`` those that have just come do not count as clogged yet.
    """
    fresh = ready - clogged
    if clogged and terms.now < fresh:
        # Routers send to the least busy replicas: what comes now finds no queue.
        queue = max(queue - clogged * terms.seconds, 0.0)
        return (0.0, 0, 0.0) if queue <= terms.patience * clogged else (queue, clogged, 0.0)
    after = min(max(queue + (terms.now - ready) * terms.seconds, 0.0), QUEUE_SECONDS * ready)
    if after > terms.patience * ready:
        return after, clogged if clogged and coming else ready, 1.0
    return after, 0, too_late(ready - terms.level, terms, (queue + after) / 2 / ready)


def play(account: Account, law: Law, kept: float, terms: Terms) -> Account:
    """One look of a law's own fleet: what became ready serves, the rest is a queue; then the law decides."""
    ready, pending = account.ready, account.pending
    if pending and pending[0][0] <= terms.time:
        ready += sum(count for due, count in pending if due <= terms.time)
        pending = tuple(start for start in pending if start[0] > terms.time)
    queue, clogged, share = serve(max(ready, 1), account.queue, min(account.clogged, ready), bool(pending), terms)
    replicas = ready + sum(count for _, count in pending)
    price = account.price * exp(-terms.seconds / MEMORY_SECONDS)
    price += (replicas + terms.late_price * share * terms.now) * terms.seconds
    need = wanted(law, kept, drain(queue, clogged, terms), terms)
    if need > replicas:
        pending = (*pending, (terms.time + terms.startup, need - replicas))
    elif need < replicas:
        ready, pending = _fewer(ready, pending, replicas - need)
    return Account(price, ready, pending, queue, clogged)


def _fewer(ready: int, pending: tuple[tuple[float, int], ...], less: int) -> tuple[int, tuple[tuple[float, int], ...]]:
    left = list(pending)
    while less and left:
        due, count = left.pop()
        if count > less:
            left.append((due, count - less))
            less = 0
        else:
            less -= count
    return ready - less, tuple(left)


def leader(accounts: tuple[Account, ...], last: int | None, kept: Mapping[Reserve, float], terms: Terms) -> int:
    """The law that the real fleet follows: of those that keep ready what the ``last`` one did, the cheapest, unless
    another kind is cheaper by what being caught once costs.

    Without that the fleet would give up a reserve as soon as a law that has none is a little cheaper: always just
    before the reserve is needed again.
    """
    best = min(range(len(LAWS)), key=lambda index: accounts[index].price)
    if last is None:
        return best
    same = [index for index, law in enumerate(LAWS) if law.reserve is LAWS[last].reserve]
    stay = min(same, key=lambda index: accounts[index].price)
    return stay if accounts[stay].price <= accounts[best].price + caught(max(kept.values()), terms) else best
