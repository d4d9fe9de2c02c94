"""One router, one observer and two revisions for all tests here; every test gets them as new."""

import signal
from collections.abc import Iterator

import pytest
from observer_stage import ObserverStage, observer_stage


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObserverStage]:
    with observer_stage(tmp_path_factory.mktemp("observer")) as stage:
        yield stage


@pytest.fixture
def stage(running: ObserverStage) -> Iterator[ObserverStage]:
    """Everything runs, nobody is wrong, nothing was counted."""
    for server in running.servers.values():
        server.wrong_below = server.noise = server.delay = 0.0
        server.status, server.padding = 200, 0
    if running.observer.runs and running.usual:
        running.begin()
    else:
        running.fresh_observer()
    for server in running.servers.values():
        server.asked = 0
    yield running
    if running.observer.runs:
        running.observer.send(signal.SIGCONT)
