"""``decide``: from what was measured to how many replicas, with the reason. Pure; the operator, the simulator and the
tests call the same function."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import sqrt

from tidegate.domain.scaling import laws
from tidegate.domain.scaling.capacity import Capacity
from tidegate.domain.scaling.forecast import Demand, Surprise, continued, left, refreshed, remember
from tidegate.domain.scaling.laws import Account, Terms
from tidegate.domain.scaling.limits import Limits, Past, bound
from tidegate.domain.scaling.window import Sample, Window, fault

DEFAULT_STARTUP_SECONDS = 60.0
SETTLING_SECONDS = 60.0
STEADY_SECONDS = 10.0


class ScalingReason(StrEnum):
    """Why the size is what it is: a closed set."""

    NO_DATA = "NoData"
    SETTLING = "Settling"
    DEMAND = "Demand"
    RESERVE = "Reserve"
    OVERLOAD = "Overload"
    IDLE = "Idle"
    WAKING = "Waking"
    AT_MAXIMUM = "AtMaximum"
    AT_MINIMUM = "AtMinimum"
    STABILIZING = "Stabilizing"
    RATE_LIMITED = "RateLimited"


@dataclass(frozen=True)
class Policy:
    """What a user asks for: ``percentile`` of the requests within ``milliseconds``; ``idle_seconds`` without a request
    before the last replica goes, when the limits allow zero."""

    percentile: float
    milliseconds: float
    limits: Limits
    idle_seconds: float = 300.0

    @property
    def late_price(self) -> float:
        """Price of one late request in service times: at the edge of the objective all of them cost one fleet."""
        return 1 / (1 - min(self.percentile, 99.9) / 100)


@dataclass(frozen=True)
class State:
    """Everything that is remembered from look to look."""

    seen: float | None = None
    since: float = 0.0
    last_arrival: float = 0.0
    capacity: Capacity | None = None
    demand: Demand = field(default_factory=Demand)
    highest: tuple[tuple[float, float], ...] = ()
    surprises: tuple[Surprise, ...] = ()
    caught: bool = False
    accounts: tuple[Account, ...] = ()
    tail: float = 0.5
    wishes: tuple[tuple[float, int], ...] = ()
    clogged: int = 0
    ready: int = 0
    ready_since: float = 0.0
    late: float = 0.0
    past: Past = field(default_factory=Past)


@dataclass(frozen=True)
class Decision:
    """``replicas`` to have, ``reason`` and ``message`` for people, ``inputs`` what it rests on, by name."""

    replicas: int
    reason: ScalingReason
    message: str
    inputs: dict[str, float]


def decide(policy: Policy, window: Window, state: State, now: float) -> tuple[Decision, State]:
    """Look at the samples that are new, and say how many replicas there shall be.

    Total: whatever the samples hold, the answer is within the limits. Without a good new sample the size is kept.
    """
    fresh = [sample for sample in window.samples if state.seen is None or sample.time > state.seen]
    faults = []
    good = 0
    for sample in fresh:
        wrong = fault(sample, state.seen, now)
        if wrong:
            faults.append(wrong)
            continue
        state = _after(policy, window, state, sample)
        good += 1
    if not good or state.capacity is None:
        why = faults[-1] if faults else "nothing new was measured"
        return _hold(policy, window, state, f"kept: {why}")
    return _conclude(policy, window, state, now)


def _hold(policy: Policy, window: Window, state: State, message: str) -> tuple[Decision, State]:
    limits = policy.limits
    kept = min(max(window.wanted, limits.least), limits.most)
    return Decision(kept, ScalingReason.NO_DATA, message, {}), state


def _startup(window: Window) -> float:
    return window.startup_seconds if window.startup_seconds is not None else DEFAULT_STARTUP_SECONDS


def _terms(policy: Policy, window: Window, state: State, sample: Sample, capacity: Capacity) -> Terms:
    rate = capacity.serves
    demand = state.demand
    return Terms(
        time=sample.time,
        seconds=sample.seconds,
        now=sample.rate / rate,
        follow=max((value for _, value in state.highest), default=0.0) / rate,
        level=demand.level / rate,
        base=demand.base / rate,
        rate=rate,
        patience=max(policy.milliseconds / 1000 - capacity.seconds, 0.25 / rate),
        late_price=policy.late_price,
        startup=max(_startup(window), 1.0),
        tail=state.tail,
        least=max(policy.limits.least, 1),
        most=max(policy.limits.most, 1),
    )


def _after(policy: Policy, window: Window, state: State, sample: Sample) -> State:
    """The state with one more look."""
    capacity = state.capacity or Capacity.prior(window.profile_rate, window.instances)
    ready_since = state.ready_since if sample.ready == state.ready else sample.time
    capacity = capacity.after(sample, window.instances, steady=sample.time - ready_since >= STEADY_SECONDS)
    before = state.demand
    demand = before.after(sample.rate, sample.seconds)
    surprises = refreshed(state.surprises, demand, sample.time)
    if left(before, demand):
        surprises = remember(surprises, Surprise(sample.time, before.level, before.level / max(before.base, 1e-9)))
    startup = _startup(window)
    ahead = demand.ahead(startup)
    keep = max(startup, 20.0)
    highest = (*((t, v) for t, v in state.highest if t > sample.time - keep and v > ahead), (sample.time, ahead))
    state = replace(
        state,
        since=sample.time - sample.seconds if state.seen is None else state.since,
        last_arrival=sample.time if sample.arrivals or state.seen is None else state.last_arrival,
        seen=sample.time,
        capacity=capacity,
        demand=demand,
        surprises=surprises,
        highest=highest,
        ready=sample.ready,
        ready_since=ready_since,
    )
    terms = _terms(policy, window, state, sample, capacity)
    accounts = state.accounts or laws.opening(max(window.wanted, 1), terms.level)
    kept = laws.reserves(state.surprises, terms)
    accounts = tuple(
        laws.play(account, law, kept[law.keep, law.relative], terms)
        for account, law in zip(accounts, laws.LAWS, strict=True)
    )
    return _surprised(replace(state, accounts=accounts), accounts[laws.REFERENCE], terms)


def _surprised(state: State, reference: Account, terms: Terms) -> State:
    """Notice that a fleet that only follows demand would be caught now."""
    caught = bool(reference.clogged) or reference.queue > 0.5 * terms.patience * max(reference.ready, 1)
    if not caught:
        return replace(state, caught=False)
    # The mean since a jump is uncertain at first: what is remembered is what demand was at least.
    peak = state.demand.level - sqrt(state.demand.level / state.demand.age)
    if state.caught and state.surprises:
        return replace(state, surprises=continued(state.surprises, peak))
    base = max(state.demand.base, terms.rate * 0.1)
    return replace(state, caught=True, surprises=remember(state.surprises, Surprise(terms.time, peak, peak / base)))


def _conclude(policy: Policy, window: Window, state: State, now: float) -> tuple[Decision, State]:
    assert state.capacity is not None
    sample = window.samples[-1]
    terms = _terms(policy, window, state, sample, state.capacity)
    reserves = laws.reserves(state.surprises, terms)
    law = laws.LAWS[laws.leader(state.accounts, reserves)]
    kept = reserves[law.keep, law.relative]
    queue, clogged = _clogged(state, sample, window.instances, terms)
    extra = laws.drain(queue, clogged, terms)
    wish = laws.wanted(law, kept, extra, terms)
    follow = terms.follow + law.head_room * sqrt(terms.follow)
    reason = ScalingReason.OVERLOAD if extra else ScalingReason.RESERVE if kept > follow else ScalingReason.DEMAND
    # Stopping a replica and starting it again within one start-up time costs more than keeping it.
    keep = max(terms.startup, 20.0)
    wishes = (*((t, n) for t, n in state.wishes if t > now - keep and n > wish), (now, wish))
    wish = max(wish, min(wishes[0][1], window.wanted))
    if now - state.since < max(SETTLING_SECONDS, terms.startup) and wish < window.wanted:
        wish, reason = window.wanted, ScalingReason.SETTLING
    bounded = bound(wish, window.wanted, policy.limits, state.past, now)
    if bounded.by:
        reason = ScalingReason(bounded.by)
    inputs = {
        "rate": sample.rate, "forecast": terms.follow * terms.rate, "capacity": terms.rate, "reserve": kept * terms.rate,
        "headRoom": law.head_room, "keep": law.keep, "relative": float(law.relative), "queue": queue, "extra": extra,
    }
    return Decision(bounded.replicas, reason, "", inputs), replace(state, past=bounded.past, wishes=wishes, clogged=clogged)


def _clogged(state: State, sample: Sample, instances: int, terms: Terms) -> tuple[float, int]:
    """The queue in replica seconds, and the replicas in which it stands: those that were ready when it began."""
    queue = max(sample.concurrency / instances - min(terms.now, sample.ready), 0.0) * instances / terms.rate
    if terms.now >= sample.ready - state.clogged and not (state.clogged and sample.starting):
        return queue, sample.ready if queue > terms.patience * max(sample.ready, 1) else 0
    return queue, state.clogged if queue > terms.patience * state.clogged else 0
