"""How many more pods find a place, and what is said to be scarce."""

import json
from typing import Any

import pytest
from capacity_objects import GPU, facts, node, placed, quota, server
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tidegate.domain.capacity import MOST, CapacityFacts, describe, headroom, room

Raw = dict[str, Any]
BIG = server({"cpu": "10", "memory": "40Gi"}, {GPU: "1"})
TAINT = [{"key": "pool", "effect": "NoSchedule"}]
BUSY = placed("x", "a", namespace="other")
ROWS: dict[str, tuple[CapacityFacts, Raw, int | None, str]] = {
    "one accelerator is free": (
        facts([node("a"), node("b")], [BUSY]),
        server(),
        1,
        f"nodes have room for 1 (1 {GPU} free on 2 of 2 nodes)",
    ),
    "none is": (
        facts([node("a")], [BUSY]),
        server(),
        0,
        f"no node has room: a pod asks for 1 {GPU}, and none of 1 of 1 nodes has more than 0 free",
    ),
    "a pod that has ended takes nothing": (
        facts([node("a")], [placed("x", "a", phase="Succeeded"), placed("y", "a", phase="Failed")]),
        server(),
        1,
        f"nodes have room for 1 (1 {GPU} free on 1 of 1 nodes)",
    ),
    "a pod without a node takes nothing": (
        facts([node("a")], [placed("x")]),
        server(),
        1,
        f"nodes have room for 1 (1 {GPU} free on 1 of 1 nodes)",
    ),
    "two halves are no whole": (
        facts([node("a", gpus=2), node("b", gpus=2)], [BUSY, placed("y", "b")]),
        server(limits={GPU: "2"}),
        0,
        f"no node has room: a pod asks for 2 {GPU}, and none of 2 of 2 nodes has more than 1 free",
    ),
    "memory": (
        facts([node("a", gpus=8)]),
        BIG,
        1,
        "nodes have room for 1 (16 cpu free on 1 of 1 nodes)",
    ),
    "of two that are as scarce the accelerator is told": (
        facts([node("a", gpus=2)]),
        server({"cpu": "8"}),
        2,
        f"nodes have room for 2 (2 {GPU} free on 1 of 1 nodes)",
    ),
    "each has something else": (
        facts([node("a", gpus=0), node("b", allocatable={"cpu": "1"})]),
        server({"cpu": "2"}),
        0,
        f"no node has room: none of 2 of 2 nodes has enough of all of cpu, {GPU} free",
    ),
    "places for pods": (
        facts([node("a", gpus=8, allocatable={"pods": "3"})], [BUSY]),
        server(),
        2,
        "nodes have room for 2 (2 pods free on 1 of 1 nodes)",
    ),
    "more pods than allocatable": (
        facts([node("a")], [BUSY, placed("y", "a")]),
        server(),
        0,
        f"no node has room: a pod asks for 1 {GPU}, and none of 1 of 1 nodes has more than 0 free",
    ),
    "no node with the label": (
        facts([node("a"), node("b", taints=TAINT, labels={"gpu": "l4"})]),
        server(nodeSelector={"gpu": "l4"}),
        0,
        "none of 2 nodes takes such pods: 1 by their labels and 1 by taints (pool)",
    ),
    "no nodes": (facts([]), server(), 0, "the cluster has no nodes"),
    "a node that nobody reserved counts as free": (
        facts([node("a", gpus=3), node("b", taints=TAINT)]),
        server(),
        3,
        f"nodes have room for 3 (3 {GPU} free on 1 of 2 nodes)",
    ),
    "a quota": (
        facts([node("a", gpus=8)], quotas=[quota("gpus", {f"requests.{GPU}": "3"}, {f"requests.{GPU}": "2"})]),
        server(),
        1,
        f"quota gpus allows 1 more requests.{GPU}",
    ),
    "a quota that is used up": (
        facts([node("a", gpus=8)], quotas=[quota("gpus", {f"requests.{GPU}": "2"}, {f"requests.{GPU}": "2"})]),
        server(),
        0,
        f"quota gpus allows 0 more requests.{GPU}",
    ),
    "a quota that was lowered": (
        facts([node("a", gpus=8)], quotas=[quota("gpus", {f"requests.{GPU}": "1"}, {f"requests.{GPU}": "2"})]),
        server(),
        0,
        f"quota gpus allows 0 more requests.{GPU}",
    ),
    "a quota of pods": (
        facts([node("a", gpus=8)], quotas=[quota("q", {"pods": "5"}, {"pods": "3"})]),
        server(),
        2,
        "quota q allows 2 more pods",
    ),
    "a quota of limits": (
        facts([node("a", gpus=8)], quotas=[quota("q", {"limits.memory": "5Gi"}, {"limits.memory": "1Gi"})]),
        server(limits={GPU: "1", "memory": "2Gi"}),
        2,
        "quota q allows 4Gi more limits.memory",
    ),
    "a quota of cpu": (
        facts([node("a", gpus=8)], quotas=[quota("q", {"cpu": "3"}, {"cpu": "500m"})]),
        server({"cpu": "2"}),
        1,
        "quota q allows 2500m more cpu",
    ),
    "the tightest line of the tightest quota": (
        facts(
            [node("a", gpus=8)],
            quotas=[quota("p", {"pods": "4"}), quota("q", {"pods": "9", "requests.cpu": "2"}, {"requests.cpu": "1"})],
        ),
        server({"cpu": "1"}),
        1,
        "quota q allows 1 more requests.cpu",
    ),
    "a quota of something else": (
        facts([node("a")], quotas=[quota("q", {"services": "0", "count/jobs.batch": "0", "requests.storage": "0"})]),
        server(),
        1,
        f"nodes have room for 1 (1 {GPU} free on 1 of 1 nodes)",
    ),
    "a quota that nobody has counted": (
        facts([node("a", gpus=8)], quotas=[{"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}}]),
        server(),
        2,
        "quota q allows 2 more pods",
    ),
    "nothing could be read": (facts(None, quotas=None), server(), None, "free capacity is not known"),
    "nodes could not be read, and no quota limits": (facts(None), server(), None, "free capacity is not known"),
    "nodes could not be read, and a quota limits": (
        facts(None, quotas=[quota("q", {"pods": "5"}, {"pods": "3"})]),
        server(),
        2,
        "quota q allows 2 more pods",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_how_many_more_pods_find_a_place_and_why_no_more(row: str) -> None:
    seen, spec, count, message = ROWS[row]
    found = headroom(seen, spec)
    assert (found.count, found.message) == (count, message)


SCOPES: dict[str, tuple[Raw, Raw, bool]] = {
    # quota's spec, pod's spec, counted
    "pods that end": ({"scopes": ["Terminating"]}, {}, False),
    "pods that do not end": ({"scopes": ["NotTerminating"]}, {}, True),
    "best effort": ({"scopes": ["BestEffort"]}, {}, True),
    "not best effort": ({"scopes": ["NotBestEffort"]}, {}, False),
    "both must hold": ({"scopes": ["NotTerminating", "NotBestEffort"]}, {}, False),
    "a priority": (
        {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}},
        {"priorityClassName": "high"},
        True,
    ),
    "another priority": (
        {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}},
        {"priorityClassName": "low"},
        False,
    ),
    "any other priority": (
        {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "NotIn", "values": ["a"]}]}},
        {},
        True,
    ),
    "any priority": (
        {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}},
        {},
        False,
    ),
    "no priority": (
        {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}},
        {},
        True,
    ),
    "a scope of later days": ({"scopes": ["CrossNamespacePodAffinity"]}, {}, False),
}


