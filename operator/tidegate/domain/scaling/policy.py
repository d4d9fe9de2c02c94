"""``decide``: from what was measured to how many replicas, with the reason. Pure; the operator, the simulator and the
tests call the same function."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import sqrt

from tidegate.domain.scaling import laws
from tidegate.domain.scaling.capacity import Capacity
from tidegate.domain.scaling.correction import Correction
from tidegate.domain.scaling.forecast import FALLEN, Demand, fell
from tidegate.domain.scaling.laws import Account, Terms
from tidegate.domain.scaling.limits import Limits, Past, bound
from tidegate.domain.scaling.phases import Phases, risks
from tidegate.domain.scaling.window import Sample, Window, fault

DEFAULT_STARTUP_SECONDS = 60.0
SETTLING_SECONDS = 60.0
STEADY_SECONDS = 10.0
KEPT_SECONDS = 20.0
BATCHES_IN_TIME = 2.0
"""A batch may take the objective over this: a request waits for the one that runs, then for its own."""


class ScalingReason(StrEnum):
    """Why the size is what it is: a closed set."""

    NO_DATA = "NoData"
    SETTLING = "Settling"
    DEMAND = "Demand"
    RESERVE = "Reserve"
    OVERLOAD = "Overload"
    OUT_OF_REACH = "ObjectiveOutOfReach"
    IDLE = "Idle"
    WAKING = "Waking"
    AT_MAXIMUM = "AtMaximum"
    AT_MINIMUM = "AtMinimum"
    STABILIZING = "Stabilizing"
    RATE_LIMITED = "RateLimited"


MESSAGES = {
    ScalingReason.SETTLING: "kept: too little was seen since the operator started to give up replicas",
    ScalingReason.DEMAND: "what demand will need when a new replica is ready",
    ScalingReason.RESERVE: "demand jumped to the reserve before and may do so again, faster than a replica starts",
    ScalingReason.OVERLOAD: "requests queue for longer than the objective allows",
    ScalingReason.OUT_OF_REACH: "requests are late without waiting for a replica, so more replicas would not help: "
    "look at the model's own latency and at the objective",
    ScalingReason.IDLE: "no request came for idleBeforeZero",
    ScalingReason.WAKING: "a request came and no replica is there",
    ScalingReason.AT_MAXIMUM: "more is needed than maxReplicas allows",
    ScalingReason.AT_MINIMUM: "less is needed than minReplicas",
    ScalingReason.STABILIZING: "behavior's stabilization window holds the change back",
    ScalingReason.RATE_LIMITED: "behavior's policies hold the change back",
}


@dataclass(frozen=True)
class Policy:
    """What a user asks for: ``percentile`` of the requests within ``milliseconds``; ``idle_seconds`` without a request
    before the last replica goes, when the limits allow zero."""

    percentile: float
    milliseconds: float
    limits: Limits
    idle_seconds: float = 300.0

    @property
    def allowed(self) -> float:
        """Share of the requests that may be late."""
        return 1 - min(self.percentile, 99.9) / 100

    @property
    def late_price(self) -> float:
        """Price of one late request in service times: at the edge of the objective all of them cost one fleet."""
        return 1 / self.allowed


@dataclass(frozen=True)
class State:
    """Everything that is remembered from look to look.

    ``seen`` is the time of the last good sample, ``since`` of the first one. ``highest`` are forecasts of the last
    start-up time and ``wishes`` sizes of the last seconds that no later one exceeds. ``law`` is the one that was
    followed last. ``caught``: demand is beyond what a fleet that follows it would serve now. ``clogged`` replicas have
    a queue from an overload, of ``queue`` replica seconds. ``ready`` replicas were there ``ready_since``.
    """

    seen: float | None = None
    since: float = 0.0
    last_arrival: float = 0.0
    capacity: Capacity | None = None
    demand: Demand = field(default_factory=Demand)
    highest: tuple[tuple[float, float], ...] = ()
    phases: Phases = field(default_factory=Phases)
    caught: bool = False
    accounts: tuple[Account, ...] = ()
    law: int | None = None
    correction: Correction = field(default_factory=Correction)
    wishes: tuple[tuple[float, int], ...] = ()
    queue: float = 0.0
    clogged: int = 0
    ready: int = 0
    ready_since: float = 0.0
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
    good: Sample | None = None
    wrong = "nothing new was measured"
    for sample in window.samples:
        if state.seen is not None and sample.time <= state.seen <= now:
            continue
        found = fault(sample, state.seen, now)
        if found:
            wrong = found
            continue
        state = _after(policy, window, state, sample)
        good = sample
    if good is None or state.capacity is None:
        return _hold(policy, window, wrong), state
    return _conclude(policy, window, state, good, state.capacity, now)


def _hold(policy: Policy, window: Window, wrong: str) -> Decision:
    limits = policy.limits
    kept = min(max(window.wanted, limits.least), limits.most)
    return Decision(kept, ScalingReason.NO_DATA, f"kept: {wrong}", {})


def _startup(window: Window) -> float:
    return max(window.startup_seconds if window.startup_seconds is not None else DEFAULT_STARTUP_SECONDS, 1.0)


def _terms(policy: Policy, window: Window, state: State, sample: Sample, capacity: Capacity) -> Terms:
    rate = capacity.serves / state.correction.factor
    demand = state.demand
    return Terms(
        time=sample.time,
        seconds=sample.seconds,
        now=sample.rate / rate,
        follow=max(demand.glimpse, *(value for _, value in state.highest), 0.0) / rate,
        level=demand.level / rate,
        base=demand.base / rate,
        rate=rate,
        patience=max(policy.milliseconds / 1000 - capacity.reach_seconds, 0.25 / rate),
        late_price=policy.late_price,
        startup=_startup(window),
        least=max(policy.limits.least, 1),
        most=max(policy.limits.most, 1),
    )


def _after(policy: Policy, window: Window, state: State, sample: Sample) -> State:
    """The state with one more look."""
    first = state.seen is None
    capacity = state.capacity or Capacity.prior(window.profile_rate, window.instances)
    ready_since = state.ready_since if sample.ready == state.ready and not first else sample.time
    capacity = capacity.after(
        sample,
        window.instances,
        window.max_batch,
        policy.milliseconds / 1000 / BATCHES_IN_TIME,
        steady=sample.time - ready_since >= STEADY_SECONDS,
    )
    state = replace(
        _demanded(state, sample, _startup(window)),
        seen=sample.time,
        since=sample.time - sample.seconds if first else state.since,
        last_arrival=sample.time if sample.arrivals or (first and not state.last_arrival) else state.last_arrival,
        capacity=capacity,
        ready=sample.ready,
        ready_since=ready_since,
    )
    terms = _terms(policy, window, state, sample, capacity)
    accounts = state.accounts or laws.opening(terms)
    if first:
        accounts = tuple(Account(account.price, max(window.wanted, 1)) for account in accounts)
    kept = laws.reserves(state.phases, terms)
    accounts = tuple(
        laws.play(account, law, kept[law.reserve], terms) for account, law in zip(accounts, laws.LAWS, strict=True)
    )
    slots = window.instances * window.max_batch
    queue, clogged = _clogged(state, sample, slots, terms)
    correction = state.correction.after(
        sample, policy.milliseconds, policy.allowed, terms.patience, slots, clogged=bool(clogged)
    )
    state = replace(state, accounts=accounts, queue=queue, clogged=clogged, correction=correction)
    return _surprised(state, accounts[laws.REFERENCE], terms)


def _demanded(state: State, sample: Sample, startup: float) -> State:
    """Demand with one more look, its forecast, and what it fell from."""
    demand = state.demand.after(sample.rate, sample.seconds)
    phases = state.phases if state.phases.since is not None else Phases(since=sample.time)
    ahead, keep = demand.ahead(startup), max(startup, KEPT_SECONDS)
    recent = tuple((t, v) for t, v in state.highest if t > sample.time - keep)
    highest = (*((t, v) for t, v in recent if v > ahead), (sample.time, ahead))
    if demand.glimpse:
        # Only what is beyond everything of late is new; what comes and goes all the time has been seen whole.
        new = demand.level * FALLEN > max((value for _, value in recent), default=0.0)
        demand = replace(demand, glimpse=phases.may_be(demand.glimpse) if new else 0.0)
    caught = state.caught
    if fell(state.demand, demand):
        # Whether it comes back is a question of its own, which the laws answer.
        phases = phases.fell(sample.time, state.demand.level)
        highest = (*((min(t, sample.time + KEPT_SECONDS - keep), v) for t, v in highest[:-1]), highest[-1])
        caught = False
    return replace(state, demand=demand, phases=phases, highest=highest, caught=caught)


def _clogged(state: State, sample: Sample, slots: int, terms: Terms) -> tuple[float, int]:
    """The queue in replica seconds, and the replicas in which it stands: those that were ready when it began."""
    queue = max(sample.concurrency / slots - min(terms.now, sample.ready), 0.0) * slots / terms.rate
    if terms.now >= sample.ready - state.clogged and not (state.clogged and sample.starting):
        return queue, sample.ready if queue > terms.patience * max(sample.ready, 1) else 0
    return queue, state.clogged if queue > terms.patience * state.clogged else 0


def _surprised(state: State, reference: Account, terms: Terms) -> State:
    """Notice that a fleet that only follows demand would be caught now."""
    caught = bool(reference.clogged) or reference.queue > 0.5 * terms.patience * max(reference.ready, 1)
    if not caught:
        return replace(state, caught=False)
    # The mean since a jump is uncertain at first: what is remembered is what demand was at least.
    peak = max(state.demand.level - sqrt(state.demand.level / state.demand.age), 0.0)
    if state.caught:
        return replace(state, phases=state.phases.higher(peak))
    from_level = state.demand.before if state.demand.age < KEPT_SECONDS else state.demand.base
    ratio = peak / max(from_level, terms.rate * 0.1)
    # A fleet that shrank too far after a fall is caught without a jump.
    phases = state.phases.jumped(terms.time, peak, ratio) if ratio > 1 else state.phases
    return replace(state, caught=True, phases=phases)


def _conclude(
    policy: Policy, window: Window, state: State, sample: Sample, capacity: Capacity, now: float
) -> tuple[Decision, State]:
    """The size that the leading law wants, kept long enough, and within all bounds."""
    terms = _terms(policy, window, state, sample, capacity)
    reserves = laws.reserves(state.phases, terms)
    leader = laws.leader(state.accounts, state.law, reserves, terms)
    law = laws.LAWS[leader]
    kept, extra = reserves[law.reserve], laws.drain(state.queue, state.clogged, terms)
    wish = laws.wanted(law, kept, extra, terms)
    # A size that chance moves to and fro is not followed down.
    wishes = (*((t, n) for t, n in state.wishes if now - KEPT_SECONDS < t <= now and n > wish), (now, wish))
    wish = max(wish, min(wishes[0][1], window.wanted))
    reason = _why(policy, state, terms, kept > terms.follow, extra > 0)
    wish, reason = _special(policy, window, state, sample, terms, wish, reason, now)
    bounded = bound(wish, window.wanted, policy.limits, state.past, now)
    if bounded.by:
        reason = ScalingReason(bounded.by)
    inputs = {
        "rate": sample.rate,
        "forecast": terms.follow * terms.rate,
        "capacity": capacity.serves,
        "batch": capacity.reach,
        "startupSeconds": terms.startup,
        "ready": float(sample.ready),
        "starting": float(sample.starting),
        "reserve": kept * terms.rate,
        "headRoom": law.head_room,
        "jumpsPerHour": 3600 * sum(risk.chance for risk in risks(state.phases, sample.time, terms.caught_seconds)),
        "queueSeconds": state.queue,
        "extra": extra,
        "lateShare": state.correction.late_share,
        "correction": state.correction.factor,
    }
    rounded = {name: round(value, 3) for name, value in inputs.items()}
    decision = Decision(bounded.replicas, reason, MESSAGES[reason], rounded)
    return decision, replace(state, past=bounded.past, wishes=wishes, law=leader)


def _why(policy: Policy, state: State, terms: Terms, reserve: bool, overload: bool) -> ScalingReason:
    if overload:
        return ScalingReason.OVERLOAD
    if state.correction.out_of_reach(policy.allowed, terms.patience):
        return ScalingReason.OUT_OF_REACH
    return ScalingReason.RESERVE if reserve else ScalingReason.DEMAND


def _special(
    policy: Policy,
    window: Window,
    state: State,
    sample: Sample,
    terms: Terms,
    wish: int,
    reason: ScalingReason,
    now: float,
) -> tuple[int, ScalingReason]:
    """To zero, up from zero, and the time after a start in which nothing is given up."""
    busy = sample.arrivals or sample.waiting or sample.concurrency
    settling = now - state.since < max(SETTLING_SECONDS, terms.startup)
    if policy.limits.least == 0 and not busy and not (settling and window.wanted):
        if now - state.last_arrival >= policy.idle_seconds:
            return 0, ScalingReason.IDLE
        if window.wanted == 0:
            return 0, ScalingReason.IDLE
    if window.wanted == 0 and busy:
        return wish, ScalingReason.WAKING
    if wish < window.wanted and settling:
        return window.wanted, ScalingReason.SETTLING
    return wish, reason
