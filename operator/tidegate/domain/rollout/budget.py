"""How a rollout gets along with the places there are: decided before anything moves, and told in one sentence.

Surge starts extra pods beside stable. InPlace replaces one pod at a time, with one pod fewer meanwhile. Recreate ends
stable before the new pods start, and interrupts requests. Wait leaves everything as it is until there is room: it asks
for the extra pod nevertheless, because only a pod that waits makes a cluster grow, and the scheduler starts it as soon
as there is a place. ``onShortage`` is what is allowed at most: Recreate is not done where InPlace is possible.

A plan is kept until the rollout ends, but for two cases: a plan that waits is looked at again, and a pod that is seen
to find no place overrules what was counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tidegate.api.status import Reason
from tidegate.domain.capacity import Headroom, Room, describe
from tidegate.domain.diagnose import Cause
from tidegate.domain.observed import PodView
from tidegate.domain.rollout.counting import counted
from tidegate.domain.rollout.sizing import Scene, Sizes, recreated, sizes

Mode = Literal["Surge", "InPlace", "Recreate", "Wait"]
Shortage = Literal["Wait", "InPlace", "Recreate"]
Strategy = Literal["Canary", "BlueGreen", "Recreate"]
PLACELESS = frozenset({Reason.UNSCHEDULABLE, Reason.POD_REFUSED})
EXTRA, SHORTAGE = "spec.rollout.budget.maxExtraReplicas", "spec.rollout.budget.onShortage"


@dataclass(frozen=True)
class Budget:
    """What a user allows: pods beyond ``replicas`` (None: any number), and what to do when there is no room for one.

    ``on_shortage`` is the most that may be done. No extra pod at all takes them from stable, whatever it says.
    """

    max_extra: int | None = None
    on_shortage: Shortage = "Wait"


@dataclass(frozen=True)
class Demand:
    """A rollout that asks for places. ``need`` is how many extra pods it can use at most, 1 or more."""

    replicas: int
    need: int
    strategy: Strategy
    budget: Budget

    @property
    def wanted(self) -> int:
        """Extra pods it may have."""
        allowed = self.budget.max_extra
        return self.need if allowed is None else min(self.need, allowed)

    @property
    def least(self) -> int:
        """Extra pods without which it cannot go on as its strategy says: BlueGreen starts all before any serves."""
        return self.need if self.strategy == "BlueGreen" else 1

    @property
    def in_place(self) -> bool:
        """True when pods may be replaced one by one: where there is no room, or because no extra pod is allowed."""
        return self.budget.on_shortage != "Wait" or self.wanted == 0


@dataclass(frozen=True)
class BudgetPlan:
    """How a rollout goes on. ``extra`` is how many pods there may be beyond ``replicas``; None is any number.

    ``tried`` remembers that pods were to be replaced in place and found none.
    """

    mode: Mode
    extra: int | None
    message: str
    tried: bool = False


@dataclass(frozen=True)
class Placing:
    """How the canary's pods fare: ``placed`` have a place; ``missing`` says why others find none, if they do not."""

    placed: int
    missing: str = ""


def placing(cause: Cause | None, pods: Sequence[PodView], leaving: int) -> Placing:
    """What is seen of the canary's pods and of their ``cause``.

    While pods of the model are leaving, a place may come free: then no pod is without one for good.
    """
    placed = sum(pod.conditions.get("PodScheduled", {}).get("status") == "True" for pod in pods)
    found = cause is not None and cause.reason in PLACELESS and not leaving
    return Placing(placed, cause.message.rstrip(".") if cause and found else "")


def plan_budget(demand: Demand, room: Room) -> BudgetPlan:
    """The plan of a rollout that has not moved yet."""
    return _plan(demand, room, tried=False, moved=False)


def plan_again(before: BudgetPlan, demand: Demand, room: Room, seen: Placing, *, moved: bool) -> BudgetPlan:
    """The plan of a rollout under way. ``moved`` is True once the canary has requests."""
    if not seen.missing:
        unproven = room.now.count is None and not seen.placed and before.extra != 0
        if before.mode != "Wait" or unproven:
            return before
        return _plan(demand, room, tried=before.tried, moved=moved)
    if before.mode == "Recreate" or (before.mode == "InPlace" and seen.placed):
        # Somebody else took the place that was made. To go back would need it as well.
        return before
    here = replace(room, now=Headroom(seen.placed, seen.missing))
    return _plan(demand, here, tried=before.tried or before.mode == "InPlace", moved=moved)


