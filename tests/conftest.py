"""Which tests run side by side where pytest has two workers: those of one cluster, and all others.

Tests of the cluster wait most of the time, on a new machine for programs that compile; the others compute. In one
process after the other they would leave half of a small machine idle.
"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# How long an example takes says how busy the machine is, nothing of what is promised.
settings.register_profile("tidegate", deadline=None)
settings.load_profile("tidegate")

TESTS = Path(__file__).parent
CLUSTER = ("chart", "devcluster", "e2e", "serving")
LAST = ("stores", "faults", "reconcile")
"""Need programs that the tests of the cluster compile as well, so they come when those may be there."""


class TwoGroups(LoadScopeScheduling):
    """Each group is the work of one worker, in the order of its collection."""

    def _split_scope(self, nodeid: str) -> str:
        return "cluster" if nodeid.split("/")[1] in CLUSTER else "others"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TwoGroups:
    """Asked by pytest-xdist, where there are workers."""
    return TwoGroups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last what waits for programs."""

    def turn(item: pytest.Item) -> int:
        tier = item.path.relative_to(TESTS).parts[0]
        return LAST.index(tier) + 1 if tier in LAST else 0

    items.sort(key=turn)
