"""A bad revision is stopped by what it does: real Triton, real Envoy, and clients that send all the while."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from e2e_load import Load, unharmed
from e2e_world import Raw, Space, World, ask

MODEL = "adder"
STEPS = [{"weight": 20, "hold": "20s"}, {"weight": 50, "hold": "20s"}]
ERRORS = {"name": "errors", "maxPercent": 1}
EFFECTIVE_SECONDS = 2.0
"""Within which every router does what was decided."""
ASKED_SECONDS = 5.0
"""Within which what somebody asked for is decided and every router does it."""


@pytest.fixture(scope="module")
def space(make_space: Callable[[str], Space], world: World) -> Space:
    """One model of two pods for all tests here."""
    space = make_space("gates")
    space.deploy(MODEL, world.bundles["adder:1"], replicas=2)
    space.wait_ready(MODEL)
    return space


@pytest.fixture
def serving(space: Space, world: World) -> Space:
    """Version 1 serves with two pods and nothing else runs, as every test begins."""
    space.apply(space.manifest(MODEL, world.bundles["adder:1"], replicas=2))
    space.patch(MODEL, {"model": {"allowBreaking": True}, "rollout": {"steps": []}})
    space.wait_ready(MODEL)
    space.patch(MODEL, {"model": {"allowBreaking": None}})
    space.wait_ready(MODEL)
    stable = space.status(MODEL)["stable"]["revision"]
    # Former pods serve on for five seconds, and what was given up is forgotten with the spec that asked for it.
    space.until(lambda: len(space.servers(MODEL)) == 2, "two pods and no other", seconds=60)
    assert set(space.ready_servers(MODEL)) == set(space.ready_servers(MODEL, stable))
    return space


def roll_out(space: Space, version: str, **rollout: object) -> None:
    """The edit that a user makes."""
    uri = space.world.bundles[f"adder:{version}"].uri
    space.patch(MODEL, {"model": {"uri": uri}, "rollout": rollout})


def load(space: Space, folder: Path) -> Load:
    """About 180 requests a second over HTTP and gRPC."""
    plan = {
        "http": space.address(MODEL),
        "grpc": space.address(MODEL, 8001),
        "model": MODEL,
        "offsets": space.world.offsets,
    }
    return Load(plan, folder / "load.tsv")


def given_up(space: Space, reason: str, seconds: float) -> Raw:
    """The condition that says that the rollout was given up."""
    space.until(lambda: space.condition(MODEL, "RolledBack").get("status") == "True", "given up", seconds=seconds)
    condition = space.condition(MODEL, "RolledBack")
    assert condition["reason"] == reason, condition
    assert space.condition(MODEL, "Available")["status"] == "True"
    return condition


def decided_at(space: Space, reason: str) -> float:
    """When the operator told of a decision, in seconds since the epoch. It does so after it wrote status."""
    query = [("fieldSelector", f"involvedObject.name={MODEL},reason={reason}")]
    path = f"/api/v1/namespaces/{space.name}/events"

    def told() -> list[float]:
        events = space.world.api.request("GET", path, query=query)["items"]
        return [datetime.fromisoformat(e["eventTime"]).timestamp() for e in events]

    space.until(told, f"an event {reason}", seconds=30)
    return max(told())


def test_a_revision_that_fails_is_stopped_within_seconds(serving: Space, tmp_path: Path) -> None:
    with load(serving, tmp_path) as sent:
        roll_out(serving, "failing", steps=STEPS, analysis={"minRequests": 100, "checks": [ERRORS]})
        condition = given_up(serving, "AnalysisFailed", 120)
        decided = decided_at(serving, "AnalysisFailed")
        serving.until(lambda: sent.requests()[-1].at > decided + 6, "requests after the rollback", seconds=30)
    failures = sent.failures()
    first = min(r.at for r in failures)
    late = [r.at - decided for r in failures if r.at > decided]
    serving.say(
        f"{len(failures)} of {len(sent.requests())} failed; decided {decided - first:.1f} s after the first failure, "
        f"last failure {max(late, default=0.0):.2f} s after the decision: {condition['message'][:160]}"
    )
    assert max(late, default=0.0) <= EFFECTIVE_SECONDS
    assert decided - first <= 10
    serving.until(lambda: len(serving.ready_servers(MODEL)) == 2, "the failing pods have gone", seconds=60)


def test_a_revision_that_is_slow_is_stopped(serving: Space, tmp_path: Path) -> None:
    latency = {"name": "latency", "percentile": 95, "maxIncreasePercent": 50}
    # Few enough requests that one slow pod can answer them, for as long as it takes to tell.
    steps = [{"weight": 5, "hold": "5m"}]
    with unharmed(load(serving, tmp_path), serving.say, serving.explain) as sent:
        roll_out(serving, "slow", steps=steps, analysis={"minRequests": 100, "checks": [latency]})
        condition = given_up(serving, "AnalysisFailed", 180)
        serving.until(lambda: len(sent.requests()) > 500, "requests", seconds=30)
    serving.say(condition["message"][:200])
    assert "latency" in condition["message"]


def test_a_revision_that_answers_otherwise_than_recorded_gets_no_request(serving: Space, tmp_path: Path) -> None:
    with unharmed(load(serving, tmp_path), serving.say, serving.explain) as sent:
        roll_out(serving, "lying", steps=[{"parity": {}}, *STEPS])
        condition = given_up(serving, "ParityFailed", 120)
    serving.say(condition["message"][:200])
    revisions = {r.revision for r in sent.requests() if r.revision}
    assert revisions == {serving.status(MODEL)["stable"]["revision"]}


def test_a_breaking_contract_gets_no_pod_until_it_is_allowed(serving: Space) -> None:
    roll_out(serving, "renamed", steps=[])
    serving.until(
        lambda: serving.condition(MODEL).get("reason") == "ContractBreaking", "the contract is compared", seconds=90
    )
    assert "y" in serving.condition(MODEL)["message"]
    assert {p["metadata"]["labels"]["tidegate.dev/revision"] for p in serving.servers(MODEL)} == {
        serving.status(MODEL)["stable"]["revision"]
    }
    serving.patch(MODEL, {"model": {"allowBreaking": True}})
    serving.wait_ready(MODEL)
    assert serving.status(MODEL)["stable"]["version"] == "renamed"


def test_a_promoted_revision_is_given_up_with_one_write_while_the_former_one_is_warm(
    serving: Space, tmp_path: Path
) -> None:
    with unharmed(load(serving, tmp_path), serving.say, serving.explain) as sent:
        roll_out(serving, "2", steps=[{"parity": {}}], bake={"duration": "10m", "keepReplicas": 2})
        serving.until(lambda: serving.status(MODEL).get("phase") == "Baking", "promoted", seconds=120)
        former = serving.status(MODEL)["bake"]["former"]
        assert len(serving.ready_servers(MODEL, former)) == 2
        asked = time.time()
        serving.annotate(MODEL, {"tidegate.dev/abort": str(asked)})
        given_up(serving, "Aborted", 30)
        decided = decided_at(serving, "Aborted")
        serving.until(lambda: sent.requests()[-1].at > decided + 5, "requests after it", seconds=30)
    last = max((r.at for r in sent.requests() if r.at > decided and r.revision != former), default=decided)
    serving.say(
        f"given up {decided - asked:.2f} s after it was asked for; the promoted revision answered last "
        f"{last - decided:.2f} s after that"
    )
    assert last - decided <= EFFECTIVE_SECONDS
    assert last - asked <= ASKED_SECONDS


def test_a_canary_without_requests_answers_those_who_name_it(serving: Space) -> None:
    roll_out(serving, "2", steps=[{"pause": {}}])
    serving.until(
        lambda: serving.status(MODEL).get("rollout", {}).get("stepStartedAt"), "the canary is paused", seconds=120
    )
    address = serving.address(MODEL)
    assert ask(address, MODEL, 0.0)[0] == 1.0

    def named() -> bool:
        try:
            return ask(address, MODEL, 0.0, headers={"x-tidegate-revision": "canary"})[0] == 2.0
        except AssertionError:
            return False  # 404 by a router that was not told of the name yet

    serving.until(named, "the canary answers", seconds=15)
    serving.kubectl("annotate", "md", MODEL, "tidegate.dev/promote=now")
    serving.wait_ready(MODEL)
    assert ask(address, MODEL, 0.0)[0] == 2.0


SHADOW = [{"shadow": {"percent": 50, "hold": "15s"}}]


def test_predictions_that_differ_are_found_on_copies_and_no_client_sees_one(serving: Space, tmp_path: Path) -> None:
    with unharmed(load(serving, tmp_path), serving.say, serving.explain) as sent:
        roll_out(serving, "lying", steps=SHADOW, analysis={"minRequests": 20})
        condition = given_up(serving, "AnalysisFailed", 180)
    serving.say(condition["message"][:200])
    assert "predictions" in condition["message"]
    assert {r.revision for r in sent.requests() if r.revision} == {serving.status(MODEL)["stable"]["revision"]}
    observer = "tidegate.dev/component=observer"
    serving.until(lambda: not serving.objects("deployments", observer), "the observer has gone", seconds=60)


def test_equal_predictions_pass_beside_clients_that_notice_nothing(serving: Space, tmp_path: Path) -> None:
    with unharmed(load(serving, tmp_path), serving.say, serving.explain):
        serving.patch(
            MODEL,
            {
                "server": {"args": ["--log-verbose=0"]},
                "rollout": {"steps": SHADOW, "analysis": {"minRequests": 20, "checks": [ERRORS]}},
            },
        )
        serving.until(
            lambda: any(c["check"] == "predictions" for c in serving.status(MODEL).get("analysis", ())),
            "predictions are compared",
            seconds=120,
        )
        serving.wait_ready(MODEL)
