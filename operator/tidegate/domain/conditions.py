"""The conditions: what is true of a ModelDeployment, each with one word of a closed set and a sentence.

Ready, Reconciling and Stalled follow kstatus, so that ``kubectl wait``, ``helm --wait``, Argo CD and Flux read them.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from tidegate.api.status import Condition, Reason
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.checks.verdict import Verdict as CheckVerdict
from tidegate.domain.choice import overdue
from tidegate.domain.situation import Situation

Verdict = tuple[Literal["True", "False", "Unknown"], Reason, str]
HOPELESS = frozenset(
    {
        Reason.ARTIFACT_NOT_FOUND,
        Reason.DIGEST_MISMATCH,
        Reason.BUNDLE_INVALID,
        Reason.SIGNATURE_MISSING,
        Reason.SIGNATURE_INVALID,
        Reason.PUBLIC_KEY_INVALID,
        Reason.CONTRACT_BREAKING,
        Reason.NAME_CONFLICT,
        Reason.GATEWAY_API_MISSING,
    }
)
"""Causes that do not pass by waiting."""


def artifact_verified(s: Situation) -> Verdict:
    """The bundle is known, its manifest has the digest, and it is signed where spec asks for a signature."""
    if artifact := s.resolution.artifact:
        signed = f" Its signature was checked with {artifact.verified_by}." if artifact.verified_by else ""
        return "True", Reason.VERIFIED, f"Bundle {artifact.digest} is pinned.{signed}"
    if s.resolution.cause:
        return "False", s.resolution.cause.reason, s.resolution.cause.message
    return "Unknown", Reason.RESOLVING, "The address of the bundle is being resolved."


def available(spec: ModelDeploymentSpec, s: Situation) -> Verdict:
    """Some revision answers requests, and a router brings them."""
    if spec.suspend:
        return "False", Reason.SUSPENDED, "spec.suspend is true: no pod runs."
    fleet = s.stable_fleet
    if missing := _unaccepted(s):
        return "False", Reason.ROUTER_NOT_READY, missing
    if fleet is None:
        reason, message = (s.cause.reason, s.cause.message) if s.cause else (Reason.STARTING, "No revision serves yet.")
        return "False", reason, message
    serving = next((f for f in (fleet, s.canary_fleet) if f and f.ready), None)
    if serving and not s.routers_ready:
        return "False", Reason.ROUTER_NOT_READY, f"Pods are ready, but {s.unrouted}."
    if serving:
        return "True", Reason.AVAILABLE, f"Revision {serving.revision} serves."
    if spec.replicas == 0 and spec.autoscaling and s.settled:
        return "True", Reason.SCALED_TO_ZERO, "No pod runs; the next request waits at the router for one."
    if spec.replicas == 0:
        return "False", Reason.SCALED_TO_ZERO, "spec.replicas is 0: no pod runs."
    reason = s.cause.reason if s.cause else Reason.STARTING
    return "False", reason, s.cause.message if s.cause else f"No pod of revision {fleet.revision} is ready."


def _unaccepted(s: Situation) -> str:
    """What is missing while pods of the first revision wait for a Gateway, which may not exist; empty otherwise."""
    waits = s.gateway and s.first and not s.routers_ready and s.canary_fleet and s.canary_fleet.ready
    return f"Pods are ready, but {s.unrouted}." if waits and not s.cause else ""


def routed(s: Situation) -> Verdict:
    """Every ready router serves the wanted weights."""
    if s.route is None:
        return "Unknown", Reason.RESOLVING, "There is no route yet."
    if s.settled and s.gateway:
        return "True", Reason.ROUTED, f"Gateway {s.gateway} has accepted both routes with the wanted weights."
    if s.settled and s.by_pods:
        made = f"{s.pods_told}." if s.pods_told else "The Service leads to every ready pod of one revision."
        return "True", Reason.ROUTED, made
    if s.settled:
        return "True", Reason.ROUTED, "Every ready router serves the wanted weights."
    return "False", Reason.ROUTING, _waits_for_weights(s)


def _waits_for_weights(s: Situation) -> str:
    if s.gateway:
        return f"Waiting for Gateway {s.gateway} to accept both routes with the wanted weights."
    if s.by_pods:
        return "Waiting for the Service to lead to exactly the ready pods that it selects, for 5 s."
    return "Waiting for every router to serve the wanted weights."


def stalled(spec: ModelDeploymentSpec, s: Situation, now: datetime) -> Verdict:
    """It will not become ready by waiting, or has waited too long."""
    if s.cause and s.cause.reason in HOPELESS:
        return "True", s.cause.reason, s.cause.message
    if s.given_up and s.cause:
        return "True", s.cause.reason, s.cause.message
    if overdue(spec, s.rollout, s.startup, now):
        why = f" {s.cause.message}" if s.cause else ""
        return "True", Reason.PROGRESS_DEADLINE, f"The rollout has not moved for spec.rollout.progressDeadline.{why}"
    return "False", Reason.NOT_APPLICABLE, ""


def ready(spec: ModelDeploymentSpec, s: Situation, progress: str) -> Verdict:
    """What spec asks for serves, with every pod, at every router."""
    if s.cause:
        return "False", s.cause.reason, s.cause.message
    if spec.suspend:
        return "False", Reason.SUSPENDED, "spec.suspend is true: no pod runs."
    if s.target is None:
        return "False", Reason.RESOLVING, "The address of the bundle is being resolved."
    if not s.in_place:
        if _paused(spec, s):
            return "False", Reason.PAUSED, progress
        if missing := _unaccepted(s):
            return "False", Reason.ROUTER_NOT_READY, missing
        held = s.rollout is not None and s.rollout.step_started_at is not None
        return "False", Reason.HOLDING if held else Reason.STARTING, progress
    have = s.stable_fleet.ready if s.stable_fleet else 0
    if have < _least(spec):
        return "False", Reason.STARTING, f"{have} of {spec.replicas} pods are ready."
    if not s.settled and (s.gateway or s.by_pods):
        return "False", Reason.ROUTING, _waits_for_weights(s)
    if have and s.stable_fleet and not s.stable_fleet.known and not spec.autoscaling:
        return "False", Reason.ROUTING, f"Waiting for {s.router} to find every pod."
    if not s.settled:
        return "False", Reason.ROUTING, _waits_for_weights(s)
    if spec.replicas == 0 and spec.autoscaling:
        return "True", Reason.SCALED_TO_ZERO, "No pod runs; the next request waits at the router for one."
    if spec.replicas == 0:
        return "True", Reason.SCALED_TO_ZERO, "spec.replicas is 0: no pod runs, as asked."
    return "True", Reason.READY, f"Revision {s.target.name} serves with {have} pods."


def _least(spec: ModelDeploymentSpec) -> int:
    """Pods that must be ready. One that demand asks for on top is on its way, and makes nothing unready."""
    scaling = spec.autoscaling
    return min(spec.replicas, max(scaling.min_replicas, 1)) if scaling else spec.replicas


def progressing(spec: ModelDeploymentSpec, s: Situation, progress: str) -> Verdict:
    """A rollout is under way."""
    if s.rollout is None:
        return "False", Reason.COMPLETE, "No rollout is under way."
    if s.rollout.aborted:
        return "False", Reason(s.rollout.aborted.reason), s.rollout.aborted.message
    if _paused(spec, s):
        return "False", Reason.PAUSED, progress
    held = s.rollout.step_started_at is not None
    return "True", Reason.HOLDING if held else Reason.STARTING, progress


def _paused(spec: ModelDeploymentSpec, s: Situation) -> bool:
    """True while a rollout is held by spec; the first revision and the way back are not."""
    return spec.paused and s.canary is not None and not s.first and s.override is None


def canary_healthy(s: Situation) -> Verdict:
    """What the checks say of the revision that takes over, or has just done so."""
    judged = s.rollout or (s.choice.bake if s.choice else None)
    if s.rollout and s.rollout.aborted:
        return "False", Reason(s.rollout.aborted.reason), s.rollout.aborted.message
    if judged is None or judged.verdict is None:
        return "Unknown", Reason.NOT_APPLICABLE, ""
    match judged.verdict:
        case CheckVerdict.PASS:
            return "True", Reason.PASS, "Every check passes."
        case CheckVerdict.NO_DATA:
            return "Unknown", Reason.NO_DATA, "A check has nothing to judge; status.analysis says which."
    return "Unknown", Reason.INCONCLUSIVE, "A check is not sure yet; status.analysis says which."


def capacity_available(s: Situation) -> Verdict:
    """The cluster has room for what the rollout wants to start."""
    plan = s.rollout.plan if s.rollout and not s.rollout.aborted else None
    if plan is None:
        return "Unknown", Reason.NOT_APPLICABLE, ""
    if plan.mode == "Wait":
        return "False", Reason.CAPACITY_SHORT, plan.message
    return "True", Reason.CAPACITY_THERE, plan.message


def rolled_back(s: Situation) -> Verdict:
    """What spec asks for was given up, and another revision serves."""
    if s.rollout and s.rollout.aborted:
        return "True", Reason(s.rollout.aborted.reason), s.rollout.aborted.message
    if s.override:
        return "True", Reason(s.override.reason), s.override.message
    return "False", Reason.NOT_APPLICABLE, ""


def promoted(s: Situation) -> Verdict:
    """The revision that spec asks for has all requests."""
    if s.in_place and s.override is None and s.stable:
        baking = s.choice is not None and s.choice.bake is not None
        return "True", Reason.BAKING if baking else Reason.PROMOTED, f"Revision {s.stable.name} has all requests."
    return "False", Reason.NOT_APPLICABLE, ""


def scaling(spec: ModelDeploymentSpec, s: Situation) -> Verdict:
    """The size is decided by what is measured, and demand gets what it needs."""
    told = s.scaling
    if spec.autoscaling is None or told is None:
        return "Unknown", Reason.NOT_APPLICABLE, ""
    if told.reason == "NoData":
        return "False", Reason.NO_DATA, f"The size stays at {told.desired}: {told.message.removeprefix('kept: ')}."
    if told.reason == "ObjectiveOutOfReach":
        return "False", Reason.SCALING, f"{told.desired} pods: {told.message}."
    numbers = {item.name: item.value for item in told.inputs}
    need, each = numbers.get("forecast", 0.0), numbers.get("capacity", 0.0)
    if told.desired >= spec.autoscaling.max_replicas and need > each * told.desired:
        why = f"{need:g} requests/s are expected, and maxReplicas, {told.desired}, serve {each * told.desired:g}"
        return "False", Reason.AT_MAXIMUM, f"{why}: raise spec.autoscaling.maxReplicas."
    return "True", Reason.SCALING, "The size follows demand; status.scaling says how."


def verdicts(spec: ModelDeploymentSpec, s: Situation, progress: str, now: datetime) -> dict[str, Verdict]:
    """Every condition by type."""
    is_ready = ready(spec, s, progress)
    is_stalled = stalled(spec, s, now)
    busy = is_ready[0] != "True" and is_stalled[0] != "True" and not spec.suspend
    paused = _paused(spec, s)
    return {
        "Ready": is_ready,
        "Available": available(spec, s),
        "ArtifactVerified": artifact_verified(s),
        "Routed": routed(s),
        "Progressing": progressing(spec, s, progress),
        "Paused": ("True" if paused else "False", Reason.PAUSED if paused else Reason.NOT_APPLICABLE, ""),
        "CapacityAvailable": capacity_available(s),
        "CanaryHealthy": canary_healthy(s),
        "Promoted": promoted(s),
        "Scaling": scaling(spec, s),
        "RolledBack": rolled_back(s),
        "Reconciling": ("True" if busy else "False", is_ready[1], is_ready[2] if busy else ""),
        "Stalled": is_stalled,
    }


def merge(before: Iterable[Condition], verdicts: dict[str, Verdict], generation: int, now: datetime) -> list[Condition]:
    """The conditions to write. The transition time moves only when the status of a condition does."""
    old = {c.type: c for c in before}
    merged = []
    for kind, (status, reason, message) in verdicts.items():
        same = kind in old and old[kind].status == status
        merged.append(
            Condition(
                type=kind,
                status=status,
                observed_generation=generation,
                last_transition_time=old[kind].last_transition_time if same else now.replace(microsecond=0),
                reason=reason.value,
                message=message,
            )
        )
    return merged
