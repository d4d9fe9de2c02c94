"""Which nodes take a pod, one row a rule of the scheduler."""

from typing import Any

import pytest
from capacity_objects import GPU, node, server

from tidegate.domain.placement import LABELS, node_of, refusal
from tidegate.domain.podneeds import pod_needs

Raw = dict[str, Any]
TAINT = {"key": "pool", "value": "serving", "effect": "NoSchedule"}
L4 = {"labels": {"gpu": "l4", "rank": "7"}}


def required(*terms: Raw) -> Raw:
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": rule}}


def on(key: str, operator: str, *values: str) -> Raw:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def tolerates(**fields: str) -> Raw:
    return {"tolerations": [fields]}


ROWS: dict[str, tuple[Raw, Raw, str | None]] = {
    "nothing asked": (node("a"), {}, None),
    "a label it has": (node("a", **L4), {"nodeSelector": {"gpu": "l4"}}, None),
    "a label of another value": (node("a", **L4), {"nodeSelector": {"gpu": "h100"}}, LABELS),
    "a label it has not": (node("a"), {"nodeSelector": {"gpu": "l4"}}, LABELS),
    "every label counts": (node("a", **L4), {"nodeSelector": {"gpu": "l4", "zone": "b"}}, LABELS),
    "In": (node("a", **L4), required(on("gpu", "In", "l4", "l40s")), None),
    "not In": (node("a", **L4), required(on("gpu", "In", "h100")), LABELS),
    "NotIn": (node("a", **L4), required(on("gpu", "NotIn", "l4")), LABELS),
    "NotIn without the label": (node("a"), required(on("gpu", "NotIn", "l4")), None),
    "Exists": (node("a"), required(on("gpu", "Exists")), LABELS),
    "DoesNotExist": (node("a"), required(on("gpu", "DoesNotExist")), None),
    "Gt": (node("a", **L4), required(on("rank", "Gt", "6")), None),
    "Gt of equals": (node("a", **L4), required(on("rank", "Gt", "7")), LABELS),
    "Lt": (node("a", **L4), required(on("rank", "Lt", "8")), None),
    "Lt of a word": (node("a", **L4), required(on("gpu", "Lt", "8")), LABELS),
    "an operator of later days": (node("a", **L4), required(on("gpu", "Near", "8")), LABELS),
    "one of several terms": (node("a", **L4), required(on("gpu", "In", "h100"), on("gpu", "In", "l4")), None),
    "an empty term": (node("a"), required({}), LABELS),
    "no terms": (node("a"), required(), LABELS),
    "a name": (
        node("a"),
        required({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}),
        LABELS,
    ),
    "preferred affinity refuses nothing": (
        node("a"),
        {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}},
        None,
    ),
    "a taint": (node("a", taints=[TAINT]), {}, "pool"),
    "a taint that only asks nicely": (node("a", taints=[TAINT | {"effect": "PreferNoSchedule"}]), {}, None),
    "tolerated": (node("a", taints=[TAINT]), tolerates(key="pool", value="serving"), None),
    "another value": (node("a", taints=[TAINT]), tolerates(key="pool", value="batch"), "pool"),
    "tolerated by key": (node("a", taints=[TAINT]), tolerates(key="pool", operator="Exists"), None),
    "tolerated whatever it is": (node("a", taints=[TAINT]), tolerates(operator="Exists"), None),
    "tolerated for another effect": (
        node("a", taints=[TAINT]),
        tolerates(key="pool", operator="Exists", effect="NoExecute"),
        "pool",
    ),
    "cordoned": (node("a", cordoned=True), {}, "node.kubernetes.io/unschedulable"),
    "cordoned and tolerated": (
        node("a", cordoned=True),
        tolerates(key="node.kubernetes.io/unschedulable", operator="Exists"),
        None,
    ),
    "a taint by the accelerator's name is tolerated on admission": (
        node("a", taints=[{"key": GPU, "value": "present", "effect": "NoSchedule"}]),
        {},
        None,
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_whether_a_node_takes_a_pod(row: str) -> None:
    where, more, expected = ROWS[row]
    assert refusal(node_of(where), pod_needs(server(**more))) == expected


def test_a_pod_that_asks_for_no_accelerator_does_not_get_onto_nodes_reserved_for_them() -> None:
    reserved = node_of(node("a", taints=[{"key": GPU, "effect": "NoSchedule"}]))
    assert refusal(reserved, pod_needs(server(limits={"cpu": "1"}))) == GPU
