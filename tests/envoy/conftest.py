"""One router for all tests here; every test writes the table that it is about."""

from collections.abc import Iterator

import pytest
from envoy_stage import CANARY, NEIGHBOUR, STABLE, Stage, route, standing, table


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    names = (STABLE, CANARY, NEIGHBOUR)
    with standing(tmp_path_factory.mktemp("router"), table(route((STABLE, 100))), names, NEIGHBOUR) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Stage:
    """The router and its servers, as if nothing had happened to them."""
    for server in running.servers.values():
        server.reset()
    return running
