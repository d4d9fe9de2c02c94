"""What clients, and pods behind a Service without any router, can rely on in what is written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from resources_examples import CPU, GPU, PLAN, ROUTE, SETTINGS, SUBJECT, observed

from tidegate.domain.direct import selector
from tidegate.domain.routing import Backend
from tidegate.resources.build import own_objects, router_objects
from tidegate.resources.front import direct_service
from tidegate.resources.meta import labels

GOLDEN = Path(__file__).parent / "golden" / "service.json"
BOTH = ROUTE.model_copy(update={"port": 0})
DIRECT = replace(PLAN, route=BOTH, table=None, selector=selector(BOTH))


def matches(stored: str, shares: tuple[int, int]) -> bool:
    """Whether the pods of a revision are selected at these shares of GPU and CPU."""
    split = (Backend(revision=GPU.name, weight=shares[0]), Backend(revision=CPU.name, weight=shares[1]))
    wanted = selector(BOTH.model_copy(update={"backends": split}))
    return wanted.items() <= labels(SUBJECT, "server", stored).items()


@pytest.mark.parametrize(
    ("shares", "first", "second", "third"),
    [
        ((100, 0), True, False, False),
        ((95, 5), True, True, True),
        ((0, 100), False, True, False),
        ((0, 0), False, False, False),
    ],
)
def test_each_state_selects_the_pods_that_have_a_share(
    shares: tuple[int, int], first: bool, second: bool, third: bool
) -> None:
    """A third revision is like both in what both have in common: no decision selects both while it has pods."""
    found = [matches(name, shares) for name in (GPU.name, CPU.name, "digits-33333333")]
    assert found == [first, second, third]


def test_a_selector_is_never_empty() -> None:
    """A Service without one is left alone, with the pods that it had."""
    assert selector(BOTH.model_copy(update={"backends": ()}))


def test_jobs_and_routers_are_never_selected() -> None:
    for component in ("resolve", "parity", "router", "front", "observer"):
        assert not selector(BOTH).items() <= labels(SUBJECT, component, GPU.name).items()


def test_the_service_is_as_it_was() -> None:
    found = direct_service(SUBJECT, BOTH, selector(BOTH))
    assert json.dumps(found, indent=2, sort_keys=True) + "\n" == GOLDEN.read_text()


def test_requests_may_come_from_every_pod_and_no_router_is_made() -> None:
    objects = {(o["kind"], o["metadata"]["name"]): o for o in own_objects(observed(), DIRECT, SETTINGS)}
    assert objects["NetworkPolicy", "digits"]["spec"]["ingress"][0]["from"] == [{"namespaceSelector": {}}]
    assert objects["Service", "digits"]["spec"]["selector"] == selector(BOTH)
    assert router_objects(observed(), DIRECT, SETTINGS) == []


def test_a_client_stays_on_its_pod_where_that_is_asked_for() -> None:
    asked = BOTH.model_copy(update={"affinity": "ClientAddress"})
    assert direct_service(SUBJECT, asked, selector(asked))["spec"]["sessionAffinity"] == "ClientIP"
