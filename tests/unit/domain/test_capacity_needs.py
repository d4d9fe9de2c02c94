"""What a pod takes of a node and of a quota, one row a rule of Kubernetes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.podneeds import amount, pod_needs, pod_requests, show

Raw = dict[str, Any]


def asks(cpu: str, **more: Any) -> Raw:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}} | more


SIDECAR = {"restartPolicy": "Always"}
ROWS: dict[str, tuple[Raw, Raw]] = {
    "containers add up": ({"containers": [asks("1"), asks("500m")]}, {"cpu": 1500}),
    "an init container runs before them": (
        {"containers": [asks("1")], "initContainers": [asks("500m")]},
        {"cpu": 1000},
    ),
    "the largest init container": (
        {"containers": [asks("1")], "initContainers": [asks("3"), asks("2")]},
        {"cpu": 3000},
    ),
    "a sidecar runs beside them": (
        {"containers": [asks("1")], "initContainers": [asks("2", **SIDECAR)]},
        {"cpu": 3000},
    ),
    "a sidecar runs beside later init containers": (
        {"containers": [asks("1")], "initContainers": [asks("2", **SIDECAR), asks("4")]},
        {"cpu": 6000},
    ),
    "but not beside earlier ones": (
        {"containers": [asks("1")], "initContainers": [asks("4"), asks("2", **SIDECAR)]},
        {"cpu": 4000},
    ),
    "a limit is a request": (
        {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2"}}}]},
        {"nvidia.com/gpu": 2000},
    ),
    "a request goes before a limit": (
        {"containers": [{"name": "c", "resources": {"limits": {"cpu": "4"}, "requests": {"cpu": "1"}}}]},
        {"cpu": 1000},
    ),
    "the sandbox takes its part": ({"containers": [asks("1")], "overhead": {"cpu": "250m"}}, {"cpu": 1250}),
    "a pod as a whole": (
        {"containers": [asks("1")], "resources": {"requests": {"cpu": "5"}}, "overhead": {"cpu": "1"}},
        {"cpu": 6000},
    ),
    "nothing asked for": ({"containers": [{"name": "c"}]}, {}),
    "null is nothing": ({"containers": [{"name": "c", "resources": None}], "initContainers": None}, {}),
}


@pytest.mark.parametrize("row", ROWS)
def test_what_a_pod_takes_of_a_node(row: str) -> None:
    spec, expected = ROWS[row]
    assert pod_requests(spec) == expected | {"pods": 1000}


def test_limits_follow_the_same_rules() -> None:
    limits = {"limits": {"memory": "1Gi"}}
    spec = {"containers": [{"resources": limits}] * 2, "initContainers": [{"resources": {"limits": {"memory": "4Gi"}}}]}
    assert pod_needs(spec).limits == {"memory": 4 * 1024**3 * 1000}


def test_a_pod_without_requests_of_cpu_and_memory_is_best_effort() -> None:
    gpu = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    assert pod_needs(gpu).best_effort
    assert not pod_needs({"containers": [asks("1m")]}).best_effort


@pytest.mark.parametrize(
    ("resource", "text", "shown"),
    [
        ("cpu", "1500m", "1500m"),
        ("cpu", "2", "2"),
        ("memory", "2560Mi", "2.5Gi"),
        ("memory", "3Gi", "3Gi"),
        ("memory", "512Mi", "512Mi"),
        ("requests.memory", "1Gi", "1Gi"),
        ("nvidia.com/gpu", "1", "1"),
        ("hugepages-2Mi", "4Mi", "4Mi"),
        ("pods", "0", "0"),
    ],
)
def test_an_amount_for_people(resource: str, text: str, shown: str) -> None:
    assert show(resource, amount(text)) == shown


def test_text_that_is_no_amount_counts_nothing() -> None:
    assert [amount(text) for text in ("", "much", None, "1.0001", "9E")] == [0, 0, 0, 1001, 9 * 10**21]


@given(st.lists(st.integers(0, 9), max_size=4), st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=4))
def test_a_pod_takes_what_its_busiest_moment_takes(running: list[int], starting: list[tuple[int, bool]]) -> None:
    """Played moment by moment: each init container beside the sidecars before it, then everything that stays."""
    spec = {
        "containers": [asks(str(n)) for n in running],
        "initContainers": [asks(str(n), **(SIDECAR if stays else {})) for n, stays in starting],
    }
    moments, sidecars = [0], 0
    for cpus, stays in starting:
        moments.append(sidecars + cpus)
        sidecars += cpus if stays else 0
    moments.append(sidecars + sum(running))
    assert pod_requests(spec).get("cpu", 0) == max(moments) * 1000
