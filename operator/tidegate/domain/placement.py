"""Which nodes take a pod: labels, required node affinity and taints, as the scheduler reads them.

Spread, affinity between pods, volumes and resource claims are not looked at: what is counted here is an upper bound,
and a pod that finds no place after all is seen to find none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tidegate.domain.podneeds import Amounts, PodNeeds, Raw, amounts

CORDON = "node.kubernetes.io/unschedulable"
BARRING = frozenset({"NoSchedule", "NoExecute"})
LABELS = "labels"


@dataclass(frozen=True)
class Taint:
    """Keeps pods away that do not tolerate it."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


@dataclass(frozen=True)
class Node:
    """The parts of a node that decide which pods it takes."""

    name: str
    allocatable: Amounts
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()


def node_of(raw: Raw) -> Node:
    """A node as the API server gives it. One that is cordoned has the taint that says so."""
    spec, meta = raw.get("spec") or {}, raw["metadata"]
    taints = [Taint(t["key"], t.get("value") or "", t["effect"]) for t in spec.get("taints") or ()]
    if spec.get("unschedulable") and all(t.key != CORDON for t in taints):
        taints.append(Taint(CORDON))
    return Node(
        name=meta["name"],
        allocatable=amounts((raw.get("status") or {}).get("allocatable")),
        labels=dict(meta.get("labels") or {}),
        taints=tuple(t for t in taints if t.effect in BARRING),
    )


def refusal(node: Node, pod: PodNeeds) -> str | None:
    """Why a node does not take a pod: LABELS, or the key of a taint; None when it does."""
    if any(node.labels.get(key) != value for key, value in pod.node_selector.items()):
        return LABELS
    if pod.affinity is not None and not any(_term(node, term) for term in pod.affinity):
        return LABELS
    return next((t.key for t in node.taints if not _tolerated(t, pod)), None)


def _tolerated(taint: Taint, pod: PodNeeds) -> bool:
    """True for a taint that the pod tolerates, or will once the API server has admitted it.

    Many clusters taint nodes by the name of their accelerator, and add the toleration to every pod that asks for one.
    """
    if "/" in taint.key and pod.requests.get(taint.key):
        return True
    return any(_tolerates(toleration, taint) for toleration in pod.tolerations)


def _tolerates(toleration: Raw, taint: Taint) -> bool:
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
    if operator == "Exists":
        return key in ("", taint.key)
    return operator == "Equal" and key == taint.key and (toleration.get("value") or "") == taint.value


def _term(node: Node, term: Raw) -> bool:
    """All expressions of a term hold. An empty term matches nothing."""
    on_labels, on_fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    fields = {"metadata.name": node.name}
    holds = [_expression(node.labels, e) for e in on_labels] + [_expression(fields, e) for e in on_fields]
    return bool(holds) and all(holds)


def _number(text: str) -> int | None:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None


def _compared(text: str | None, values: Sequence[str], holds: Callable[[int, int], bool]) -> bool:
    have = _number(text) if text is not None else None
    bound = _number(values[0]) if len(values) == 1 else None
    return have is not None and bound is not None and holds(have, bound)


def _expression(labels: Mapping[str, str], expression: Raw) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _compared(value, values, lambda have, bound: have > bound)
        case "Lt":
            return _compared(value, values, lambda have, bound: have < bound)
    return False
