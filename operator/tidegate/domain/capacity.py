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
        for use in facts.pods:
            if use.node in self._free and not (use.namespace == facts.namespace and use.name in freed):
                self._take(self._free[use.node], use.requests, 1)

    @staticmethod
    def _take(free: dict[str, int], requests: Amounts, times: int) -> None:
        for name, value in requests.items():
            free[name] = free.get(name, 0) - times * value

    def give_back(self, node: str, requests: Amounts) -> None:
        """Count a pod as gone."""
        if node in self._free:
            self._take(self._free[node], requests, -1)

    def take_again(self, node: str, requests: Amounts) -> None:
        """Count a pod as there again."""
        if node in self._free:
            self._take(self._free[node], requests, 1)

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


def _headroom(facts: CapacityFacts, ledger: _Ledger, on_nodes: int, quota: tuple[int, str] | None) -> Headroom:
    unread = " and ".join(facts.unread)
    if quota and (facts.nodes is None or quota[0] < on_nodes):
        return Headroom(min(quota[0], MOST), quota[1], unread)
    if facts.nodes is None:
        return Headroom(None, "free capacity is not known", unread)
    return Headroom(on_nodes, ledger.message(), unread)


def headroom(facts: CapacityFacts, spec: Raw, gone: Sequence[Raw] = ()) -> Headroom:
    """How many more pods with this pod spec find a place, when the pods ``gone`` of the namespace have gone."""
    pod = pod_needs(spec)
    ledger = _Ledger(facts, pod, _names(gone))
    return _headroom(facts, ledger, ledger.total(), _by_quota(facts, pod, _counted(gone)))


def room(
    facts: CapacityFacts, spec: Raw, *, stable: Sequence[Raw], canary: Sequence[Raw] = (), leaving: Sequence[Raw] = ()
) -> Room:
    """Places for pods with this pod spec, which take over from the pods ``stable``.

    ``canary`` are pods with this spec that exist already, ``leaving`` pods of the model that are on their way out.
    """
    gone = [*canary, *leaving]
    return Room(
        now=headroom(facts, spec, gone),
        one_gone=_one_gone(facts, pod_needs(spec), gone, stable),
        all_gone=headroom(facts, spec, [*gone, *stable]),
        stable=sum(bool(p["spec"].get("nodeName")) for p in stable),
    )


def _one_gone(facts: CapacityFacts, pod: PodNeeds, gone: Sequence[Raw], stable: Sequence[Raw]) -> Headroom:
    """The least that any pod of stable makes room for: nobody knows which one the cluster ends."""
    ledger = _Ledger(facts, pod, _names(gone))
    total, counted = ledger.total(), _counted(gone)
    least: Headroom | None = None
    # The pods of one revision are alike, so that only their nodes make a difference.
    for node, needs in {str(p["spec"].get("nodeName", "")): pod_needs(p["spec"]) for p in stable}.items():
        before = ledger.on(node)
        ledger.give_back(node, needs.requests)
        on_nodes = min(total - before + ledger.on(node), MOST)
        found = _headroom(facts, ledger, on_nodes, _by_quota(facts, pod, [*counted, needs]))
        ledger.take_again(node, needs.requests)
        if least is None or (found.count or 0) < (least.count or 0):
            least = found
    return least or _headroom(facts, ledger, total, _by_quota(facts, pod, counted))


def _names(pods: Sequence[Raw]) -> frozenset[str]:
    return frozenset(str(p["metadata"]["name"]) for p in pods)


def _counted(pods: Sequence[Raw]) -> list[PodNeeds]:
    """Pods that a quota counts: all that exist and have not ended."""
    return [pod_needs(p["spec"]) for p in pods if (p.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]


def describe(found: Headroom) -> str:
    """The clause, with what could not be read."""
    return f"{found.message} ({found.unread})" if found.unread else found.message
