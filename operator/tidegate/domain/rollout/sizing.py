"""Weight and pods together: capacity is ready before weight moves, and nothing is taken away that weight still needs.

A pod at full load serves ``100 / replicas`` percent of the requests. Weights are whole percents, so a pod may get a
hundredth more than that (``TOLERANCE``): e.g. of 3 pods one serves 33 % and two serve 67 %, though two thirds are less.
Without it the law would need a pod more than a rollout with one extra pod has.

With no extra pod at all, one of the ``replicas`` pods is always on its way from one revision to the other. For as long
as that lasts the others carry everything: the law is the one for a pod fewer and one extra.
"""

from dataclasses import dataclass

from tidegate.domain.rollout.steps import FULL

TOLERANCE = 1
"""What a pod may get more than its share at full load, in percent of that share."""
BOUNDLESS = 1_000_000
"""More pods than any cluster has."""


@dataclass(frozen=True)
class Pods:
    """What is seen of one revision's pods.

    ``wanted`` is what the cluster was asked for last. ``leaving`` counts pods on their way out, and ``alive`` all
    others: a pod holds its place until it has gone. ``known`` is True when every router can reach every ready pod.
    """

    wanted: int
    ready: int
    alive: int
    leaving: int = 0
    known: bool = True

    @property
    def held(self) -> int:
        """Places that are taken, or will be when the cluster has done what it was asked for."""
        return max(self.wanted, self.alive) + self.leaving

    def least(self, need: int, *, settled: bool) -> int:
        """Pods that stay: those that the share needs.

        While routers differ, nobody knows what a pod is needed for. While one does not reach every ready pod, e.g.
        because it gets no addresses, the pods that it does reach may carry the whole share.
        """
        return min(self.wanted, need) if settled and (self.known or not need) else self.wanted

    def grown(self, goal: int, free: int) -> int:
        """Pods to ask for on the way to ``goal``, with ``free`` places in all. Who ends has its place still."""
        return min(goal, max(self.wanted, free - self.leaving))


@dataclass(frozen=True)
class Scene:
    """What is seen of a rollout.

    ``weight`` is the canary's share that the routers were told last, in percent; ``settled`` is True when every router
    is seen to give it. ``others`` counts pods of further revisions that still hold their place. ``strangers`` counts
    pods that would be selected with those of both revisions, where that is how both get requests.
    """

    stable: Pods
    canary: Pods
    weight: int
    settled: bool
    others: int = 0
    strangers: int = 0


@dataclass(frozen=True)
class Sizes:
    """Pods to ask for, and the canary's share to give now, in percent."""

    stable: int
    canary: int
    weight: int


def crew(replicas: int, extra: int | None) -> int:
    """How many pods carry all requests during a rollout: one fewer than ``replicas`` when there is no extra pod."""
    return max(replicas - 1, 1) if extra == 0 and replicas else replicas


def pods_needed(full: int, share: int) -> int:
    """The fewest pods that carry ``share`` percent when ``full`` pods carry everything. E.g. of 4: 5 % 1, 26 % 2."""
    return -(-full * share // (FULL + TOLERANCE))


def share_carried(full: int, pods: int) -> int:
    """The share that ``pods`` carry when ``full`` pods carry everything, in percent. E.g. of 3: 33, 67 and 100."""
    return min(pods * (FULL + TOLERANCE) // full, FULL) if full else FULL


def next_weight(full: int, target: int, scene: Scene, *, at_once: bool = False) -> int:
    """The canary's share on the way to ``target``, in percent, with ``full`` pods carrying everything.

    It rises with the canary's ready pods, one verified write after the other. It falls with stable's ready pods, and
    that waits for no router: going back must not depend on one that does not answer. It also falls when the canary
    lost pods: to what the rest carries, or to an equal load on every ready pod where stable cannot take over so much.
    With ``at_once`` it falls to ``target`` as soon as stable has any ready pod, whatever that one can carry.
    """
    stable, canary, now = scene.stable.ready, scene.canary.ready, scene.weight
    if canary == 0 or full == 0:
        return 0
    carried = share_carried(full, canary)
    if target < now:
        equal = FULL * stable // (stable + canary)
        taken = FULL if at_once and stable else max(share_carried(full, stable), equal)
        return max(target, min(now, FULL - taken))
    if carried < now:
        return min(now, max(carried, FULL * canary // (stable + canary)))
    return min(target, carried) if scene.settled and scene.canary.known else now


def sizes(
    replicas: int,
    extra: int | None,
    target: int,
    scene: Scene,
    *,
    before_weight: int = 0,
    keep: int | None = None,
    at_once: bool = False,
) -> Sizes:
    """One look on the way to a canary's share of ``target`` percent.

    ``extra`` is how many pods there may be beyond ``replicas``; None means any number. ``before_weight`` is how many
    canary pods are wanted whatever their share, e.g. for a parity step. ``keep`` is how many stable pods are wanted
    when their share needs fewer; None keeps as many as there is room for, so that the way back is short. ``at_once``
    is for a canary that does more harm than a stable under too much load.

    Asked again and again while pods start and end, it comes to ``target`` for every ``extra`` but 0 with one replica,
    where nothing can move. There are never more than ``replicas + extra`` pods, unless there were before.
    """
    stable, canary = scene.stable, scene.canary
    full = crew(replicas, extra)
    weight = next_weight(full, target, scene, at_once=at_once)
    room = BOUNDLESS if extra is None else replicas + extra - scene.others
    stable_need = pods_needed(full, FULL - min(scene.weight, weight))
    canary_need = pods_needed(full, max(scene.weight, weight))
    stable_least = stable.least(stable_need, settled=scene.settled)
    canary_least = canary.least(canary_need, settled=scene.settled)
    reach = replicas if target == FULL else pods_needed(full, target)
    if target >= scene.weight:
        # On the way back stable needs the room more than pods do that serve nobody.
        reach = max(reach, min(before_weight, replicas))
    canary_goal = max(reach, canary_need, canary_least)
    cap = replicas if keep is None else min(keep, replicas)
    stable_goal = max(min(cap, room - canary_goal), stable_need, stable_least)
    # A place is taken by who has it: what grows waits until what shrinks has gone.
    stable_next = stable.grown(stable_goal, room - canary.held)
    free = room - max(stable_next + stable.leaving, stable.held)
    canary_next = max(canary_least, canary.grown(min(canary_goal, free), free))
    return Sizes(stable_next, canary_next, weight)


def recreated(replicas: int, target: int, scene: Scene, *, before_weight: int = 0) -> Sizes:
    """One look on the way from one revision to the other without a place for both: the old one ends first.

    Requests are refused from the moment the old pods end until the first new one is ready. There is no share between
    nothing and all: any ``target`` but 0 is all, and 0 goes back to stable, or with ``before_weight`` gives the canary
    pods and no requests yet.
    """
    room = replicas - scene.others
    stable, canary = scene.stable, scene.canary
    if target or before_weight:
        rising = canary.grown(replicas, room - stable.held)
        found = target and canary.ready and (canary.known or scene.weight)
        return Sizes(0, rising, FULL if found else 0)
    rising = stable.grown(replicas, room - canary.held)
    return Sizes(rising, 0, 0 if stable.ready or not canary.ready else scene.weight)
