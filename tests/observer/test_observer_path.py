"""Promises to clients: whatever becomes of the observer, their requests are answered as if it were not there."""

import signal
from collections import Counter
from collections.abc import Callable

import pytest
from envoy_router import eventually
from envoy_stage import CANARY, STABLE
from observer_stage import ObserverStage, Outcome, sampled_route

REQUESTS = 300
SLOWEST = 5.0
"""Seconds within which every request is answered, on a machine that does other work as well."""
Ask = Callable[[ObserverStage, int], Outcome]
ASKS: dict[str, Ask] = {
    "http": lambda stage, requests: stage.http(requests),
    "http-binary": lambda stage, requests: stage.http(requests, binary=True),
    "grpc": lambda stage, requests: stage.grpc(requests),
    "http-200KB": lambda stage, requests: stage.http(requests, 200_000),
    "grpc-200KB": lambda stage, requests: stage.grpc(requests, 200_000),
}


def dead(stage: ObserverStage) -> None:
    stage.observer.stop(signal.SIGKILL)


def frozen(stage: ObserverStage) -> None:
    stage.observer.send(signal.SIGSTOP)


def slow(stage: ObserverStage) -> None:
    """It has room for a few exchanges, and replays one of them at a time, which takes seconds."""
    stage.fresh_observer("--memory", "1048576", "--parallel", "1")
    stage.servers[CANARY].delay = 2.0


def too_large(stage: ObserverStage) -> set[str]:
    """The models, as far as known, of which exchanges were too large."""
    return {d["model"] for d in stage.settled()["dropped"] if d["reason"] == "size"}


@pytest.mark.parametrize("harm", [dead, frozen, slow])
def test_a_dead_frozen_or_slow_observer_fails_no_request(
    stage: ObserverStage, harm: Callable[[ObserverStage], None]
) -> None:
    harm(stage)
    for name, ask in ASKS.items():
        outcome = ask(stage, REQUESTS)
        assert (name, len(outcome.seconds), outcome.failed) == (name, REQUESTS, 0)
        assert max(outcome.seconds) < SLOWEST


def test_an_observer_that_dies_while_it_is_handed_exchanges_fails_no_request(stage: ObserverStage) -> None:
    for _ in range(2):
        assert stage.http(50).failed == 0
        stage.observer.stop(signal.SIGKILL)
        assert stage.grpc(50).failed == 0
        stage.fresh_observer()


def test_a_frozen_observer_makes_a_router_hold_no_more_than_eight_exchanges(stage: ObserverStage) -> None:
    stage.http(50, 900_000)
    before = stage.heap()
    stage.observer.send(signal.SIGSTOP)
    assert stage.http(200, 900_000).failed == 0
    assert stage.heap() - before < 8 * 2 * 1024 * 1024


@pytest.mark.parametrize("ask", ["http", "http-binary", "grpc"])
def test_exchanges_arrive_whole_whatever_the_protocol(stage: ObserverStage, ask: str) -> None:
    if ask == "grpc":
        outcome = stage.grpc(REQUESTS, pause=0.005)
    else:
        outcome = stage.http(REQUESTS, binary=ask == "http-binary", pause=0.005)
    assert outcome.failed == 0
    found = stage.settled()
    # A busy machine may be behind by more than the eight that a router hands over at once.
    assert found["offered"] >= REQUESTS * 0.8
    assert found["dropped"] == []
    assert all(pair["agreed"] == pair["compared"] for pair in found["pairs"])


@pytest.mark.parametrize("size", [100_000, 900_000])
def test_large_exchanges_arrive_whole(stage: ObserverStage, size: int) -> None:
    assert stage.http(20, size, pause=0.05).failed == 0
    assert stage.grpc(20, size, pause=0.05).failed == 0
    found = stage.settled()
    assert found["dropped"] == []
    assert found["offered"] >= 20


def test_a_request_that_is_too_large_passes_and_is_not_observed(stage: ObserverStage) -> None:
    assert stage.http(20, 1_200_000).failed == 0
    assert stage.settled()["offered"] == 0
    assert stage.grpc(20, 1_200_000).failed == 0

    eventually("too large exchanges are counted", lambda: too_large(stage))
    assert stage.settled()["offered"] == 0


def test_an_answer_that_is_too_large_is_given_to_the_client_and_counted(stage: ObserverStage) -> None:
    stage.servers[STABLE].padding = 1_200_000
    assert stage.http(10).failed == 0
    assert stage.grpc(10).failed == 0

    assert eventually("too large answers are counted", lambda: too_large(stage)) == {"digits"}


def test_nothing_is_handed_over_unless_a_route_is_sampled(stage: ObserverStage) -> None:
    stage.serve(sampled_route(0, 100, 0))
    assert stage.http(50).failed == 0
    assert stage.grpc(50).failed == 0
    assert stage.settled()["offered"] == 0


def test_the_sample_is_as_large_as_asked_and_takes_both_revisions_by_their_weights(stage: ObserverStage) -> None:
    stage.serve(sampled_route(20, 75, 25))
    names = [f"http.digits.ext_proc.streams_{kind}" for kind in ("started", "failed")]
    before = sum(map(stage.router.stat, names))
    assert stage.http(1500).failed == 0
    # 300 on average; the limits are five standard deviations away.
    assert 222 < sum(map(stage.router.stat, names)) - before < 378
    answered = Counter[str]()
    for pair in stage.settled()["pairs"]:
        answered[pair["answered"]] += pair["compared"]
    share = answered[CANARY] / answered.total()
    # Of about 300 exchanges; one that Envoy draws with the same hundredths would be all stable's.
    assert 0.12 < share < 0.38


def test_sampling_begins_and_ends_without_a_new_listener(stage: ObserverStage) -> None:
    stage.serve(sampled_route(0, 100, 0))
    names = [f"listener_manager.listener_{kind}" for kind in ("in_place_updated", "create_success", "modified")]
    before = [stage.router.stat(name) for name in names]
    for percent in (10, 0, 50):
        stage.serve(sampled_route(percent, 100, 0))
    assert [stage.router.stat(name) for name in names] == before
