"""What the routers and servers count becomes one sample, whatever restarts in between."""

import pytest

from tidegate.adapters.triton import read_metrics
from tidegate.domain.checks.windows import Bucket, Histogram, Traffic
from tidegate.domain.scaling.load import Load, Reading, Served, sample

TEXT = """# HELP nv_inference_queue_duration_us x
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{model="adder",version="1"} 2000000
# TYPE nv_inference_compute_input_duration_us counter
nv_inference_compute_input_duration_us{model="adder",version="1"} 100000
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{model="adder",version="1"} 800000
# TYPE nv_inference_compute_output_duration_us counter
nv_inference_compute_output_duration_us{model="adder",version="1"} 100000
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{model="adder",version="1"} 40
"""


def load(requests: int, active: int = 0, waiting: int = 0) -> Load:
    return Load(Traffic(requests, 0, Histogram((Bucket(10.0, 30.0, requests),))), active, waiting)


def reading(at: float, servers: dict[str, Served] | None = None, **routers: Load) -> Reading:
    return Reading(at, {(name, "m-1"): found for name, found in routers.items()}, servers or {})


def test_arrivals_are_those_that_ended_and_those_under_way() -> None:
    found = sample(
        reading(0, a=load(10, 5), b=load(7)), reading(2, a=load(30, 9), b=load(7, 0, 3)), ready=2, starting=1
    )
    assert found is not None
    assert (found.arrivals, found.rate, found.waiting) == (27, 13.5, 3)
    assert (found.ready, found.starting, found.latency.total) == (2, 1, 20)


def test_concurrency_is_what_latency_says_or_what_does_not_end() -> None:
    flowing = sample(reading(0, a=load(0)), reading(2, a=load(100)), ready=1, starting=0)
    stuck = sample(reading(0, a=load(0, 40)), reading(2, a=load(0, 60)), ready=1, starting=0)
    assert flowing is not None
    assert stuck is not None
    assert flowing.concurrency == pytest.approx(100 * 0.02 / 2)
    assert stuck.concurrency == 40


def test_a_router_that_restarted_counts_from_nothing_and_a_new_one_not_at_all() -> None:
    found = sample(reading(0, a=load(1000)), reading(2, a=load(8), b=load(500)), ready=1, starting=0)
    assert found is not None
    assert found.arrivals == 8


@pytest.mark.parametrize("after", [reading(2), reading(0, a=load(5)), reading(-3, a=load(5))])
def test_without_a_router_in_both_looks_or_time_between_them_there_is_no_sample(after: Reading) -> None:
    assert sample(reading(0, a=load(0)), after, ready=1, starting=0) is None


def test_servers_count_for_those_that_do_not_answer() -> None:
    before = {"p": Served(1.0, 2.0, 10), "gone": Served(1.0, 2.0, 10)}
    found = sample(
        reading(0, before, a=load(0)), reading(2, {"p": Served(1.5, 4.0, 30)}, a=load(40)), ready=1, starting=0
    )
    assert found is not None
    assert (found.queue_seconds, found.compute_seconds, found.executions) == (0.5, 2.0, 20)
    silent = sample(reading(0, before, a=load(0)), reading(2, a=load(40)), ready=1, starting=0)
    assert silent is not None
    assert silent.compute_seconds is None


def test_triton_says_how_long_requests_queued_and_computed() -> None:
    assert read_metrics(TEXT) == Served(2.0, pytest.approx(1.0), 40)


@pytest.mark.parametrize("text", ["", "nonsense {", "nv_inference_exec_count 4\n"])
def test_text_that_is_not_tritons_is_no_measurement(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        read_metrics(text)