@pytest.mark.parametrize("row", SCOPES)
def test_a_quota_counts_only_the_pods_in_its_scopes(row: str) -> None:
    scopes, pod, counted = SCOPES[row]
    seen = facts([node("a", gpus=8)], quotas=[quota("q", {"pods": "0"}, **scopes)])
    assert headroom(seen, server(**pod)).count == (0 if counted else 8)


def test_what_could_not_be_read_is_said() -> None:
    found = headroom(facts(None, quotas=[quota("q", {"pods": "1"})]), server())
    assert describe(found) == "quota q allows 1 more pods (the operator may not list nodes)"
    assert describe(headroom(facts([node("a")]), server())).endswith("nodes)")


def test_a_count_is_bounded() -> None:
    huge = node("a", gpus=10**6, allocatable={"pods": "1000000"})
    assert headroom(facts([huge], quotas=[quota("q", {"pods": "1000000"})]), server()).count == MOST
    assert headroom(facts(None, quotas=[quota("q", {"pods": "1000000"})]), server()).count == MOST


def test_places_of_pods_that_are_counted_as_gone_are_free() -> None:
    old, canary, going = placed("old", "a"), placed("canary", "b"), placed("going", "c")
    namesake = placed("old", "d", namespace="other")
    used = {f"requests.{GPU}": "3"}
    seen = facts(
        [node(name) for name in "abcd"],
        [old, canary, going, namesake],
        [quota("q", {f"requests.{GPU}": "9"}, used)],
    )
    found = room(seen, server(), stable=[old], canary=[canary], leaving=[going])
    assert (found.now.count, found.one_gone.count, found.all_gone.count, found.stable) == (2, 3, 3, 1)


