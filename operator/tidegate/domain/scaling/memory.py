"""What survives a restart: the state of the policy as short lists of numbers, and back.

What can be seen again in a minute (queues, recent wishes, the fleets of the laws) is left out.
"""

from collections.abc import Iterable, Sequence

from tidegate.api.autoscaling import ScalingMemory
from tidegate.domain.scaling.batches import Batches
from tidegate.domain.scaling.capacity import Capacity
from tidegate.domain.scaling.correction import Correction
from tidegate.domain.scaling.forecast import Demand
from tidegate.domain.scaling.laws import LAWS, Account
from tidegate.domain.scaling.limits import Past
from tidegate.domain.scaling.phases import Phase, Phases
from tidegate.domain.scaling.policy import State

VERSION = 3


def remembered(state: State) -> ScalingMemory:
    """The state in its wire form."""
    capacity, demand = state.capacity, state.demand
    return ScalingMemory(
        version=VERSION,
        capacity=_short(_capacity(capacity)) if capacity else [],
        demand=_short([demand.fast, demand.level, demand.base, demand.slow, demand.trend, demand.age, demand.before]),
        phases=_short(number for p in state.phases.ended for number in (p.rose, p.seconds, p.peak, p.ratio)),
        phase=_short([state.phases.since or 0.0, state.phases.rose, state.phases.left]),
        prices=_short(account.price for account in state.accounts),
        recommended=_short(number for pair in state.past.recommended for number in pair),
        sizes=_short(number for pair in state.past.sizes for number in pair),
        correction=round(state.correction.factor, 3),
        last_arrival=round(state.last_arrival, 1),
    )


def recalled(memory: ScalingMemory | None) -> State:
    """The state from its wire form; the state of a policy that knows nothing when there is none, or it is of another
    version or of other laws. What is recalled decides nothing before the first look."""
    if memory is None or memory.version != VERSION or len(memory.capacity) != 10 or len(memory.demand) != 7:
        return State()
    rate, seconds, evidence, saturated, batch, *line = memory.capacity
    fast, level, base, slow, trend, age, before = memory.demand
    if min(rate, seconds, saturated, batch) <= 0:
        return State()
    fits = len(memory.prices) == len(LAWS)
    return State(
        capacity=Capacity(rate, seconds, evidence, saturated, batch, Batches(*line)),
        demand=Demand(fast, level, base, slow, trend, age, before),
        phases=_phases(memory),
        accounts=tuple(Account(price, 0) for price in memory.prices) if fits else (),
        correction=Correction(memory.correction),
        last_arrival=memory.last_arrival,
        past=Past(_pairs(memory.recommended), _pairs(memory.sizes)),
    )


def _phases(memory: ScalingMemory) -> Phases:
    """None where nothing was seen yet."""
    if len(memory.phase) != 3 or not memory.phase[0]:
        return Phases()
    since, rose, left = memory.phase
    ended = (Phase(bool(r), seconds, peak, ratio) for r, seconds, peak, ratio in _groups(memory.phases, 4))
    return Phases(tuple(ended), since, bool(rose), left)


def _capacity(capacity: Capacity) -> list[float]:
    b = capacity.batches
    line = [b.size, b.seconds, b.spread, b.together, b.aim]
    return [capacity.rate, capacity.seconds, capacity.evidence, capacity.saturated, capacity.batch, *line]


def _short(numbers: Iterable[float]) -> list[float]:
    """Times need a tenth of a second, everything else four digits: both fit in one rule."""
    return [round(number, 1) if abs(number) >= 1e6 else float(f"{number:.5g}") for number in numbers]


def _groups(numbers: Sequence[float], size: int) -> list[tuple[float, ...]]:
    return [tuple(numbers[at : at + size]) for at in range(0, len(numbers) - size + 1, size)]


def _pairs(numbers: Sequence[float]) -> tuple[tuple[float, int], ...]:
    return tuple((time, int(size)) for time, size in _groups(numbers, 2))