def _plan(demand: Demand, room: Room, *, tried: bool, moved: bool) -> BudgetPlan:
    wanted, why = demand.wanted, describe(room.now)
    if demand.strategy == "Recreate" and not moved:
        return _recreate(demand, room, "spec.rollout.strategy is Recreate", tried=tried)
    free = wanted
    if room.now.count is not None:
        # What stable itself still lacks is not free; what it has too much is not there for pods of any size.
        free = min(wanted, max(0, room.now.count - max(0, demand.replicas - room.stable)))
    if wanted < demand.least:
        why = f"{EXTRA} is {wanted}" + (f" and BlueGreen needs {demand.least}" if demand.least > 1 else "")
        return _short(demand, room, free, why, tried=tried, moved=moved)
    if free < demand.least:
        return _short(demand, room, free, why, tried=tried, moved=moved)
    if free < wanted:
        return BudgetPlan("Surge", free, f"Starts {_pods(free)} instead of {wanted}: {why}.", tried)
    limit = None if demand.budget.max_extra is None else wanted
    doubt = ", and plans again if they find no place" if room.now.count is None else ""
    return BudgetPlan("Surge", limit, f"Starts {_pods(limit)}{doubt}: {why}.", tried)


def _short(demand: Demand, room: Room, free: int, why: str, *, tried: bool, moved: bool) -> BudgetPlan:
    """What to do without room for what is needed: the gentlest that is allowed and possible."""
    replicas, place = demand.replicas, room.one_gone
    if not demand.in_place:
        other = "InPlace or Recreate" if replicas > 1 else "Recreate"
        return _wait(demand, why, f"Free capacity, or set {SHORTAGE} to {other}", tried=tried)
    if free:
        return BudgetPlan("Surge", free, f"Moves pod by pod with {_pods(free)}: {why}.", tried)
    if replicas > 1 and not tried and place.count != 0:
        carry = f"{replicas - 1} of {replicas} pods carry all requests meanwhile"
        return BudgetPlan("InPlace", 0, f"Replaces one pod at a time, {carry}: {why}.", tried)
    if replicas > 1:
        known = "" if tried else f" ({place.message})"
        why = f"{why}, and a new pod does not fit in the place of an old one{known}"
    # A revision that was not judged yet must not get everything.
    if demand.budget.on_shortage == "Recreate" and not moved:
        return _recreate(demand, room, why, tried=tried)
    other = "" if moved else f", or set {SHORTAGE} to Recreate, which interrupts requests"
    return _wait(demand, why, f"Free capacity{other}", tried=tried)


def _recreate(demand: Demand, room: Room, why: str, *, tried: bool) -> BudgetPlan:
    least, place = max(1, min(demand.replicas, room.stable)), room.all_gone
    if place.count is not None and place.count < least:
        why = f"{why}, and even without the old pods only {place.count} of {least} new ones would find a place"
        return _wait(demand, f"{why} ({place.message})", "Free capacity", tried=tried)
    text = f"Ends the old pods before the new ones start, which interrupts requests: {why}."
    return BudgetPlan("Recreate", 0, text, tried)


def _wait(demand: Demand, why: str, advice: str, *, tried: bool) -> BudgetPlan:
    """A pod that may never start is not asked for."""
    extra = demand.least if demand.wanted >= demand.least else 0
    if extra == 0:
        advice = f"Raise {EXTRA}. {advice}"
    return BudgetPlan("Wait", extra, f"Waits: {why}. {advice}.", tried)


def _pods(extra: int | None) -> str:
    if extra is None:
        return "as many extra pods as it needs"
    return "1 extra pod" if extra == 1 else f"up to {extra} extra pods"


def sizes_by(
    plan: BudgetPlan,
    replicas: int,
    target: int,
    scene: Scene,
    *,
    before_weight: int = 0,
    keep: int | None = None,
    at_once: bool = False,
    by_pods: bool = False,
) -> Sizes:
    """One look on the way to a canary's share of ``target`` percent, as planned; see :func:`sizing.sizes`.

    With ``by_pods`` shares come from numbers of pods; see :func:`counting.counted`.
    """
    if plan.mode == "Recreate":
        return recreated(replicas, target, scene, before_weight=before_weight)
    if plan.mode == "Wait" and plan.extra == 0:
        target, before_weight = min(target, scene.weight), 0
    if by_pods:
        return counted(replicas, plan.extra, target, scene, before_weight=before_weight)
    return sizes(replicas, plan.extra, target, scene, before_weight=before_weight, keep=keep, at_once=at_once)
