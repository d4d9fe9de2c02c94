"""From what is seen of a cluster to the sizes of both revisions: the plan of a rollout, and one look by it."""

from dataclasses import dataclass

from tidegate.api.rollout import Rollout
from tidegate.api.status import BudgetStatus, ModelDeploymentStatus, Reason, RolloutStatus
from tidegate.domain.capacity import CapacityFacts, room
from tidegate.domain.diagnose import diagnose
from tidegate.domain.direct import strangers
from tidegate.domain.observed import Observed, PodView, Raw
from tidegate.domain.outside import by_pods
from tidegate.domain.revision import StoredRevision
from tidegate.domain.rollout.budget import Budget, BudgetPlan, Demand, placing, plan_again, plan_budget, sizes_by
from tidegate.domain.rollout.sizing import Pods, Scene, Sizes
from tidegate.domain.traffic import fleet, served

PLACELESS = (Reason.UNSCHEDULABLE, Reason.POD_REFUSED)


@dataclass(frozen=True)
class Goal:
    """What the current step asks for: the canary's share in percent, and its pods whatever its share is.

    ``whole`` asks for every pod before the first request.
    """

    replicas: int
    weight: int
    pods: int
    whole: bool = False


def needs_capacity(status: ModelDeploymentStatus) -> bool:
    """True while a plan is made or made anew: reading a whole cluster is too much for every look."""
    rollout = status.rollout
    if rollout is None or rollout.aborted or status.stable is None:
        return False
    ready = next((c.reason for c in status.conditions if c.type == "Ready"), "")
    return rollout.plan is None or rollout.plan.mode == "Wait" or ready in PLACELESS


def planned(
    spec: Rollout,
    replicas: int,
    rollout: RolloutStatus,
    observed: Observed,
    stable: StoredRevision,
    target: StoredRevision,
) -> BudgetStatus | None:
    """The plan of a rollout; None while nobody has looked at the cluster's room."""
    before = _plan(rollout.plan)
    facts = observed.capacity
    if facts is None and before is None:
        return None
    facts = facts or CapacityFacts(observed.subject.namespace)
    pods = {name: _raw(observed, name) for name in (stable.name, target.name)}
    leaving = [p.raw for p in _all(observed) if p.leaving]
    found = room(facts, target.revision.pod_needs, stable=pods[stable.name], canary=pods[target.name], leaving=leaving)
    demand = Demand(replicas, max(replicas, 1), spec.strategy, _budget(spec))
    if before is None:
        return _told(plan_budget(demand, found))
    seen = fleet(observed, target.name)
    cause = diagnose(seen.pods, observed.deployment(target.name))
    places = placing(cause, seen.pods, len(leaving))
    return _told(plan_again(before, demand, found, places, moved=rollout.weight > 0))


def sized(plan: BudgetStatus | None, goal: Goal, observed: Observed, stable: str, canary: str) -> Sizes:
    """Pods to ask for and the share to give now. Without a plan everything stays as it is."""
    scene = scene_of(observed, stable, canary)
    by = _plan(plan)
    if by is None:
        return Sizes(goal.replicas, scene.canary.wanted, min(scene.weight, goal.weight))
    sizes = sizes_by(by, goal.replicas, goal.weight, scene, before_weight=goal.pods, by_pods=by_pods(observed))
    all_at_once = goal.whole and by.mode != "Recreate"
    if all_at_once and sizes.weight > scene.weight and scene.canary.ready < goal.replicas:
        return Sizes(sizes.stable, sizes.canary, scene.weight)
    return sizes


def scene_of(observed: Observed, stable: str, canary: str) -> Scene:
    """What is seen of both revisions, and of pods of others that hold their place."""
    now = served(observed)
    told = now.route.weight(canary) if now.route else 0
    others = sum(pod.revision not in (stable, canary) for pod in _all(observed))
    unwanted = strangers(observed, stable, canary) if by_pods(observed) else 0
    return Scene(_pods(observed, stable), _pods(observed, canary), told, now.verified, others, unwanted)


def _pods(observed: Observed, revision: str) -> Pods:
    seen = fleet(observed, revision)
    leaving = sum(pod.leaving and pod.revision == revision for pod in _all(observed))
    return Pods(seen.wanted, seen.ready, len(seen.pods), leaving, seen.known)


def _all(observed: Observed) -> list[PodView]:
    """Server pods of the model that have not ended, on their way out or not."""
    return [pod for pod in map(PodView, observed.kind("Pod")) if pod.revision and pod.serves and not pod.ended]


def _raw(observed: Observed, revision: str) -> list[Raw]:
    return [pod.raw for pod in observed.pods(revision)]


def _budget(spec: Rollout) -> Budget:
    return Budget(spec.budget.max_extra_replicas, spec.budget.on_shortage)


def _plan(plan: BudgetStatus | None) -> BudgetPlan | None:
    if plan is None:
        return None
    return BudgetPlan(plan.mode, plan.extra, plan.message, bool(plan.tried))


def _told(plan: BudgetPlan) -> BudgetStatus:
    return BudgetStatus(mode=plan.mode, extra=plan.extra, message=plan.message[:4096], tried=plan.tried or None)
