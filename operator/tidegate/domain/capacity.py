"""How many more pods of a revision find a place: on the nodes, and in the quotas of the namespace.

The count is an upper bound, and None where nothing that limits could be read. A pod that is seen to find no place
overrules it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tidegate.domain.placement import LABELS, Node, refusal
from tidegate.domain.podneeds import Amounts, PodNeeds, Raw, pod_needs, pod_requests, show
from tidegate.domain.quotas import Quota, allowed

MOST = 1000
"""More is not counted: no ModelDeployment has more pods."""


@dataclass(frozen=True)
class PodUse:
    """What a pod takes of its node."""

    namespace: str
    name: str
    node: str
    requests: Amounts


def pod_use(raw: Raw) -> PodUse | None:
    """A pod as the API server gives it; None for one that takes nothing: it has no node yet, or has ended."""
    node = (raw.get("spec") or {}).get("nodeName")
    if not node or (raw.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return None
    meta = raw["metadata"]
    return PodUse(meta["namespace"], meta["name"], node, pod_requests(raw["spec"]))


@dataclass(frozen=True)
class CapacityFacts:
    """What was read of a cluster's capacity, for one namespace.

    ``nodes`` and ``quotas`` are None where they could not be read, and ``unread`` says why, a clause each.
    """

    namespace: str
    nodes: tuple[Node, ...] | None = None
    pods: tuple[PodUse, ...] = ()
    quotas: tuple[Quota, ...] | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Headroom:
    """At most so many pods find a place, with the clause that says what is scarcest.

    ``count`` is None when nothing that limits could be read; ``unread`` says what could not.
    """

    count: int | None
    message: str
    unread: str = ""


@dataclass(frozen=True)
class Room:
    """Places for the pods of a new revision, those that have one already included.

    ``now`` is while stable keeps its pods, ``one_gone`` when any one of them has gone, ``all_gone`` when all have.
    ``stable`` counts the pods of stable that have a place.
    """

    now: Headroom
    one_gone: Headroom
    all_gone: Headroom
    stable: int


class _Ledger:
    """What is free on the nodes that take a pod."""

    def __init__(self, facts: CapacityFacts, pod: PodNeeds, freed: frozenset[str]) -> None:
        answers = [(node, refusal(node, pod)) for node in facts.nodes or ()]
        self._all = len(answers)
        self._pod = pod
        self._refused = Counter(why for _, why in answers if why)
        self._free = {node.name: dict(node.allocatable) for node, why in answers if why is None}
        own = facts.namespace
        there = ((u.node, u.requests) for u in facts.pods if not (u.namespace == own and u.name in freed))
        self.change(there, 1)

    def change(self, pods: Iterable[tuple[str, Amounts]], times: int) -> None:
        """Count pods on their nodes as there (1) or as gone (-1)."""
        for node, requests in pods:
            if (free := self._free.get(node)) is not None:
                for name, value in requests.items():
                    free[name] = free.get(name, 0) - times * value

    def on(self, node: str) -> int:
        """Pods that fit on one node."""
        free = self._free.get(node)
        if free is None:
            return 0
        return max(0, min(free.get(name, 0) // need for name, need in self._needs()))

    def total(self) -> int:
        """Pods that fit on all nodes."""
        return min(sum(map(self.on, self._free)), MOST)

    def _needs(self) -> list[tuple[str, int]]:
        return [(name, need) for name, need in self._pod.requests.items() if need]

    def message(self) -> str:
        """What is scarcest on the nodes."""
        if not self._all:
            return "the cluster has no nodes"
        if not self._free:
            taints = ", ".join(sorted(key for key in self._refused if key != LABELS))
            whys = [f"{self._refused[LABELS]} by their labels"] if self._refused[LABELS] else []
            whys += [f"{self._refused.total() - self._refused[LABELS]} by taints ({taints})"] if taints else []
            return f"none of {self._all} nodes takes such pods: {' and '.join(whys)}"
        total, nodes = self.total(), f"{len(self._free)} of {self._all} nodes"
        alone = {n: sum(max(0, f.get(n, 0)) // need for f in self._free.values()) for n, need in self._needs()}
        # Of equals an accelerator is told rather than anything else.
        name = min(alone, key=lambda n: (alone[n], "/" not in n, n))
        free = [max(0, f.get(name, 0)) for f in self._free.values()]
        if total:
            return f"nodes have room for {total} ({show(name, sum(free))} {name} free on {nodes})"
        if alone[name]:
            names = ", ".join(n for n, _ in self._needs() if n != "pods")
            return f"no node has room: none of {nodes} has enough of all of {names} free"
        ask, most = show(name, self._pod.requests[name]), show(name, max(free))
        return f"no node has room: a pod asks for {ask} {name}, and none of {nodes} has more than {most} free"


def _by_quota(facts: CapacityFacts, pod: PodNeeds, freed: Iterable[PodNeeds]) -> tuple[int, str] | None:
    """Pods that the tightest quota allows, and the clause about it."""
    gone = list(freed)
    found = [(answer, q.name) for q in facts.quotas or () if (answer := allowed(q, pod, gone))]
    if not found:
        return None
    (count, key, left), name = min(found)
    return count, f"quota {name} allows {show(key, left)} more {key}"


def _headroom(facts: CapacityFacts, pod: PodNeeds, ledger: _Ledger, freed: Iterable[PodNeeds]) -> Headroom:
    """``freed`` are pods that the quotas are to count as gone; the ledger knows its own."""
    unread = " and ".join(facts.unread)
    quota = _by_quota(facts, pod, freed)
    if quota and (facts.nodes is None or quota[0] < ledger.total()):
        return Headroom(min(quota[0], MOST), quota[1], unread)
    if facts.nodes is None:
        return Headroom(None, "free capacity is not known", unread)
    return Headroom(ledger.total(), ledger.message(), unread)


def headroom(facts: CapacityFacts, spec: Raw, gone: Sequence[Raw] = ()) -> Headroom:
    """How many more pods with this pod spec find a place, when the pods ``gone`` of the namespace have gone."""
    pod = pod_needs(spec)
    return _headroom(facts, pod, _Ledger(facts, pod, _names(gone)), _counted(gone))


def room(
    facts: CapacityFacts, spec: Raw, *, stable: Sequence[Raw], canary: Sequence[Raw] = (), leaving: Sequence[Raw] = ()
) -> Room:
    """Places for pods with this pod spec, which take over from the pods ``stable``.

    ``canary`` are pods with this spec that exist already, ``leaving`` pods of the model that are on their way out.
    """
    pod, gone = pod_needs(spec), [*canary, *leaving]
    ledger, counted = _Ledger(facts, pod, _names(gone)), _counted(gone)
    now = _headroom(facts, pod, ledger, counted)
    places = [(str(p["spec"].get("nodeName", "")), pod_needs(p["spec"])) for p in stable]
    first = [min(places, key=lambda place: _gain(ledger, *place))] if places else []
    found = []
    for goes in (first, places):
        there = [(node, needs.requests) for node, needs in goes]
        ledger.change(there, -1)
        found.append(_headroom(facts, pod, ledger, [*counted, *(needs for _, needs in goes)]))
        ledger.change(there, 1)
    return Room(now=now, one_gone=found[0], all_gone=found[1], stable=sum(bool(node) for node, _ in places))


def _gain(ledger: _Ledger, node: str, needs: PodNeeds) -> int:
    """How many more pods fit when one has gone. Nobody knows which one the cluster ends: the least counts."""
    before = ledger.on(node)
    ledger.change([(node, needs.requests)], -1)
    after = ledger.on(node)
    ledger.change([(node, needs.requests)], 1)
    return after - before


def _names(pods: Sequence[Raw]) -> frozenset[str]:
    return frozenset(str(p["metadata"]["name"]) for p in pods)


def _counted(pods: Sequence[Raw]) -> list[PodNeeds]:
    """Pods that a quota counts: all that exist and have not ended."""
    return [pod_needs(p["spec"]) for p in pods if (p.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]


def describe(found: Headroom) -> str:
    """The clause, with what could not be read."""
    return f"{found.message} ({found.unread})" if found.unread else found.message
