"""Promises of a comparison: what two revisions really do shows in the counts, and the operator reads it."""

import time

import pytest
from envoy_router import eventually
from envoy_stage import CANARY, PORT, STABLE
from observer_stage import PATH, ObserverStage, watching

from tidegate.adapters.observer import ObserverTelemetry
from tidegate.domain.checks.agreement import AgreementCheck
from tidegate.domain.checks.comparisons import agreement
from tidegate.domain.checks.memory import Memory, Terms
from tidegate.domain.checks.verdict import Verdict
from tidegate.domain.checks.windows import Window
from tidegate.domain.observed import PodView
from tidegate.domain.watching import Watching, watching_version

REQUESTS = 400
PAUSE = 0.005
TERMS = Terms(alpha=0.01 / 3)


def pod(stage: ObserverStage) -> PodView:
    return PodView({"metadata": {"name": "observer-1"}, "status": {"podIP": stage.observer.address}})


def share(stage: ObserverStage, answered: str, replayed: str) -> tuple[int, float]:
    """How many were compared, and the share that agrees."""
    pairs = [p for p in stage.settled()["pairs"] if (p["answered"], p["replayed"]) == (answered, replayed)]
    compared, agreed = sum(p["compared"] for p in pairs), sum(p["agreed"] for p in pairs)
    return compared, agreed / compared


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_two_revisions_that_disagree_in_a_known_share_show_that_share(stage: ObserverStage, protocol: str) -> None:
    stage.servers[CANARY].wrong_below = 0.3
    ask = stage.http if protocol == "http" else stage.grpc
    assert ask(REQUESTS, pause=PAUSE).failed == 0
    compared, agreed = share(stage, STABLE, CANARY)
    assert compared > REQUESTS / 2
    # Five standard deviations of so many comparisons.
    assert abs(agreed - 0.7) < 5 * (0.21 / compared) ** 0.5
    assert share(stage, STABLE, STABLE)[1] == 1


def test_a_model_that_does_not_repeat_itself_shows_its_noise_and_not_more(stage: ObserverStage) -> None:
    for server in stage.servers.values():
        server.noise = 0.2
    assert stage.http(REQUESTS, pause=PAUSE).failed == 0
    # Two answers are the same when both are right or both are wrong.
    for replayed in (STABLE, CANARY):
        compared, agreed = share(stage, STABLE, replayed)
        assert compared >= 20
        assert abs(agreed - 0.68) < 5 * (0.22 / compared) ** 0.5


def test_the_operator_reads_what_was_compared_and_stops_a_canary_that_predicts_otherwise(stage: ObserverStage) -> None:
    stage.servers[CANARY].wrong_below = 1.0
    telemetry = ObserverTelemetry()
    before = telemetry.comparisons([pod(stage)])
    stage.http(REQUESTS, pause=PAUSE)
    counts = stage.settled()
    after = telemetry.comparisons([pod(stage)])
    assert after["observer-1"].plan == watching_version(watching())
    found = agreement(before, after, "digits", STABLE, CANARY)
    assert found
    assert found.noise
    crossed = next(p for p in counts["pairs"] if p["replayed"] == CANARY)
    assert (found.compared, found.agreed) == (crossed["compared"], 0)
    assert (found.noise.compared, found.noise.agreed) == (share(stage, STABLE, STABLE)[0],) * 2
    _, finding = AgreementCheck().step(Memory(), Window(seconds=2, agreement=found), TERMS)
    assert finding.verdict is Verdict.FAIL


def test_a_revision_that_refuses_what_the_other_one_answers_disagrees(stage: ObserverStage) -> None:
    stage.servers[CANARY].status = 500
    stage.http(60, pause=PAUSE)
    stage.grpc(60, pause=PAUSE)
    compared, agreed = share(stage, STABLE, CANARY)
    assert compared >= 40
    assert agreed == 0


def test_a_revision_that_is_busy_or_gone_says_nothing_about_its_predictions(stage: ObserverStage) -> None:
    stage.servers[CANARY].status = 503
    stage.http(60, pause=PAUSE)
    found = stage.settled()
    assert [p["replayed"] for p in found["pairs"]] == [STABLE]
    assert {d["reason"] for d in found["dropped"]} == {"unreachable"}


def test_an_answer_that_was_an_error_for_the_client_is_not_replayed(stage: ObserverStage) -> None:
    stage.servers[STABLE].status = 400
    stage.http(50, pause=PAUSE)
    stage.grpc(50, pause=PAUSE)
    found = stage.settled()
    assert found["pairs"] == []
    assert {d["reason"] for d in found["dropped"]} == {"refused"}
    assert stage.servers[CANARY].asked == 0


def test_no_more_is_replayed_than_the_plan_allows(stage: ObserverStage) -> None:
    stage.watch(watching(per_second=5.0))
    begun, asked = time.monotonic(), sum(server.asked for server in stage.servers.values())
    requests = 300
    stage.http(requests)
    found = stage.settled()
    replayed = sum(server.asked for server in stage.servers.values()) - asked - requests
    assert replayed <= 5 + 5 * (time.monotonic() - begun)
    assert {d["reason"] for d in found["dropped"]} == {"rate"}


def test_a_model_that_is_no_longer_in_the_plan_is_not_replayed(stage: ObserverStage) -> None:
    stage.watch(Watching())
    stage.http(50, pause=PAUSE)
    found = stage.settled()
    assert (found["offered"], found["pairs"]) == (0, [])
    assert {d["reason"] for d in found["dropped"]} == {"unknown"}
    assert stage.servers[CANARY].asked == 0


def test_an_observer_without_memory_drops_the_newest_and_says_so(stage: ObserverStage) -> None:
    stage.fresh_observer("--memory", "1048576", "--parallel", "1")
    stage.servers[CANARY].delay = stage.servers[STABLE].delay = 0.3
    stage.http(1)
    stage.grpc(60, 200_000)
    assert "memory" in {d["reason"] for d in stage.observer.counts()["dropped"]}
    assert gauge(stage, "tidegate_observer_held_bytes") <= 1048576
    stage.servers[CANARY].delay = stage.servers[STABLE].delay = 0.0
    stage.settled()
    # An exchange that is still on its way from the router is held, and offered later.
    eventually("the memory is given back", lambda: gauge(stage, "tidegate_observer_held_bytes") == 0, 60)


def gauge(stage: ObserverStage, name: str) -> int:
    """A value of the metrics."""
    lines = (stage.observer.page("/metrics") or "").splitlines()
    return int(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def test_nothing_of_a_request_or_an_answer_is_shown_or_logged(stage: ObserverStage) -> None:
    stage.servers[CANARY].status = 500
    stage.http(20, size=1000, pause=PAUSE)
    stage.grpc(20, size=1000, pause=PAUSE)
    stage.router.ask(PORT, PATH, "POST", {"Content-Length": "0", "X-Secret": "x" * 1000})
    stage.settled()
    pages = "".join(stage.observer.page(path) or "" for path in ("/v1/windows", "/metrics", "/healthz", "/"))
    assert "compared" in pages
    for text in (pages, stage.observer.log.read_text()):
        assert "x" * 100 not in text


def test_an_observer_that_is_told_to_go_ends_at_once_and_without_a_fault(stage: ObserverStage) -> None:
    begun = time.monotonic()
    assert stage.observer.stop() == 0
    assert time.monotonic() - begun < 5
    assert "Traceback" not in stage.observer.log.read_text()
