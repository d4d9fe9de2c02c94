"""Shares that come from numbers of pods: how many pods make a share, and one look on the way to it.

Every ready pod of both revisions gets as many connections as any other, so that the share of the canary is its part of
the pods. What a pod carries is therefore right for any share, as long as there are enough pods of both together. That
is the law here, in place of the one of :mod:`sizing`, where a share may be more than the pods of a revision carry.
"""

from tidegate.domain.rollout.sizing import BOUNDLESS, Scene, Sizes, crew
from tidegate.domain.rollout.steps import FULL


def pods_sharing(replicas: int, extra: int | None, target: int) -> int:
    """The canary's pods whose share comes closest to ``target`` percent, at least one; of two the fewer.

    Stable keeps ``replicas`` pods, or what ``extra`` pods beyond them leave it. E.g. of 4 replicas and any number of
    extra pods 5 % is 1 pod beside 4, which is 20 %, and 50 % is 4 beside 4.
    """

    def miss(canary: int) -> float:
        stable = replicas if extra is None else min(replicas, replicas + extra - canary)
        return abs(FULL * canary / (canary + stable) - target)

    most = replicas if extra is None else min(replicas, replicas + extra - 1)
    return min(range(1, most + 1), key=miss, default=min(replicas, 1))


def counted(replicas: int, extra: int | None, target: int, scene: Scene, *, before_weight: int = 0) -> Sizes:
    """One look on the way to a canary's share of ``target`` percent; see :func:`sizing.sizes`.

    There are never fewer ready pods selected than carry all requests, unless there were before.
    """
    stable, canary = scene.stable, scene.canary
    full = crew(replicas, extra)
    weight = _weight(full, target, scene)
    room = BOUNDLESS if extra is None else replicas + extra - scene.others
    stable_need, canary_need = _needs(full, scene, weight)
    reach = replicas if target == FULL else min(before_weight, replicas)
    canary_least = canary.least(canary_need, settled=scene.settled)
    canary_goal = max(reach, canary_need, canary_least)
    stable_least = stable.least(stable_need, settled=scene.settled)
    stable_goal = max(min(replicas, room - canary_goal), stable_need, stable_least)
    stable_next = stable.grown(stable_goal, room - canary.held)
    free = room - max(stable_next + stable.leaving, stable.held)
    return Sizes(stable_next, max(canary_least, canary.grown(min(canary_goal, free), free)), weight)


def _needs(full: int, scene: Scene, weight: int) -> tuple[int, int]:
    """Pods of stable and of the canary that connections need, as they are told now and before."""
    told = (scene.weight, weight)
    both = any(0 < share < FULL for share in told)
    stable = full if 0 in told else max(1, full - scene.canary.ready) if both else 0
    canary = full if FULL in told else max(1, full - scene.stable.ready) if both else 0
    return stable, canary


def _weight(full: int, target: int, scene: Scene) -> int:
    """The share to tell: 0, all, or one between that means the pods of both."""
    wish = _wish(full, target, scene)
    if not 0 < wish < FULL or not scene.strangers:
        return wish
    # A selector of both would match the strangers as well.
    alone = scene.weight == FULL or (scene.weight > 0 and scene.stable.ready == 0)
    return FULL if alone else 0


def _wish(full: int, target: int, scene: Scene) -> int:
    stable, canary, now = scene.stable.ready, scene.canary.ready, scene.weight
    if canary == 0 or full == 0:
        return 0
    rises = scene.settled and scene.canary.known
    between = min(max(FULL * canary // (stable + canary), 1), FULL - 1)
    if target == 0:
        if now == 0 or stable >= full:
            return 0
        return between if stable and now == FULL else now
    if target == FULL:
        carried = canary >= full or stable == 0
        if now == FULL:
            return FULL if carried else between
        if not rises:
            return now
        return FULL if carried else now or between
    if target < now:
        return target if stable or now < FULL else now
    return target if rises else now
