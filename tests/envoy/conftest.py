"""One router for all tests here; every test writes the table that it is about."""

from collections.abc import Iterator

import pytest
from envoy_router import Router
from envoy_servers import RevisionServer
from envoy_stage import CANARY, NEIGHBOUR, STABLE, Stage, route, table


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    servers = {name: RevisionServer(name).start() for name in (STABLE, CANARY, NEIGHBOUR)}
    hosts = {name: server.address for name, server in servers.items()}
    router = Router(tmp_path_factory.mktemp("router"), hosts | {"": servers[NEIGHBOUR].address})
    router.write(table(route((STABLE, 100))))
    try:
        router.start()
        yield Stage(router, servers)
    finally:
        router.stop()
        for server in servers.values():
            server.stop()


@pytest.fixture
def stage(running: Stage) -> Stage:
    """The router and its servers, as if nothing had happened to them."""
    for server in running.servers.values():
        server.reset()
    return running
