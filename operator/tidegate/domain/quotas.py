"""How many more pods a ResourceQuota allows."""

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.domain.podneeds import UNIT, Amounts, PodNeeds, Raw, amounts


@dataclass(frozen=True)
class Scope:
    """Which pods a quota counts."""

    name: str
    operator: str = "Exists"
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quota:
    """A ResourceQuota: what is allowed and what is used of it."""

    name: str
    hard: Amounts
    used: Amounts
    scopes: tuple[Scope, ...] = ()


def quota_of(raw: Raw) -> Quota:
    """A ResourceQuota as the API server gives it; one that nobody has counted yet is unused."""
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    selector = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    scopes = [Scope(name) for name in spec.get("scopes") or ()]
    scopes += [Scope(e["scopeName"], e["operator"], tuple(e.get("values") or ())) for e in selector]
    return Quota(
        name=raw["metadata"]["name"],
        hard=amounts(status.get("hard") or spec.get("hard")),
        used=amounts(status.get("used")),
        scopes=tuple(scopes),
    )


def counts(quota: Quota, pod: PodNeeds) -> bool:
    """True when a quota counts pods like this one."""
    return all(_in(scope, pod) for scope in quota.scopes)


def _in(scope: Scope, pod: PodNeeds) -> bool:
    match scope.name:
        case "Terminating":
            return pod.ends
        case "NotTerminating":
            return not pod.ends
        case "BestEffort":
            return pod.best_effort
        case "NotBestEffort":
            return not pod.best_effort
        case "PriorityClass":
            return _by_priority(scope, pod.priority_class)
    return False


def _by_priority(scope: Scope, name: str) -> bool:
    match scope.operator:
        case "In":
            return name in scope.values
        case "NotIn":
            return name not in scope.values
        case "Exists":
            return name != ""
    return name == ""


def taken(key: str, pod: PodNeeds) -> int:
    """What a pod takes of one line of a quota, in thousandths: ``requests.X``, ``limits.X``, ``X`` or ``pods``."""
    if key in ("pods", "count/pods"):
        return UNIT
    kind, _, resource = key.partition(".")
    if kind == "limits":
        return pod.limits.get(resource, 0)
    return pod.requests.get(resource if kind == "requests" else key, 0)


def allowed(quota: Quota, pod: PodNeeds, freed: Iterable[PodNeeds]) -> tuple[int, str, int] | None:
    """More pods that a quota allows, the line that allows the fewest, and what is left of it in thousandths.

    ``freed`` are pods that are counted as gone. None when the quota says nothing about such pods.
    """
    if not counts(quota, pod):
        return None
    gone = [p for p in freed if counts(quota, p)]
    lines = []
    for key, hard in sorted(quota.hard.items()):
        if need := taken(key, pod):
            left = hard - quota.used.get(key, 0) + sum(taken(key, p) for p in gone)
            lines.append((max(left // need, 0), key, max(left, 0)))
    return min(lines, default=None)