def test_a_canary_pod_that_waits_holds_its_place_in_the_quota_only() -> None:
    waiting = placed("canary")
    seen = facts([node("a", gpus=2)], [placed("old", "a")], [quota("q", {"pods": "2"}, {"pods": "2"})])
    assert room(seen, server(), stable=[placed("old", "a")], canary=[waiting]).now.count == 1


def test_one_pod_that_goes_makes_room_for_a_pod_that_fits_in_its_place_only() -> None:
    old = [placed("o1", "a"), placed("o2", "a")]
    seen = facts([node("a", gpus=2)], old)
    same, twice = room(seen, server(), stable=old), room(seen, server(limits={GPU: "2"}), stable=old)
    assert [(r.now.count, r.one_gone.count, r.all_gone.count) for r in (same, twice)] == [(0, 1, 2), (0, 0, 1)]


def test_nobody_knows_which_pod_goes_so_the_least_of_them_counts() -> None:
    old = [placed("o1", "a"), placed("o2", "b")]
    seen = facts([node("a", labels={"gpu": "l4"}), node("b")], old)
    least = room(seen, server(nodeSelector={"gpu": "l4"}), stable=old).one_gone
    assert least.count == 0
    assert least.message.startswith("no node has room")


def test_what_was_read_can_be_written_to_a_file_and_read_again() -> None:
    seen = facts(
        [node("a", taints=TAINT, labels={"gpu": "l4"})],
        [placed("x", "a")],
        [quota("q", {"pods": "2"}, scopes=["BestEffort"])],
    )
    adapter = TypeAdapter(CapacityFacts)
    assert adapter.validate_json(adapter.dump_json(seen)) == seen
    assert json.loads(adapter.dump_json(facts(None)))["unread"] == ["the operator may not list nodes"]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(1, 3), st.data())
def test_exactly_as_many_pods_fit_as_are_counted(gpus: list[int], need: int, data: st.DataObject) -> None:
    """Put in one by one, wherever there is room, until the next one fits nowhere."""
    spec = server(limits={GPU: str(need)})
    nodes = [node(f"n{i}", gpus=n) for i, n in enumerate(gpus)]
    busy = [placed(f"x{i}", f"n{i}", namespace="other") for i, n in enumerate(gpus) if n and data.draw(st.booleans())]
    count = headroom(facts(nodes, busy), spec).count or 0
    free = {f"n{i}": n - sum(p["spec"]["nodeName"] == f"n{i}" for p in busy) for i, n in enumerate(gpus)}
    for index in range(count):
        where = data.draw(st.sampled_from(sorted(n for n, left in free.items() if left >= need)))
        free[where] -= need
        busy.append(placed(f"new{index}", where, spec=spec))
        assert headroom(facts(nodes, busy), spec).count == count - index - 1
    assert all(left < need for left in free.values())
