"""`behavior` means what it means for an HPA, and nothing leaves the fewest and the most replicas."""

import pytest

from tidegate.domain.scaling.limits import Direction, Limits, Past, Rule, Select, bound

FOUR_OR_DOUBLE = (Rule(4, 15), Rule(100, 15, percent=True))


@pytest.mark.parametrize(
    ("wish", "current", "limits", "past", "expected", "by"),
    [
        pytest.param(5, 3, Limits(1, 9), Past(), 5, None, id="without behavior any change is allowed"),
        pytest.param(50, 3, Limits(1, 9), Past(), 9, "AtMaximum", id="never more than the most"),
        pytest.param(0, 3, Limits(2, 9), Past(), 2, "AtMinimum", id="never fewer than the fewest"),
        pytest.param(
            20,
            3,
            Limits(1, 99, up=Direction(rules=FOUR_OR_DOUBLE)),
            Past(),
            7,
            "RateLimited",
            id="the wider of two rules",
        ),
        pytest.param(
            20,
            3,
            Limits(1, 99, up=Direction(rules=FOUR_OR_DOUBLE, select=Select.MIN)),
            Past(),
            6,
            "RateLimited",
            id="the narrower when Min is selected",
        ),
        pytest.param(
            20,
            7,
            Limits(1, 99, up=Direction(rules=(Rule(4, 15),))),
            Past(sizes=((80.0, 3), (95.0, 7))),
            7,
            "RateLimited",
            id="what a period allows was used in it",
        ),
        pytest.param(
            1, 8, Limits(1, 9, down=Direction(select=Select.DISABLED)), Past(), 8, "RateLimited", id="Disabled is never"
        ),
        pytest.param(
            1, 8, Limits(1, 9, down=Direction(rules=(Rule(50, 60, percent=True),))), Past(), 4, "RateLimited", id="half"
        ),
        pytest.param(
            2,
            8,
            Limits(1, 9, down=Direction(window=300)),
            Past(recommended=((-250.0, 9), (-100.0, 6))),
            6,
            "Stabilizing",
            id="down to the highest recommendation of the window",
        ),
        pytest.param(
            9,
            4,
            Limits(1, 9, up=Direction(window=60)),
            Past(recommended=((60.0, 5),)),
            5,
            "Stabilizing",
            id="up to the lowest recommendation of the window",
        ),
        pytest.param(4, 4, Limits(1, 9, up=Direction(rules=FOUR_OR_DOUBLE)), Past(), 4, None, id="no change"),
    ],
)
def test_a_change_stays_within_its_bounds(
    wish: int, current: int, limits: Limits, past: Past, expected: int, by: str | None
) -> None:
    bounded = bound(wish, current, limits, past, now=100.0)
    assert (bounded.replicas, bounded.by) == (expected, by)


def test_a_rate_limited_fleet_grows_on_in_the_next_period() -> None:
    limits = Limits(1, 99, up=Direction(rules=(Rule(4, 15),)))
    past, size, sizes = Past(), 3, []
    for now in range(0, 60, 5):
        bounded = bound(20, size, limits, past, float(now))
        past, size = bounded.past, bounded.replicas
        sizes.append(size)
    assert sizes == [7, 7, 7, 11, 11, 11, 15, 15, 15, 19, 19, 19]
