"""What users get from the checks of a rollout, told as stories over the simulated cluster and its clients."""

from datetime import timedelta
from typing import Any

import pytest
from domain_objects import digest
from domain_world import World, serving

from tidegate.domain.checks.windows import Agreement

LONG = [{"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "1m"}]
REQUESTS = {"analysis": {"checks": [{"name": "errors", "maxPercent": 1}]}}


def rolling(**rollout: Any) -> World:
    """A world whose rollout of version 2 has its first weight."""
    world = serving(rollout={"steps": LONG, **rollout})
    world.move_to(2)
    return world


def test_a_canary_that_fails_its_requests_is_given_up_within_seconds() -> None:
    world = rolling()
    world.cluster.wrong[digest(2)] = 0.5
    world.until(lambda w: w.weight(2) == 10)
    begun = world.cluster.now
    world.until(lambda w: w.status.phase == "Aborted", limit=30)
    assert world.cluster.now - begun <= timedelta(seconds=10)
    assert world.split() == {"1": 100}
    assert world.condition("Ready").reason == "AnalysisFailed"
    assert "failed" in world.condition("Ready").message
    assert world.condition("CanaryHealthy").status == "False"
    assert world.condition("RolledBack").status == "True"
    assert world.condition("Available").status == "True"
    assert world.reasons()[-1] == "AnalysisFailed"


def test_a_slow_canary_is_given_up() -> None:
    world = rolling()
    world.cluster.slow[digest(2)] = 3.0
    world.until(lambda w: w.status.phase == "Aborted", limit=60)
    assert "latency" in world.condition("Ready").message
    assert [c.check for c in world.status.analysis if c.verdict == "Fail"] == ["latency"]


def test_a_canary_that_was_given_up_leaves_no_pods_and_then_all_is_silent() -> None:
    world = rolling()
    world.cluster.wrong[digest(2)] = 0.5
    world.settle()
    assert world.status.phase == "Aborted"
    assert world.pods_of(2) == 0
    looks = world.looks
    world.run(300)
    assert world.looks == looks


def test_no_request_reaches_a_canary_again_until_somebody_asks_for_it() -> None:
    world = rolling()
    world.cluster.wrong[digest(2)] = 0.5
    world.settle()
    world.cluster.wrong.clear()
    world.lose_next_status = False
    for _ in range(30):
        world.look()
        assert world.split() == {"1": 100}
    world.ask("retry", "2026-01-01T00:00:00Z")
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}
    assert "Retried" in world.reasons()


def test_an_equal_canary_passes_and_the_hold_is_not_longer_than_asked() -> None:
    world = rolling()
    world.until(lambda w: w.weight(2) == 10)
    begun = world.cluster.now
    world.until(lambda w: w.weight(2) == 50)
    assert timedelta(seconds=60) <= world.cluster.now - begun <= timedelta(seconds=66)
    assert world.condition("CanaryHealthy").status in ("True", "Unknown")
    world.settle()
    assert world.ready
    assert "AnalysisInconclusive" not in world.reasons()


def test_a_hold_goes_on_while_nobody_sends_requests_and_a_person_may_go_on() -> None:
    world = rolling()
    world.cluster.idle = True
    world.run(200)
    assert world.weight(2) == 10
    assert world.status.rollout is not None
    assert world.status.rollout.extended
    assert world.reasons().count("AnalysisInconclusive") == 1
    world.ask("promote", "now")
    world.run(3)
    assert world.weight(2) == 50
    world.cluster.idle = False
    world.settle()
    assert world.split() == {"2": 100}


def test_a_hold_goes_on_while_the_routers_give_no_counts() -> None:
    world = rolling()
    world.until(lambda w: w.weight(2) == 10)
    world.run(30)
    world.blind = True
    world.run(200)
    assert world.weight(2) == 10, "counts that are missing let a step pass"
    assert world.status.phase == "Progressing"
    world.blind = False
    world.settle()
    assert world.ready


def test_a_service_without_requests_passes_where_spec_asks_for_none() -> None:
    world = rolling(analysis={"minRequests": 0})
    world.cluster.idle = True
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}


def test_a_few_requests_hold_back_a_pass_but_not_a_fail() -> None:
    world = rolling(analysis={"minRequests": 1_000_000})
    world.run(300)
    assert world.weight(2) == 10
    world.cluster.wrong[digest(2)] = 1.0
    world.until(lambda w: w.status.phase == "Aborted", limit=30)


def test_checks_go_on_while_a_rollout_is_paused() -> None:
    world = rolling()
    world.until(lambda w: w.weight(2) == 10)
    world.edit(paused=True)
    world.run(10)
    world.cluster.wrong[digest(2)] = 1.0
    world.until(lambda w: w.status.phase == "Aborted", limit=30)
    assert world.split() == {"1": 100}


def test_an_operator_that_restarts_in_a_hold_keeps_the_evidence() -> None:
    world = rolling()
    world.until(lambda w: w.weight(2) == 10)
    world.run(20)
    before = world.status.rollout.evidence if world.status.rollout else None
    world.restart()
    world.run(3)
    after = world.status.rollout.evidence if world.status.rollout else None
    assert before
    assert after
    assert after["errors"]["stepRequests"] >= before["errors"]["stepRequests"]


def test_full_weight_is_judged_by_limits_alone() -> None:
    world = serving(rollout={"steps": [{"weight": 100, "hold": "30s"}]})
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 100)
    world.cluster.wrong[digest(2)] = 0.2
    world.until(lambda w: w.status.phase == "Aborted", limit=30)
    assert world.split() == {"1": 100}


