"""Look until a ModelDeployment is where it should be, or will not get there."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tidegate.people.cluster import Cluster, pause
from tidegate.people.model import Model
from tidegate.people.problem import EXIT_FAILED, EXIT_READY, EXIT_TIMEOUT, NotAnswering
from tidegate.people.state import State, state_of, stuck

POLL_SECONDS = 1.0

Show = Callable[[Model, datetime], None]


def watch(
    cluster: Cluster, namespace: str, name: str, timeout: timedelta, show: Show, say: Callable[[str], None]
) -> int:
    """Show every look until it is Ready, given up or Stalled, or time is up; returns the exit code.

    A cluster that does not answer for a while is said once and waited for. Raises Problem when it cannot be asked.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    silent = False
    while True:
        try:
            model = cluster.get(namespace, name)
        except NotAnswering as error:
            if not silent:
                say(f"{error} It is asked again until the time is up.")
            silent = True
        else:
            silent = False
            show(model, datetime.now(UTC))
            if state_of(model) is State.READY:
                return EXIT_READY
            if stuck(model):
                return EXIT_FAILED
        if time.monotonic() >= deadline:
            say(f"{name} is not ready after {int(timeout.total_seconds())} s.")
            return EXIT_TIMEOUT
        pause(POLL_SECONDS)
