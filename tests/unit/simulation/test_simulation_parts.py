"""The simulator keeps its own promises: queueing theory, the published algorithms, the optimum, and bad files."""

import subprocess
import sys
from functools import partial
from math import exp
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tidegate.cli import app
from tidegate.domain.scaling.window import Sample
from tidegate.simulation.compare import Row
from tidegate.simulation.fleet import Fleet
from tidegate.simulation.model import Model
from tidegate.simulation.optimum import Replay, fewest, optimum
from tidegate.simulation.rivals import HorizontalPodAutoscaler, KnativePodAutoscaler, Static
from tidegate.simulation.run import Look, histogram, simulate
from tidegate.simulation.traffic import GENERATORS, BadTraffic, generate, read


def fleet_latencies(fleet: Fleet, until: float) -> list[float]:
    fleet.run(until)
    return fleet.counters.latencies


def test_one_replica_is_the_queue_of_the_textbook() -> None:
    """M/D/1 at 70 %: the mean wait is rho / (2 (1 - rho)) service times (Pollaczek and Khinchine)."""
    random = np.random.default_rng(1)
    arrivals = np.cumsum(random.exponential(1 / 0.7, 60_000))
    latencies = fleet_latencies(
        Fleet(Model(fixed=1, spread=0, queue_timeout=1e9, queue_size=10**9), arrivals.tolist(), 1), 1e9
    )
    assert np.mean(latencies) - 1 == pytest.approx(0.7 / (2 * 0.3), rel=0.05)


def test_a_free_instance_waits_for_a_batch_only_as_long_as_it_may() -> None:
    model = Model(fixed=0.1, each=0.01, spread=0, max_batch=4, queue_delay=0.05)
    latencies = fleet_latencies(Fleet(model, [0.0, 0.02, 1.0, 1.01, 1.02, 1.03], 1), 5.0)
    # Two that come within the delay wait for it; four that fill the batch do not.
    assert latencies[:2] == pytest.approx([0.05 + 0.12, 0.05 + 0.12 - 0.02])
    assert latencies[2:] == pytest.approx([0.03 + 0.14, 0.02 + 0.14, 0.01 + 0.14, 0.14])


def test_a_request_goes_to_the_replica_with_the_fewest_of_its_routers_requests() -> None:
    """Four replicas, four requests at a time, one router: none waits behind another."""
    arrivals = [second + place / 100 for second in range(200) for place in range(4)]
    latencies = fleet_latencies(Fleet(Model(fixed=0.9, spread=0, routers=1), arrivals, 4), 1e9)
    assert latencies == pytest.approx([0.9] * len(arrivals))


@pytest.mark.parametrize("rate", [60.0, 61.0, 62.0])
def test_two_routers_keep_nearly_as_many_requests_in_time_as_one_queue_for_all_replicas(rate: float) -> None:
    """The formula that sizes are made with, against 13 replicas that serve 65 a second, with a patience of three times
    that of a request."""
    arrivals = generate("constant", 3600, rate, 1)
    outcome = simulate(Static(13), arrivals.tolist(), Model(spread=0), replicas=13, most=13)
    expected = 100 * exp(-2 * (13 - rate / 5) * 3)
    assert expected / 2 < 100 - outcome.inside < expected * 2


def test_a_full_queue_refuses_at_once_and_a_request_that_waited_too_long_when_its_turn_comes() -> None:
    model = Model(fixed=1.0, spread=0, queue_size=2, queue_timeout=1.5)
    fleet = Fleet(model, [0.0, 0.1, 0.2, 0.3], 1)
    fleet.run(10.0)
    assert len(fleet.counters.latencies) == 2
    assert fleet.counters.refused == 2


def test_a_replica_costs_from_its_creation_until_it_has_drained() -> None:
    fleet = Fleet(Model(fixed=4.0, spread=0, startup=10), [9.0], 1)
    fleet.scale(2)
    fleet.run(10.0)
    assert fleet.cost == 20
    fleet.scale(0)
    fleet.run(30.0)
    # The new one went at once; the old one had a request until 13.
    assert fleet.cost == pytest.approx(23)


def test_requests_without_a_replica_are_held_and_answered() -> None:
    fleet = Fleet(Model(fixed=0.1, spread=0, startup=10), [1.0, 2.0], 0)
    fleet.scale(1)
    assert fleet_latencies(fleet, 20.0) == pytest.approx([9.1, 8.2])


def test_a_held_request_fails_when_its_time_at_the_router_is_over() -> None:
    fleet = Fleet(Model(startup=60), [1.0], 0)
    fleet.scale(1)
    fleet.run(70.0)
    assert (len(fleet.counters.latencies), fleet.counters.refused) == (0, 1)


def look(
    now: float, wanted: int, *, ready: int, starting: int = 0, busy: float = 0.0, concurrency: float = 0.0
) -> Look:
    return Look(Sample(now, 2.0, 0, concurrency, ready, starting), wanted, busy)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(look(15, 4, ready=4, busy=0.74), 4, id="within the tolerance"),
        pytest.param(look(15, 4, ready=4, busy=0.9), 6, id="4 * 0.9 / 0.7"),
        pytest.param(look(15, 10, ready=10, busy=1.0), 15, id="10 / 0.7"),
        pytest.param(look(15, 2, ready=2, busy=1.0), 3, id="2 / 0.7"),
        pytest.param(
            look(15, 8, ready=4, starting=4, busy=1.0), 8, id="starting ones count as idle, nothing turns round"
        ),
    ],
)
def test_the_hpa_recommends_what_its_documentation_says(given: Look, expected: int) -> None:
    assert HorizontalPodAutoscaler(0.7).desired(given) == expected


