"""Promises of ``kubectl md explain``: why it is where it is, in the same order in every phase, and what to do next."""

from datetime import timedelta

import pytest
from people_worlds import WORLDS, events, model, played, raw

from tidegate.people.explain import explain
from tidegate.people.model import Event, read


def told(name: str) -> list[str]:
    world = played(name)
    return explain(model(world), events(world), world.cluster.now)


@pytest.mark.parametrize(
    ("name", "serves", "why", "last"),
    [
        ("unseen", "nothing serves", "has not looked at it yet", "whether the operator runs"),
        ("resolving", "Nothing serves", "being resolved", "Wait: it goes on by itself."),
        ("starting", "Nothing serves", "waiting for its pods", "Wait: it goes on by itself."),
        ("progressing", "gets 90 % of requests, with 2 of 2", "held for 60s", "the hold ends in 40s"),
        ("waiting", "gets 95 % of requests", "waiting for somebody to promote", "It waits for a person."),
        ("extended", "gets 90 % of requests", "which is over", "the checks have not passed"),
        ("paused", "gets 90 % of requests", "paused at 10 %", "`kubectl md resume digits -n vision`"),
        ("promoting", "with 2 of 2 pods ready", "waiting for 2 pods", "`kubectl md abort digits -n vision`"),
        ("known_good", "gets all requests", "waiting for 2 pods", "Wait: it goes on by itself."),
        ("aborted", "gets all requests", "given up (AnalysisFailed)", "`kubectl md retry digits -n vision`"),
        ("baking", "stays warm", "Nothing is waited for.", "To go back at once: `kubectl md abort digits -n vision`"),
        ("gone_back", "gets all requests", "Somebody asked for it", "To run what spec asks for: `kubectl md retry"),
        ("ready", "gets all requests", "Nothing is waited for.", "Nothing is to be done."),
        ("degraded", "gets all requests", "does not exist", "Do what the reason says"),
        ("failed", "Nothing serves", "connection refused", "Do what the reason says"),
        ("suspended", "Nothing serves", "spec.suspend is true", "set spec.suspend to false"),
        ("edited", "gets all requests", "has not looked at it since", "whether the operator runs"),
    ],
)
def test_every_phase_is_explained_from_what_is_asked_to_what_to_do(name: str, serves: str, why: str, last: str) -> None:
    said = told(name)
    assert said[0].startswith("Spec asks for s3://models/digits:")
    assert any(serves in line for line in said)
    assert any(why in line for line in said)
    assert last in said[-1]
    assert all(line.endswith(".") for line in said)
    assert len(said) == len(set(said))


def test_every_world_is_explained() -> None:
    assert all(told(name) for name in WORLDS)


def test_the_checks_are_told_with_their_evidence() -> None:
    said = [line for line in told("aborted") if line.startswith("Check ")]
    assert said[0].startswith("Check errors says Fail: 33.3 % of the canary's 30 requests failed")
    assert said[1].startswith("Check latency says Pass: ")


def test_the_time_is_that_of_the_failure_and_not_of_the_rollout_before() -> None:
    world = played("degraded")
    failure = world.status.last_failure
    assert failure is not None
    assert f"That has been so since {failure.time:%H:%M:%S} UTC (0s ago)." in told("degraded")
    aborted = played("aborted")
    rollout = aborted.status.rollout
    assert rollout is not None
    assert rollout.aborted is not None
    assert any(f"given up at {rollout.aborted.time:%H:%M:%S} UTC" in line for line in told("aborted"))


def test_only_the_last_events_are_told_the_newest_last() -> None:
    world = played("ready")
    now = world.cluster.now
    many = [Event(f"e{i}", "Normal", "StepStarted", f"number {i}", now - timedelta(minutes=i)) for i in range(9)]
    (lately,) = [line for line in explain(model(world), many, now) if line.startswith("Lately: ")]
    assert [f"number {i}" in lately for i in range(9)] == [True] * 5 + [False] * 4
    assert lately.endswith("StepStarted: number 0.")


def test_a_rollout_that_its_surroundings_hold_up_says_what_holds_it() -> None:
    world = played("ready")
    world.cluster.crowded = True
    world.move_to(3)
    world.until(lambda w: w.status.phase == "Degraded")
    said = explain(model(world), [], world.cluster.now)
    assert any("Ready is False (Unschedulable): Pod " in line for line in said)
    assert "Do what the reason says" in said[-1]


def test_how_a_rollout_gets_its_pods_is_told() -> None:
    world = played("progressing")
    item = raw(world)
    item["status"]["rollout"]["plan"] = {"mode": "InPlace", "message": "The cluster has no free GPU"}
    assert "How it gets its pods (InPlace): The cluster has no free GPU." in explain(read(item), [], world.cluster.now)
    assert not any(line.startswith("How it gets") for line in told("aborted")), "it gets none any more"
