"""What two looks at the routers make of a window: both revisions over the same time, or neither."""

from dataclasses import dataclass

import pytest

from tidegate.domain.checks.meter import window
from tidegate.domain.checks.windows import Bucket, Histogram, Traffic


@dataclass(frozen=True)
class Report:
    traffic: dict[str, Traffic]


def traffic(requests: int) -> Traffic:
    return Traffic(requests, 0, Histogram((Bucket(10, 11, requests),) if requests else ()))


def report(**counts: int) -> Report:
    return Report({name: traffic(requests) for name, requests in counts.items()})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({"a": report(old=90, new=4)}, {"a": report(old=100, new=6)}, (10, 2), id="counts rise"),
        pytest.param({}, {"a": report(old=100, new=6)}, None, id="the first look"),
        pytest.param({"a": report(old=90, new=4)}, {"a": Report({})}, None, id="counts could not be read"),
        pytest.param(
            {"a": report(old=90)}, {"a": report(old=100, new=6)}, None, id="the canary was not counted before"
        ),
        pytest.param({"a": report(old=90, new=4)}, {"a": report(new=6)}, None, id="stable is not counted any more"),
        pytest.param(
            {"a": report(old=90, new=4), "b": report(old=80, new=3)},
            {"a": report(old=100, new=6), "b": report(old=95)},
            (10, 2),
            id="a router that counted one of them only adds nothing to either",
        ),
        pytest.param(
            {"a": report(old=90, new=4)},
            {"a": report(old=100, new=6), "b": report(old=5, new=5)},
            (10, 2),
            id="a new router begins with its next window",
        ),
        pytest.param({"a": report(old=90, new=40)}, {"a": report(old=7, new=1)}, (7, 1), id="a router restarted"),
        pytest.param(
            {"a": report(old=90, new=0)},
            {"a": report(old=7, new=1)},
            (7, 1),
            id="it restarted before the canary's first",
        ),
        pytest.param(
            {"a": report(old=9000, new=4)},
            {"a": report(old=9010, new=1)},
            None,
            id="a router forgot the canary, which came back: stable's 9010 are no window",
        ),
        pytest.param({"a": report(old=90, new=4)}, {"a": report(old=90, new=4)}, (0, 0), id="nothing happened"),
        pytest.param({"a": report(old=90, new=4, x=9)}, {"a": report(old=91, new=5, x=1)}, (1, 1), id="others"),
    ],
)
def test_a_window_covers_both_revisions_or_neither(
    before: dict[str, Report], after: dict[str, Report], expected: tuple[int, int] | None
) -> None:
    found = window(before, after, "old", "new", 2.0)
    assert found.seconds == 2.0
    assert (found.stable is None) == (found.canary is None)
    seen = (found.stable.requests, found.canary.requests) if found.stable and found.canary else None
    assert seen == expected
