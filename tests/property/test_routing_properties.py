"""What holds for every route: shares, versions and names."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.routing import Backend, Route, RouterReport, names_like, route_version, serves, split_version

AFFINITIES: tuple[Any, ...] = ("None", "ClientAddress", "Header")


@st.composite
def routes(draw: st.DrawFn) -> Route:
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=5))
    roles = draw(st.permutations(("stable", "canary", "", "", "")))
    weights = draw(st.lists(st.integers(0, 100), min_size=5, max_size=5))
    split = tuple(Backend(revision=n, weight=w, role=r) for n, w, r in zip(names, weights, roles, strict=False))  # type: ignore[arg-type]
    affinity = draw(st.sampled_from(AFFINITIES))
    return Route(model="digits", port=20000, timeout_seconds=30, affinity=affinity, backends=split)


def place(route: Route, revision: str) -> range:
    """The places of a revision among those that clients are dealt out to."""
    begin = 0
    for backend in route.shares():
        if backend.revision == revision:
            return range(begin, begin + backend.weight)
        begin += backend.weight
    return range(0)


def weighed(route: Route, weights: dict[str, int]) -> Route:
    found = tuple(b.model_copy(update={"weight": weights[b.role]}) for b in route.backends if b.role)
    return route.model_copy(update={"backends": found})


@given(routes())
def test_every_weight_is_dealt_out_once_and_nothing_else(route: Route) -> None:
    assert sorted(b.revision for b in route.shares()) == sorted(b.revision for b in route.backends if b.weight)


@given(routes(), st.integers(0, 100), st.integers(0, 100))
def test_a_client_of_the_canary_stays_with_it_whatever_weight_it_rises_to(route: Route, one: int, other: int) -> None:
    names = {b.role: b.revision for b in route.backends}
    if route.affinity == "None" or "canary" not in names or "stable" not in names:
        return
    low, high = (
        place(weighed(route, {"stable": 100 - weight, "canary": weight}), names["canary"])
        for weight in sorted((one, other))
    )
    assert set(low) <= set(high)


@given(routes(), st.integers(1, 100))
def test_a_canary_that_takes_over_from_another_gets_that_ones_clients_whatever_its_name(
    route: Route, weight: int
) -> None:
    names = {b.role: b.revision for b in route.backends}
    if route.affinity == "None" or "canary" not in names or "stable" not in names:
        return
    found = place(weighed(route, {"stable": 100 - weight, "canary": weight}), names["canary"])
    assert found == range(weight)


@given(routes(), routes())
def test_a_router_is_said_to_serve_a_split_exactly_when_it_has_that_split(served: Route, wanted: Route) -> None:
    report = RouterReport(pod="r", routes={"digits": route_version(served)})

    def split(route: Route) -> tuple[Any, ...]:
        return route.affinity, [(b.revision, b.weight) for b in route.shares()]

    assert serves(report, wanted) == (split(served) == split(wanted))
    assert names_like(report, wanted) <= serves(report, wanted)
    if served == wanted:
        assert names_like(report, wanted)
    assert not serves(RouterReport(pod="r", reachable=False, routes=report.routes), wanted)


@given(routes())
def test_a_version_is_short_and_says_its_split_first(route: Route) -> None:
    assert route_version(route).startswith(split_version(route) + "-")
    assert len(route_version(route)) == 33
