"""A model that batches, in simulation: replicas are filled before new ones are started."""

from dataclasses import replace

from tidegate.simulation.compare import Row
from tidegate.simulation.model import Model
from tidegate.simulation.traffic import generate

BATCHING = Model(fixed=0.1, each=0.0125, max_batch=8, queue_delay=0.001, startup=15.0, limit=0.8)


def test_a_fleet_is_not_sized_for_the_small_batches_of_idle_replicas() -> None:
    """Expected: at most 2.5 times the optimum in a quarter of an hour that begins with what small batches need, 4 times
    as much as full ones; no request is late for it."""
    row = Row(generate("constant", 900, 100.0, 1), BATCHING, 60)
    score = row.score(row.ours())
    alone = Row(row.arrivals, replace(BATCHING, max_batch=1, limit=0.8), 60)
    assert alone.optimum.cost > 3 * row.optimum.cost
    assert score.cost < 2.5
    assert score.inside > 99.5
