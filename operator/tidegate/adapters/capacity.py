"""What the cluster has room for: nodes, the pods on them and the quotas of a namespace, in pages.

Only what a decision needs is kept of each object, so that a large cluster costs requests and no memory. What the
operator may not list, or what is more than it reads, is said to be unknown.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from tidegate.adapters.api import ApiServer
from tidegate.adapters.errors import Conflict, Forbidden
from tidegate.domain.capacity import CapacityFacts, pod_use
from tidegate.domain.observed import Raw
from tidegate.domain.placement import node_of
from tidegate.domain.quotas import quota_of

PAGE = 500
PAGES = 60
"""Of a longer list nothing is known: the pages are requests that other clients of the API server wait for."""
TRIES = 2
"""A list that grew too old between two pages is begun once more."""
ON_NODES = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
Kept = TypeVar("Kept")


class _Unknown(Exception):
    """A list that could not be read, with the clause that says why."""


def read_capacity(api: ApiServer, namespace: str) -> CapacityFacts:
    """What is known of the capacity for pods of ``namespace``.

    Raises an ApiError when the API server does not answer; a list that the operator may not read is unknown.
    """
    unread: list[str] = []
    nodes = pods = quotas = None
    try:
        nodes = _read(api, "nodes", "/api/v1/nodes", node_of)
        pods = _read(api, "pods of all namespaces", "/api/v1/pods", pod_use, ON_NODES)
    except _Unknown as error:
        # Nodes without their pods would look free.
        nodes = None
        unread.append(str(error))
    try:
        quotas = _read(api, "resourcequotas", f"/api/v1/namespaces/{namespace}/resourcequotas", quota_of)
    except _Unknown as error:
        unread.append(str(error))
    return CapacityFacts(
        namespace=namespace,
        nodes=None if nodes is None else tuple(nodes),
        pods=tuple(use for use in pods or () if use),
        quotas=None if quotas is None else tuple(quotas),
        unread=tuple(unread),
    )


def _read(api: ApiServer, what: str, path: str, keep: Callable[[Raw], Kept], fields: str = "") -> list[Kept]:
    """Every item of a list, by what is kept of it."""
    for _ in range(TRIES):
        try:
            return [keep(item) for page in _pages(api, what, path, fields) for item in page]
        except Forbidden as error:
            raise _Unknown(f"the operator may not list {what}") from error
        except Conflict:
            continue
    raise _Unknown(f"the list of {what} changes faster than it can be read")


def _pages(api: ApiServer, what: str, path: str, fields: str) -> Iterator[list[Raw]]:
    query = [("limit", str(PAGE))] + ([("fieldSelector", fields)] if fields else [])
    more = ""
    for _ in range(PAGES):
        answer = api.request("GET", path, query=query + ([("continue", more)] if more else []))
        yield answer["items"]
        more = answer.get("metadata", {}).get("continue", "")
        if not more:
            return
    raise _Unknown(f"there are more {what} than the {PAGE * PAGES} that are counted")
