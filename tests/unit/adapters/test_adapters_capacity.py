"""Promises about what is read of a cluster's capacity: in pages, bounded, and unknown where it may not be read."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from capacity_objects import GPU, facts, node, placed, quota

from tidegate.adapters.capacity import ON_NODES, PAGE, PAGES, read_capacity
from tidegate.adapters.errors import ApiError, Conflict, Forbidden, Unavailable
from tidegate.adapters.kube import KubeCluster
from tidegate.domain.revision import Pins

Raw = dict[str, Any]
NODES, PODS, QUOTAS = "/api/v1/nodes", "/api/v1/pods", "/api/v1/namespaces/vision/resourcequotas"
OBJECTS: dict[str, list[Raw]] = {
    NODES: [node("a"), node("b", gpus=4)],
    PODS: [placed("x", "a"), placed("y", "b", namespace="other"), placed("z")],
    QUOTAS: [quota("gpus", {f"requests.{GPU}": "4"}, {f"requests.{GPU}": "2"})],
}


@dataclass
class Pages:
    """An API server that gives one item a page, and fails as ``failures`` says, one a request and in turn."""

    failures: dict[str, list[ApiError | None]] = field(default_factory=dict)
    endless: bool = False
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def request(self, method: str, path: str, *, query: list[tuple[str, str]]) -> Raw:
        assert method == "GET"
        found = dict(query)
        self.asked.append((path, found))
        failures = self.failures.get(path, [])
        if failures and (failure := failures.pop(0)):
            raise failure
        items, at = OBJECTS[path], int(found.get("continue", "0"))
        more = "0" if self.endless else str(at + 1) if at + 1 < len(items) else ""
        return {"metadata": {"continue": more}, "items": items[at : at + 1]}

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


def read(api: Pages) -> Any:
    return read_capacity(api, "vision")  # type: ignore[arg-type]


def test_every_page_of_nodes_pods_and_quotas_is_read() -> None:
    api = Pages()
    assert read(api) == facts(OBJECTS[NODES], OBJECTS[PODS], OBJECTS[QUOTAS])
    assert api.paths() == [NODES] * 2 + [PODS] * 3 + [QUOTAS]
    assert {query["limit"] for _, query in api.asked} == {str(PAGE)}


def test_pods_that_hold_no_place_are_not_even_asked_for() -> None:
    api = Pages()
    read(api)
    assert {(path, query.get("fieldSelector")) for path, query in api.asked} == {
        (NODES, None),
        (PODS, ON_NODES),
        (QUOTAS, None),
    }


def test_the_cluster_is_asked_for_the_namespace_of_the_model() -> None:
    api = Pages()
    cluster = KubeCluster(api, Pins(packager_image="tidegate/packager:1.0"), "operator")  # type: ignore[arg-type]
    assert cluster.capacity("vision") == facts(OBJECTS[NODES], OBJECTS[PODS], OBJECTS[QUOTAS])


@pytest.mark.parametrize(
    ("refused", "what"),
    [(NODES, "nodes"), (PODS, "pods of all namespaces")],
)
def test_nodes_are_unknown_without_the_right_to_read_them_and_their_pods(refused: str, what: str) -> None:
    found = read(Pages({refused: [Forbidden("no")]}))
    assert (found.nodes, found.pods) == (None, ())
    assert found.unread == (f"the operator may not list {what}",)
    assert found.quotas == facts(quotas=OBJECTS[QUOTAS]).quotas


def test_an_operator_without_any_right_knows_nothing_and_goes_on() -> None:
    found = read(Pages({path: [Forbidden("no")] for path in OBJECTS}))
    assert (found.nodes, found.quotas) == (None, None)
    assert found.unread == ("the operator may not list nodes", "the operator may not list resourcequotas")


def test_an_api_server_that_does_not_answer_is_no_empty_cluster() -> None:
    for path in OBJECTS:
        with pytest.raises(Unavailable):
            read(Pages({path: [Unavailable("later")]}))


def test_a_list_that_grew_too_old_is_begun_once_more_from_its_start() -> None:
    api = Pages({PODS: [None, Conflict("expired")]})
    assert read(api) == facts(OBJECTS[NODES], OBJECTS[PODS], OBJECTS[QUOTAS])
    assert [query.get("continue") for path, query in api.asked if path == PODS] == [None, "1", None, "1", "2"]
    api = Pages({PODS: [Conflict("expired"), Conflict("expired")]})
    assert read(api).unread == ("the list of pods of all namespaces changes faster than it can be read",)


def test_a_list_without_an_end_is_not_read_to_its_end() -> None:
    api = Pages(endless=True)
    found = read(api)
    assert (found.nodes, found.quotas) == (None, None)
    assert found.unread[0] == f"there are more nodes than the {PAGE * PAGES} that are counted"
    assert api.paths().count(NODES) == PAGES


def test_what_is_kept_of_a_pod_is_what_it_takes() -> None:
    (first, second) = read(Pages()).pods
    assert (first.namespace, first.name, first.node) == ("vision", "x", "a")
    assert dict(second.requests) == {GPU: 1000, "pods": 1000}
