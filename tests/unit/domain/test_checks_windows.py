"""Two readings of the routers make one window, and no restart or gap makes a request appear for one revision only."""

import pytest

from tidegate.domain.checks.windows import (
    Bucket,
    Histogram,
    Ladder,
    Reading,
    Traffic,
    add,
    between,
    enough_to_compare,
)


def traffic(requests: int, errors: int = 0) -> Traffic:
    buckets = (Bucket(10, 11, requests),) if requests else ()
    return Traffic(requests, errors, Histogram(buckets))


def reading(stable: int, canary: int, errors: int = 0) -> Reading:
    return Reading(traffic(stable), traffic(canary, errors))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({}, {"a": reading(9, 9)}, None, id="the first reading is where counting begins"),
        pytest.param({"a": reading(9, 9)}, {}, None, id="no router answered"),
        pytest.param({"a": reading(9, 1)}, {"b": reading(9, 1)}, None, id="every router was replaced"),
        pytest.param({"a": reading(90, 4, 1)}, {"a": reading(100, 6, 3)}, (10, 2, 2), id="counters rise"),
        pytest.param(
            {"a": reading(90, 4), "b": reading(80, 3)},
            {"a": reading(100, 6), "b": reading(85, 4)},
            (15, 3, 0),
            id="routers are added",
        ),
        pytest.param(
            {"a": reading(90, 4), "b": reading(80, 3)},
            {"a": reading(100, 6)},
            (10, 2, 0),
            id="a router that is silent counts for neither revision",
        ),
        pytest.param({"a": reading(90, 40)}, {"a": reading(7, 1)}, (7, 1, 0), id="a router restarted"),
        pytest.param(
            {"a": reading(90, 4)}, {"a": reading(91, 1)}, (91, 1, 0), id="one counter went back: both count from 0"
        ),
        pytest.param({"a": reading(90, 4)}, {"a": reading(90, 4)}, (0, 0, 0), id="nothing happened"),
    ],
)
def test_what_happened_between_two_readings(
    before: dict[str, Reading], after: dict[str, Reading], expected: tuple[int, int, int] | None
) -> None:
    found = between(before, after)
    seen = (found[0].requests, found[1].requests, found[1].errors) if found else None
    assert seen == expected
    if found:
        assert [part.latency.total for part in found] == [part.requests for part in found]


def test_windows_add_up() -> None:
    one = Traffic(3, 1, Histogram((Bucket(1, 2, 1), Bucket(5, 6, 2))))
    two = Traffic(2, 0, Histogram((Bucket(2, 3, 1), Bucket(5, 6, 1))))
    assert add([one, two]) == Traffic(5, 1, Histogram((Bucket(1, 2, 1), Bucket(2, 3, 1), Bucket(5, 6, 3))))
    assert add([]) == Traffic()


@pytest.mark.parametrize(
    ("milliseconds", "above"),
    [(0, 10), (10, 10), (15, 8), (20, 6), (25, 6), (30, 6), (35, 4), (40, 2), (1e9, 2), (float("inf"), 0)],
)
def test_requests_inside_a_bucket_are_taken_as_evenly_spread(milliseconds: float, above: int) -> None:
    buckets = (Bucket(10, 20, 4), Bucket(30, 40, 4), Bucket(40, float("inf"), 2))
    assert Ladder.of(Histogram(buckets)).above(milliseconds) == above


def test_only_what_is_certain_counts_against_an_absolute_limit() -> None:
    histogram = Histogram((Bucket(70, 80, 5), Bucket(80, 90, 3), Bucket(90, 100, 1)))
    assert [histogram.above(limit) for limit in (70, 75, 80, 85, 100)] == [9, 4, 4, 1, 0]


@pytest.mark.parametrize(
    ("stable", "canary", "enough"), [(190, 10, True), (39, 1, True), (38, 1, False), (1000, 0, False), (0, 1000, False)]
)
def test_a_quiet_service_waits_with_its_look(stable: int, canary: int, enough: bool) -> None:
    assert enough_to_compare(traffic(stable), traffic(canary)) is enough
