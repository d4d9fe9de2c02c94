"""Names hold for every name an owner can have."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.api.rollout import Step
from tidegate.api.rules import NAME_PATTERN
from tidegate.domain import names
from tidegate.domain.observed import ROUTE_KINDS
from tidegate.domain.rollout.machine import pods_for, weight_at
from tidegate.domain.routing import Backend, Route, Table

SETTINGS = settings(max_examples=80, deadline=None, derandomize=True)
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
owners = st.one_of(
    st.from_regex(NAME_PATTERN, fullmatch=True),
    st.builds(lambda c, n, t: (c * n + t)[-63:], st.sampled_from("abz"), st.integers(40, 70), st.sampled_from("xyz0")),
    st.builds(lambda n: "a" + "-" * n + "b", st.integers(0, 61)),
).filter(lambda name: re.fullmatch(NAME_PATTERN, name) is not None)
ids = st.text("0123456789abcdef", min_size=8, max_size=8)


@SETTINGS
@given(owner=owners, revision=ids, attempt=st.integers(0, 10**6))
def test_names_are_dns_labels(owner: str, revision: str, attempt: int) -> None:
    routes = [names.route(owner, kind) for kind in ROUTE_KINDS]
    for name in (names.revision(owner, revision), names.resolve_job(owner, revision[:6], attempt), *routes):
        assert LABEL.fullmatch(name), name


@SETTINGS
@given(one=owners, other=owners, revision=ids)
def test_distinct_owners_have_distinct_names(one: str, other: str, revision: str) -> None:
    assert (names.revision(one, revision) == names.revision(other, revision)) == (one == other)


@SETTINGS
@given(one=owners, other=owners)
def test_no_two_routes_share_a_name_whatever_their_kinds_and_models(one: str, other: str) -> None:
    found = {names.route(owner, kind) for owner in (one, other) for kind in ROUTE_KINDS}
    assert len(found) == 2 * len({one, other})


@SETTINGS
@given(replicas=st.integers(0, 1000), steps=st.lists(st.integers(1, 100), unique=True, max_size=8).map(sorted))
def test_pods_rise_with_the_steps_up_to_all_replicas(replicas: int, steps: list[int]) -> None:
    ladder = [Step(weight=w) for w in steps]
    sizes = [pods_for(replicas, weight_at(ladder, i)) for i in range(len(steps) + 1)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == replicas
    assert all(size * 100 >= replicas * weight_at(ladder, i) for i, size in enumerate(sizes))


@SETTINGS
@given(models=st.dictionaries(owners, st.integers(20000, 20010), max_size=6), name=owners)
def test_a_port_is_never_shared(models: dict[str, int], name: str) -> None:
    table = Table()
    for model, preferred in models.items():
        port = table.free_port(model, preferred)
        split = (Backend(revision=f"{model}-1", weight=100),)
        table = table.with_route(Route(model=model, port=port, timeout_seconds=1, backends=split), [*table.routes])
    ports = [r.port for r in table.routes.values()]
    assert len(ports) == len(set(ports)) == len(models)
    assert list(table.routes) == sorted(models)
    assert (table.free_port(name, None) in ports) == (name in models)
