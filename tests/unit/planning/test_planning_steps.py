"""Promises about steps: each is told as it is written, also a kind that is not known here, with the time it takes."""

from datetime import timedelta
from typing import Any

import pytest

from tidegate.planning.steps import in_words, longest, shortest, told, waits_for_people

MIXED: list[dict[str, Any]] = [
    {"parity": {}},
    {"shadow": {"percent": 10, "hold": "2m"}},
    {"weight": 5, "hold": "2m"},
    {"pause": {"duration": "1h"}},
    {"weight": 100},
]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"weight": 5, "hold": "2m"}, "5 % of requests, held for 2m"),
        ({"weight": 100}, "100 % of requests, held for 0s"),
        ({"weight": 5, "hold": "2m", "region": "north"}, "5 % of requests, held for 2m, region north"),
        ({"parity": {}}, "parity"),
        ({"pause": {}}, "pause"),
        ({"pause": {"duration": "1h"}}, "pause: duration 1h"),
        ({"shadow": {"percent": 10, "hold": "2m"}}, "shadow: percent 10, hold 2m"),
        ({"replay": {"from": {"bucket": "x"}, "hold": "1s"}}, "replay: from bucket x, hold 1s"),
    ],
)
def test_a_step_is_told_with_its_fields(step: dict[str, Any], expected: str) -> None:
    assert told(step) == expected


def test_the_times_of_all_kinds_add_up() -> None:
    assert shortest(MIXED) == timedelta(hours=1, minutes=4)
    assert longest(MIXED, timedelta(minutes=15)) == timedelta(hours=1, minutes=4) + 6 * timedelta(minutes=15)
    assert shortest([]) == timedelta(0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(MIXED, False), ([{"pause": {}}], True), ([{"weight": 5, "hold": "2m"}], False), ([], False)],
)
def test_only_a_pause_without_a_time_waits_for_people(steps: list[dict[str, Any]], expected: bool) -> None:
    assert waits_for_people(steps) is expected


@pytest.mark.parametrize(
    ("steps", "deadline", "expected"),
    [
        (
            MIXED,
            "15m",
            "At the earliest it is through 1h4m after its pods are ready; each of its moves may take 15m, so after "
            "2h34m it is through or said to stand still.",
        ),
        (
            [{"pause": {}}],
            None,
            "At the earliest it is through 0s after its pods are ready, and somebody has to let it go on; how long it "
            "may stand still follows from the start-up times that were measured.",
        ),
        (
            [{"pause": {}}],
            "5m",
            "At the earliest it is through 0s after its pods are ready, and somebody has to let it go on; each of its "
            "other moves may take 5m before it is said to stand still.",
        ),
        (
            [],
            "5m",
            "At the earliest it is through as soon as its pods are ready; each of its moves may take 5m, so after 5m "
            "it is through or said to stand still.",
        ),
    ],
)
def test_the_time_of_a_rollout_is_one_sentence(
    steps: list[dict[str, Any]], deadline: str | None, expected: str
) -> None:
    assert in_words(steps, deadline) == expected
