"""Which tests run side by side where pytest has two workers: those of one cluster, and all others.

Tests of the cluster wait most of the time, on a new machine for programs that compile; the others compute. In one
process after the other they would leave half of a small machine idle.
"""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLUSTER = ("chart", "devcluster", "e2e", "serving")
LAST = ("stores", "faults", "reconcile")
"""Need programs that the tests of the cluster compile as well, so they come when those may be there."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put every test into one of two groups, each for one worker."""

    def tier(item: pytest.Item) -> str:
        return item.path.relative_to(TESTS).parts[0]

    for item in items:
        item.add_marker(pytest.mark.xdist_group("cluster" if tier(item) in CLUSTER else "others"))
    items.sort(key=lambda item: LAST.index(tier(item)) + 1 if tier(item) in LAST else 0)
