"""What a demand gets: the number of replicas that costs least, late requests included."""

import pytest

from tidegate.domain.scaling.laws import Terms, cheapest, too_late


def terms(patience: float = 0.6, rate: float = 5.0, late_price: float = 20.0) -> Terms:
    """A model of 200 ms a request whose requests may wait three times as long."""
    return Terms(
        time=0.0,
        seconds=2.0,
        now=0.0,
        follow=0.0,
        level=0.0,
        base=0.0,
        rate=rate,
        patience=patience,
        late_price=late_price,
        startup=15.0,
        least=1,
        most=1000,
    )


@pytest.mark.parametrize("patience", [0.2, 0.6, 5.0])
@pytest.mark.parametrize("demand", [0.0, 0.02, 0.6, 3.0, 12.0, 12.9, 40.5, 300.0])
def test_no_other_number_of_replicas_costs_less(demand: float, patience: float) -> None:
    model = terms(patience)

    def price(replicas: int) -> float:
        return replicas + model.late_price * demand * too_late(replicas - demand, model)

    best = min(range(int(demand) + 1, int(demand) + 30), key=price)
    assert cheapest(demand, model) == best


@pytest.mark.parametrize(
    ("model", "spare"),
    [
        pytest.param(terms(), 2, id="three service times of patience"),
        pytest.param(terms(patience=0.2), 4, id="one"),
        pytest.param(terms(patience=60.0), 1, id="three hundred"),
        pytest.param(terms(late_price=1000.0), 2, id="the 99.9th percentile"),
        pytest.param(terms(patience=0.05), 10, id="a quarter: never more than two square roots"),
    ],
)
def test_a_demand_of_25_replicas_gets_so_many_more(model: Terms, spare: int) -> None:
    assert cheapest(25.0, model) - 25 == spare


def test_more_demand_never_gets_less() -> None:
    sizes = [cheapest(tenths / 10, terms()) for tenths in range(1000)]
    assert sizes == sorted(sizes)
