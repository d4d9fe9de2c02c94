"""Many small laws, each with a fleet of its own in a fluid model of the same traffic.

A law says how much head-room demand gets, and for how long the height of a surprise is kept ready. No fixed choice is
good for all traffic, so every law is played against what really came, at what it would have cost: its replicas, and
its late requests at a price. The real fleet follows the law that was cheapest of late.
"""

from dataclasses import dataclass
from math import ceil, exp, sqrt

from tidegate.domain.scaling.forecast import MOST_RATIO, Surprise

HEAD_ROOMS = (0.6, 1.0, 1.6, 2.5)
KEEPS = (0.1, 0.3, 1.0, 3.0, 30.0)
MEMORY_SECONDS = 3600.0
PRIOR_SECONDS = 600.0
QUEUE_SECONDS = 10.0
DETECTION_SECONDS = 4.0
NEARLY = 1.05
PATIENCE_OF_LAWS = 1.1


@dataclass(frozen=True)
class Law:
    """``head_room`` in square roots of the demand in replicas. A surprise is kept for ``keep`` times the time in which
    the idle replicas cost as much as being caught again; ``relative``: as a multiple of the level, not as a rate."""

    head_room: float
    keep: float
    relative: bool


LAWS: tuple[Law, ...] = tuple(
    Law(head_room, keep, relative)
    for head_room in HEAD_ROOMS
    for keep, relative in ((0.0, False), *((k, r) for r in (False, True) for k in KEEPS))
)
_KINDS = 1 + 2 * len(KEEPS)
DEFAULT = Law(1.0, 1.0, False)
REFERENCE = LAWS.index(Law(DEFAULT.head_room, 0.0, False))
"""What catches this law is a surprise. What catches a fleet with less head-room is chance, which head-room is for."""


@dataclass(frozen=True)
class Terms:
    """What all laws share at one look: replicas are the unit of demand.

    ``follow`` is the demand to expect when a replica that starts now is ready, the highest of late; ``now`` the demand
    of this look, ``level`` and ``base`` its longer means; ``rate`` what a replica serves a second, ``patience`` the
    seconds a request may wait, ``late_price`` the price of one late request in service times, ``startup`` seconds.
    ``tail`` says how fast queues get rarer with length (1 would be one queue for all replicas).
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
    tail: float
    least: int
    most: int


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


def opening(demand: float) -> tuple[Account, ...]:
    """Accounts before any traffic was seen: laws far from the default are taken to be dearer, a little."""
    return tuple(Account(PRIOR_SECONDS * max(demand, 1.0) * _prior(law), 0) for law in LAWS)


def _prior(law: Law) -> float:
    rooms = abs(HEAD_ROOMS.index(law.head_room) - HEAD_ROOMS.index(DEFAULT.head_room))
    keeps = (0.0, *KEEPS)
    return 0.1 * rooms + 0.1 * abs(keeps.index(law.keep) - keeps.index(DEFAULT.keep)) + 0.05 * law.relative


def reserve(law: Law, surprises: tuple[Surprise, ...], terms: Terms) -> float:
    """The demand, in replicas, that a law keeps ready for because of what happened before."""
    kept = 0.0
    if not law.keep:
        return kept
    for surprise in surprises:
        peak = min(surprise.ratio, MOST_RATIO) * terms.base if law.relative else surprise.peak / terms.rate
        idle = peak - terms.level
        if peak > kept and idle > 0:
            caught = terms.late_price * peak * (terms.startup + DETECTION_SECONDS)
            if (terms.time - surprise.time) * idle < law.keep * caught:
                kept = peak
    return kept


def reserves(surprises: tuple[Surprise, ...], terms: Terms) -> dict[tuple[float, bool], float]:
    """The reserve of every law, by what it keeps: laws that differ in head-room only share one."""
    return {(law.keep, law.relative): reserve(law, surprises, terms) for law in LAWS[:_KINDS]}


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
    follow = terms.follow + law.head_room * sqrt(terms.follow) + extra
    need = max(follow, kept + min(law.head_room, 1.0) * sqrt(kept))
    return min(max(ceil(need - 0.05), terms.least), terms.most)


def late_share(ready: int, wait: float, terms: Terms) -> float:
    """The share of requests that come too late with ``ready`` replicas, when the queue alone makes them ``wait``."""
    patience = terms.patience - wait
    spare = ready - terms.level
    if patience <= 0 or spare <= 0:
        return 1.0
    return exp(-2 * terms.tail * spare * patience * terms.rate)


def serve(ready: int, queue: float, clogged: int, coming: bool, terms: Terms) -> tuple[float, int, float]:
    """One look of a fluid fleet: its queue and its clogged replicas afterwards, and the share of requests too late.

    While replicas are ``coming`` those that have just come do not count as clogged yet.
    """
    fresh = ready - clogged
    if clogged and terms.now < fresh:
        # The router sends to the shorter of two queues: only two clogged replicas leave it no choice.
        share = (clogged / ready) ** 2
        queue = max(queue - clogged * terms.seconds, 0.0)
        return (0.0, 0, share) if queue <= terms.patience * clogged else (queue, clogged, share)
    after = min(max(queue + (terms.now - ready) * terms.seconds, 0.0), QUEUE_SECONDS * ready)
    if after > terms.patience * ready:
        return after, clogged if clogged and coming else ready, 1.0
    return after, 0, late_share(ready, (queue + after) / 2 / ready, terms)


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


def leader(accounts: tuple[Account, ...], reserves: dict[tuple[float, bool], float], terms: Terms) -> int:
    """The law that the real fleet follows: the cheapest; of those with its head-room that are not much dearer, the one
    that keeps the largest reserve.

    Without that the fleet would give up a reserve as soon as a law that has none is a little cheaper: always just
    before the reserve is needed again. What may be lost by waiting is what being caught once would cost.
    """
    best = min(range(len(LAWS)), key=lambda index: accounts[index].price)
    highest = max(kept for (_, relative), kept in reserves.items() if relative == LAWS[best].relative)
    caught = terms.late_price * highest * (terms.startup + DETECTION_SECONDS)
    near = max(accounts[best].price * NEARLY, accounts[best].price + PATIENCE_OF_LAWS * caught)
    kind = LAWS[best].head_room, LAWS[best].relative
    same = [i for i, law in enumerate(LAWS) if (law.head_room, law.relative) == kind and accounts[i].price <= near]
    return max(same, key=lambda index: (reserves[LAWS[index].keep, LAWS[index].relative], -accounts[index].price))
