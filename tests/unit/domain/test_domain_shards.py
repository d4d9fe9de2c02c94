"""Which router of a namespace has a model's route: where it is, where it was, or the first with room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.routing import MODELS_PER_ROUTER, Route, Table, shard_of


def table(*models: str) -> Table:
    return Table(routes={m: Route(model=m, port=20000 + i, timeout_seconds=30) for i, m in enumerate(models)})


FULL = [f"m{number}" for number in range(MODELS_PER_ROUTER)]
MORE = [f"n{number}" for number in range(MODELS_PER_ROUTER)]
ALL = {*FULL, *MORE, "digits"}


@pytest.mark.parametrize(
    ("tables", "present", "former", "expected"),
    [
        pytest.param({}, ALL, None, 0, id="the first model of a namespace"),
        pytest.param({0: table("m0")}, ALL, None, 0, id="there is room"),
        pytest.param({0: table(*FULL)}, ALL, None, 1, id="the first router is full"),
        pytest.param({0: table(*FULL[1:])}, ALL, None, 0, id="one place is left"),
        pytest.param({0: table(*FULL)}, ALL - {"m0"}, None, 0, id="a model that is gone makes room"),
        pytest.param({0: table(*FULL), 1: table("n0")}, ALL, None, 1, id="the second has room"),
        pytest.param({0: table(*FULL), 1: table(*MORE)}, ALL, None, 2, id="both are full"),
        pytest.param({1: table(*MORE)}, ALL, None, 0, id="the first is gone, with its last model"),
        pytest.param({0: table("m0"), 1: table("digits")}, ALL, None, 1, id="it stays where its route is"),
        pytest.param({0: table(*FULL[1:], "digits")}, ALL, None, 0, id="a full router keeps its own"),
        pytest.param({1: table("digits")}, ALL, 0, 1, id="its route tells more than its Service"),
        pytest.param({0: table("m0"), 2: table("n0")}, ALL, 2, 2, id="its route was lost, its Service leads there"),
        pytest.param({0: table("m0"), 1: table(*MORE)}, ALL, 1, 0, id="the router it was at has become full"),
        pytest.param({0: table("digits"), 1: table("digits")}, ALL, 1, 0, id="two routes: the same one each time"),
    ],
)
def test_which_router_has_a_models_route(
    tables: dict[int, Table], present: set[str], former: int | None, expected: int
) -> None:
    assert shard_of("digits", tables, present, former) == expected


@given(st.lists(st.tuples(st.sampled_from(FULL + MORE), st.booleans()), max_size=300))
def test_whatever_comes_and_goes_no_router_is_too_full_and_no_model_moves(changes: list[tuple[str, bool]]) -> None:
    tables: dict[int, Table] = {}
    present: set[str] = set()
    home: dict[str, int] = {}
    for model, comes in changes:
        if not comes:
            present.discard(model)
            home.pop(model, None)
            continue
        present.add(model)
        shard = shard_of(model, tables, present, home.get(model))
        assert home.setdefault(model, shard) == shard
        port = tables.get(shard, Table()).free_port(model, None)
        route = Route(model=model, port=port, timeout_seconds=30)
        tables[shard] = tables.get(shard, Table()).with_route(route, present)
        assert len(tables[shard].routes) <= MODELS_PER_ROUTER
        assert len({r.port for r in tables[shard].routes.values()}) == len(tables[shard].routes)
