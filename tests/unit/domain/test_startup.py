"""How long a start took, part by part, and what may be said of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from domain_objects import wire_time
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.observed import PodView
from tidegate.domain.startup import Startup, progress_deadline, startup, typical

Raw = dict[str, Any]
T0 = datetime(2030, 1, 1, tzinfo=UTC)
TIMES = {"scheduled": 2, "fetching": 7, "fetched": 19, "serving": 34, "ready": 74}
MINUTE = 60.0


def at(seconds: int) -> str:
    return wire_time(T0 + timedelta(seconds=seconds))


def started(
    *, image_volume: bool = False, restarts: Raw | None = None, lost: bool = False, **times: int | None
) -> PodView:
    """A pod created at 0 that went through its start at these seconds; None for a time that nobody kept."""
    when = {name: None if second is None else at(second) for name, second in (TIMES | times).items()}
    again = restarts or {}
    fetch = {
        "name": "fetch",
        "restartCount": again.get("fetch", 0),
        "state": {"terminated": {"exitCode": 0, "startedAt": when["fetching"], "finishedAt": when["fetched"]}},
    }
    triton = {
        "name": "triton",
        "ready": not lost,
        "restartCount": again.get("triton", 0),
        "state": {"running": {"startedAt": when["serving"]}},
    }
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": when["scheduled"]},
        {"type": "Ready", "status": "False" if lost else "True", "lastTransitionTime": when["ready"]},
    ]
    status: Raw = {"conditions": conditions, "containerStatuses": [triton]}
    if not image_volume:
        status["initContainerStatuses"] = [fetch]
    return PodView({"metadata": {"name": "digits-1-a", "creationTimestamp": at(0)}, "status": status})


ROWS: dict[str, tuple[PodView, Startup | None]] = {
    "every part": (started(), Startup(total=74, schedule=2, pull=5 + 15, fetch=12, load=40)),
    "an image volume has no fetch": (started(image_volume=True), Startup(total=74, schedule=2, pull=32, load=40)),
    "not ready": (started(lost=True), None),
    "the server was started again": (started(restarts={"triton": 1}), None),
    "the fetch was tried again": (started(restarts={"fetch": 2}), Startup(total=74, schedule=2, load=40)),
    "nobody kept when it was scheduled": (started(scheduled=None), Startup(total=74, fetch=12, load=40)),
    "nobody kept when the server started": (started(serving=None), Startup(total=74, schedule=2, fetch=12)),
    "a node whose clock is behind": (
        started(fetching=1, fetched=13),
        Startup(total=74, schedule=2, pull=0 + 21, fetch=12, load=40),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_parts_of_a_start(row: str) -> None:
    pod, expected = ROWS[row]
    assert startup(pod) == expected


def test_a_pod_of_which_little_is_known_is_no_error() -> None:
    bare = {"type": "Ready", "status": "True"}
    for raw in (
        {"metadata": {}},
        {"metadata": {"name": "x"}, "status": {"conditions": [bare]}},
        {"metadata": {"name": "x", "creationTimestamp": at(0)}, "status": {"conditions": [bare]}},
        {
            "metadata": {"creationTimestamp": at(0)},
            "status": {"conditions": [bare], "containerStatuses": [{"name": "triton"}]},
        },
        {
            "metadata": {"creationTimestamp": at(0)},
            "status": {"conditions": [bare | {"lastTransitionTime": at(9)}], "containerStatuses": [{"name": "other"}]},
        },
    ):
        assert startup(PodView(raw)) is None


@given(st.lists(st.integers(0, 3600), min_size=5, max_size=5).map(sorted))
def test_the_parts_add_up_to_the_whole(seconds: list[int]) -> None:
    scheduled, fetching, fetched, serving, ready = seconds
    found = startup(started(scheduled=scheduled, fetching=fetching, fetched=fetched, serving=serving, ready=ready))
    assert found is not None
    parts = [found.schedule, found.pull, found.fetch, found.load]
    assert sum(p for p in parts if p is not None) == found.total == ready
    assert found.placed == ready - scheduled


def test_one_slow_start_among_several_is_not_typical() -> None:
    starts = [Startup(total=t, schedule=1, load=t - 1) for t in (10, 12, 500)] + [Startup(total=11, pull=4)]
    assert typical(starts) == Startup(total=11.5, schedule=1, pull=4, fetch=None, load=11)
    assert typical([]) is None


@pytest.mark.parametrize(
    ("given_deadline", "measured", "expected"),
    [
        (timedelta(seconds=10), 600.0, timedelta(seconds=10)),
        (timedelta(hours=9), None, timedelta(hours=9)),
        (timedelta(0), 60.0, timedelta(0)),
        (None, None, timedelta(minutes=15)),
        (None, 3.0, timedelta(minutes=5)),
        (None, 30.0, timedelta(minutes=5)),
        (None, MINUTE, timedelta(minutes=10)),
        (None, 6 * MINUTE, timedelta(hours=1)),
        (None, 600 * MINUTE, timedelta(hours=1)),
        (None, 0.0, timedelta(minutes=5)),
        (None, float("nan"), timedelta(minutes=15)),
        (None, float("inf"), timedelta(minutes=15)),
        (None, -1.0, timedelta(minutes=15)),
    ],
)
def test_the_deadline_follows_what_was_measured_unless_a_user_gave_one(
    given_deadline: timedelta | None, measured: float | None, expected: timedelta
) -> None:
    assert progress_deadline(given_deadline, measured) == expected


@given(st.one_of(st.none(), st.floats()))
def test_the_deadline_is_always_one_that_can_be_kept(measured: float | None) -> None:
    assert timedelta(minutes=5) <= progress_deadline(None, measured) <= timedelta(hours=1)