@pytest.mark.parametrize(("value", "outcome"), [(0.05, "ready"), (0.5, "Aborted"), (float("nan"), "held")])
def test_a_query_decides_by_its_limit_and_nan_decides_nothing(value: float, outcome: str) -> None:
    check = {"name": "business", "prometheus": {"query": "x", "max": 0.1}}
    world = rolling(analysis={"checks": [check], "minRequests": 0})
    world.values = {"business": value}
    world.run(240)
    assert {"ready": world.ready, "Aborted": world.status.phase == "Aborted", "held": world.weight(2) == 10}[outcome]


@pytest.mark.parametrize(("agreed", "promoted"), [(1000, True), (800, False)])
def test_a_shadow_step_compares_predictions_before_any_request(agreed: int, promoted: bool) -> None:
    world = serving(rollout={"steps": [{"shadow": {"percent": 10, "hold": "20s"}}]})
    world.agreement = Agreement(1000, agreed)
    world.move_to(2)
    world.run(15)
    assert world.weight(2) == 0
    world.settle()
    assert world.ready is promoted
    assert world.split() == ({"2": 100} if promoted else {"1": 100})
    if not promoted:
        assert "predictions" in world.condition("Ready").message


def test_a_pause_step_waits_for_a_person() -> None:
    world = serving(rollout={"steps": [{"weight": 10, "hold": "10s"}, {"pause": {}}, {"weight": 50, "hold": "10s"}]})
    world.move_to(2)
    world.run(200)
    assert world.weight(2) == 10
    assert "kubectl md promote" in world.condition("Progressing").message
    assert world.condition("Stalled").status == "False"
    world.ask("promote", "now")
    world.settle()
    assert world.split() == {"2": 100}


def test_a_pause_step_with_a_duration_ends_by_itself() -> None:
    world = serving(rollout={"steps": [{"pause": {"duration": "30s"}}]})
    world.move_to(2)
    world.until(lambda w: w.status.rollout is not None and w.status.rollout.step_started_at is not None)
    begun = world.cluster.now
    world.until(lambda w: w.weight(2) == 100, limit=60)
    assert timedelta(seconds=30) <= world.cluster.now - begun <= timedelta(seconds=33)


def test_a_canary_whose_server_crashes_under_requests_is_given_up() -> None:
    world = rolling()
    world.until(lambda w: w.weight(2) == 10)
    world.cluster.sick.add(digest(2))
    world.until(lambda w: w.status.phase == "Aborted", limit=30)
    assert world.condition("RolledBack").reason == "CanaryCrashed"
    assert world.split() == {"1": 100}


def test_a_known_good_revision_takes_over_without_steps() -> None:
    world = serving(rollout={"steps": LONG})
    world.move_to(2)
    world.settle()
    world.move_to(1)
    begun = world.cluster.now
    world.until(lambda w: w.weight(1) == 100, limit=30)
    assert world.cluster.now - begun <= timedelta(seconds=15)
    world.settle()
    assert world.ready


def test_a_known_good_revision_that_turned_out_bad_takes_every_step_again() -> None:
    world = serving(rollout={"steps": LONG, "bake": {"duration": "5m"}})
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 100 and w.ready)
    world.cluster.wrong[digest(2)] = 0.5
    world.until(lambda w: w.split() == {"1": 100}, limit=30)
    world.settle()
    world.cluster.wrong.clear()
    world.ask("retry", "now")
    world.until(lambda w: w.weight(2) > 0)
    assert world.weight(2) == 10


def test_golden_cases_are_replayed_before_the_first_request() -> None:
    world = serving(rollout={"steps": [{"parity": {}}, *LONG]})
    world.move_to(2)
    world.until(lambda w: any("parity" in name for name in w.cluster.jobs))
    assert world.weight(2) == 0
    assert world.pods_of(2) == 1
    world.settle()
    assert world.ready
    assert world.cluster.jobs == {}


def test_a_canary_that_answers_otherwise_than_recorded_gets_no_request() -> None:
    world = serving(rollout={"steps": [{"parity": {}}, *LONG]})
    world.cluster.differing.add(digest(2))
    world.move_to(2)
    for _ in range(60):
        world.tick()
        assert world.split() == {"1": 100}
    assert world.status.phase == "Aborted"
    assert world.condition("RolledBack").reason == "ParityFailed"
    assert world.pods_of(2) == 0
    world.cluster.differing.clear()
    world.ask("retry", "now")
    world.settle()
    assert world.ready


def test_pods_that_cannot_be_asked_hold_the_rollout_and_are_asked_again() -> None:
    world = serving(rollout={"steps": [{"parity": {}}, *LONG]})
    world.cluster.silent.add(digest(2))
    world.move_to(2)
    world.run(120)
    assert world.split() == {"1": 100}
    assert world.status.phase == "Progressing"
    world.cluster.silent.clear()
    world.settle()
    assert world.ready


def test_a_breaking_contract_gets_no_pod_unless_it_is_allowed() -> None:
    world = serving()
    world.cluster.contracts[digest(2)] = "Breaking"
    world.move_to(2)
    world.settle()
    assert world.condition("Ready").reason == "ContractBreaking"
    assert world.condition("Stalled").status == "True"
    assert world.condition("Available").status == "True"
    assert world.pods_of(2) == 0
    assert world.split() == {"1": 100}
    world.edit(model=world.spec.model.to_wire() | {"allowBreaking": True})
    world.settle()
    assert world.ready
    assert world.split() == {"2": 100}
