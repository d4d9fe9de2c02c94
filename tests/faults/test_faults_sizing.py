"""Every field of ``spec.autoscaling`` does what it says: its change shows in the sizes."""

from functools import cache

import numpy as np
import pytest
from sizing_cases import SIZING, Raw

from tidegate.api.autoscaling import Autoscaling
from tidegate.domain.scaling.spec import policy
from tidegate.simulation.model import Model
from tidegate.simulation.ours import Tidegate
from tidegate.simulation.run import simulate

MODEL = Model(fixed=0.05)
DAY = ((5, 60), (100, 120), (1, 1000), (0, 120), (1, 30))
"""Requests a second, and for how many seconds."""


@cache
def arrivals() -> list[float]:
    """When the requests of the day come."""
    begins = np.cumsum([0, *(seconds for _, seconds in DAY)])
    return [
        float(begin) + turn / rate
        for begin, (rate, seconds) in zip(begins, DAY, strict=False)
        for turn in range(rate * seconds)
    ]


def sizes(asked: Raw) -> list[int]:
    """Pods that were asked for at each look."""
    spec = Autoscaling.model_validate(asked)
    scaler = Tidegate(MODEL, policy(spec), interval=spec.interval.total_seconds())
    return [moment.wanted for moment in simulate(scaler, arrivals(), MODEL, replicas=1, most=20).timeline]


@pytest.mark.parametrize("field", SIZING)
def test_a_change_of_a_field_shows_in_the_sizes(field: str) -> None:
    one, other = (sizes(asked) for asked in SIZING[field])
    assert one != other