def test_the_hpa_goes_down_only_after_five_minutes() -> None:
    hpa, wanted = HorizontalPodAutoscaler(0.7), 10
    sizes = []
    for now in range(0, 420, 15):
        wanted = hpa.desired(look(now, wanted, ready=wanted, busy=0.7 if now == 0 else 0.07 * 10 / wanted))
        sizes.append(wanted)
    assert sizes[19] == 10
    assert sizes[20] < 10


def test_the_kpa_panics_at_twice_its_pods_and_does_not_go_down_in_panic() -> None:
    kpa = KnativePodAutoscaler(0.7, 1)
    for now in range(2, 122, 2):
        kpa.desired(look(now, 2, ready=2, concurrency=1.0))
    assert kpa.desired(look(122, 2, ready=2, concurrency=12.0)) == 7
    assert kpa.desired(look(124, 7, ready=7, concurrency=1.0)) == 7


def test_the_optimum_keeps_a_layer_over_a_gap_when_starting_again_is_dearer() -> None:
    needed = np.array([1] * 10 + [2] * 5 + [1] * 8 + [2] * 5 + [1] * 40 + [2] * 5)
    # Layer 1: 73 s. Layer 2: first at 10 s (its start-up began before the trace and costs 10), 15 s of need, a gap of 8
    # that it stays for, a gap of 40 in which it goes and starts again for 20.
    assert optimum(needed, 20.0, 1).cost == 73 + 10 + 15 + 8 + 20


def test_the_optimum_serves_nearly_all_requests_in_time_when_it_is_played() -> None:
    model = Model(startup=15)
    row = Row(generate("diurnal", 900, 60, 1), model, 60)
    played = simulate(
        Replay(row.optimum.replicas, 15, "optimum"), row.arrivals.tolist(), model, replicas=row.initial, most=60
    )
    assert played.inside > 97
    assert played.cost < 1.1 * row.optimum.cost


def test_no_replica_less_would_do_in_any_second() -> None:
    model = Model(fixed=0.5, spread=0, limit=1.0)
    assert fewest(np.array([0.1, 0.2, 0.3, 0.4]), model).tolist() == [2]
    assert fewest(np.array([0.1, 5.5]), model).tolist() == [1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("name", GENERATORS)
def test_a_seed_gives_the_same_traffic_again_and_another_seed_other(name: str) -> None:
    assert np.array_equal(generate(name, 600, 20, 1), generate(name, 600, 20, 1))
    assert not np.array_equal(generate(name, 600, 20, 1), generate(name, 600, 20, 2))


def test_latencies_become_the_routers_buckets() -> None:
    found = histogram([0.0123, 0.0124, 0.25])
    assert [(bucket.lower, bucket.upper, bucket.count) for bucket in found.buckets] == [(12, 13, 2), (250, 260, 1)]


def test_a_trace_is_read_with_its_heading_and_from_zero(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("time,path\n101.5,/a\n100,/b\n")
    assert read(tmp_path / "trace.csv").tolist() == [0.0, 1.5]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "no arrival times", id="empty"),
        pytest.param("1\ntomorrow\n", "line 2: 'tomorrow' is not a time", id="no number"),
        pytest.param("1\nnan\n", "no arrival times", id="NaN"),
    ],
)
def test_a_bad_trace_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "trace.csv").write_text(text)
    with pytest.raises(BadTraffic, match=sentence):
        read(tmp_path / "trace.csv")


def test_the_command_prints_a_table_and_draws(tmp_path: Path) -> None:
    given = [
        "simulate",
        "scaling",
        "--traffic",
        "steps",
        "--seconds",
        "120",
        "--rate",
        "20",
        "--startup",
        "15",
        "--plot",
        str(tmp_path),
    ]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    for name in ("Tidegate", "HPA 50%", "HPA 70%", "KPA 50%", "KPA 70%", "static peak", "reactive bound"):
        assert name in result.output
    assert "</svg>" in (tmp_path / "tidegate.svg").read_text()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        pytest.param(["--traffic", "tides"], "generators are", id="unknown traffic"),
        pytest.param(["--limit-ms", "100"], "no fleet can keep it", id="an objective below the service time"),
    ],
)
def test_the_command_refuses_in_a_sentence(given: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["simulate", "scaling", *given])
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_without_numpy_the_command_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['numpy'] = None\nfrom tidegate.cli import app\napp(['simulate', *sys.argv[1:]])"
    run = partial(subprocess.run, capture_output=True, text=True, timeout=60, check=False)
    result = run([sys.executable, "-c", code, "scaling", "--traffic", "steps"])
    assert result.returncode == 2
    assert result.stderr == "tidegate: tidegate simulate scaling needs numpy: pip install 'tidegate[simulate]'\n"
    listed = run([sys.executable, "-c", code, "--help"])
    assert listed.returncode == 0
    assert "rollout" in listed.stdout


def test_a_fixed_fleet_never_changes() -> None:
    outcome = simulate(Static(3), [float(i) for i in range(20)], Model(), replicas=3, most=9)
    assert (outcome.changes, outcome.inside) == (0, 100.0)
