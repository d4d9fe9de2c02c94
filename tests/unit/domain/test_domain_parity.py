"""Golden cases on pods: when a Job asks them, what its report means, and what is tried again. One row a report."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from domain_cluster import START_SECONDS, Cluster
from domain_objects import Raw, container, digest, job, make_spec, parity_job, pod, uri, wire_time
from domain_world import BEGIN, World

from tidegate.domain.artifact import retry_delay
from tidegate.domain.observed import Subject
from tidegate.domain.parity import MAX_PODS, ParityState, parity
from tidegate.domain.plan import Workload
from tidegate.domain.revision import Pins, Revision, StoredRevision

SERVER = {"template": {"spec": {"serviceAccountName": "models-read", "imagePullSecrets": [{"name": "registry"}]}}}
REVISION = StoredRevision(
    name="digits-0a1b2c3d",
    number=2,
    revision=Revision(
        digest=digest(2),
        uri=uri(2),
        model_name="digits",
        version="2",
        server=make_spec(server=SERVER).server,
        pins=Pins(packager_image="tidegate/packager:1"),
    ),
)
PASSED = {"digest": digest(2), "cases": 8, "servers": 2, "maxAbs": 2.5e-07, "differing": 0, "seconds": 0.4}
DIFFERS = PASSED | {"reason": "ParityFailed", "message": "1 of 16 answers of digits are not the recorded ones."}
SILENT = PASSED | {"reason": "NotReachable", "message": "1 of 2 servers gave no answer: 10.0.0.2:8000."}


def server(number: int, **fields: Any) -> Raw:
    return pod(f"digits-0a1b2c3d-{number}", REVISION.name, **{"ready": True, "ip": f"10.0.0.{number}"} | fields)


def ran(attempt: int, report: Any, *, ended: bool = True, revision: str = REVISION.name, **meta: Any) -> list[Raw]:
    """A Job with its pod; ``report`` is what it left, None for nothing."""
    name = f"digits-parity-{revision[-8:]}-{attempt}"
    kind = "Complete" if report and "reason" not in report else "Failed"
    condition = {"type": kind, "status": "True", "lastTransitionTime": wire_time(BEGIN), "reason": "BackoffLimit"}
    made = parity_job(name, revision, attempt, [condition] if ended else [])
    made["metadata"] |= meta
    text = report if isinstance(report, str) else json.dumps(report)
    state = {"terminated": {"exitCode": 0, "message": text}} if report is not None else {"running": {}}
    return [made, pod(f"{name}-x", labels={"job-name": name}, containers=[container("parity", **state)])]


def look(*objects: Raw, seconds: float = 0.0) -> ParityState:
    observed = replace(World().cluster.observe(), objects=objects)
    return parity(observed, REVISION, observed.pods(REVISION.name), BEGIN + timedelta(seconds=seconds))


def test_the_first_ready_pods_are_asked_by_a_job_with_what_their_own_pods_have() -> None:
    found = look(server(2), server(1), server(3, ready=False), server(4, leaving=True))
    assert found.verdict == "Pending"
    assert found.job is not None
    assert (found.job.revision, found.job.attempt, found.job.addresses) == (REVISION.name, 0, ("10.0.0.1", "10.0.0.2"))
    assert (found.job.uri, found.job.digest) == (f"s3://models/digits@{digest(2)}", digest(2))
    assert (found.job.service_account, found.job.image_pull_secrets) == ("models-read", ("registry",))
    assert "on 2 pods" in found.message


def test_nobody_is_asked_before_a_pod_is_ready() -> None:
    for objects in ((), (server(1, ready=False),), (server(1, ip=""),)):
        found = look(*objects)
        assert (found.job, found.verdict, found.cause, found.again) == (None, "Pending", None, None)


def test_a_job_asks_a_bounded_number_of_pods() -> None:
    found = look(*(server(number) for number in range(1, 60)))
    assert found.job is not None
    assert len(found.job.addresses) == MAX_PODS


ROWS: dict[str, tuple[Any, str, str | None, str]] = {
    # report, verdict, reason of the cause, words
    "recorded answers": (PASSED, "Pass", None, "8 golden cases gave the recorded answers on 2 pods; the largest"),
    "no golden cases": (PASSED | {"cases": 0}, "Pass", None, "has no golden cases"),
    "other answers": (DIFFERS, "Fail", "ParityFailed", "1 of 16 answers of digits are not the recorded ones. It gets"),
    "no answers": (SILENT, "Pending", None, "gave no answer: 10.0.0.2:8000. It is tried again"),
    "store down": ({"reason": "FetchFailed", "message": "refused"}, "Pending", "FetchFailed", "refused"),
    "bundle gone": ({"reason": "ArtifactNotFound", "message": "gone"}, "Pending", "ArtifactNotFound", "gone"),
    "an altered case": ({"reason": "BundleInvalid", "message": "altered"}, "Pending", "BundleInvalid", "altered"),
    "another bundle": (PASSED | {"digest": digest(1)}, "Pending", "FetchFailed", "cannot be read"),
    "no numbers": (PASSED | {"maxAbs": "none"}, "Pending", "FetchFailed", "cannot be read"),
    "an empty report": ({}, "Pending", "FetchFailed", "cannot be read"),
    "words": ("Killed", "Pending", "FetchFailed", "Killed"),
}


@pytest.mark.parametrize(("report", "verdict", "reason", "words"), ROWS.values(), ids=ROWS)
def test_every_report_has_one_meaning(report: Any, verdict: str, reason: str | None, words: str) -> None:
    found = look(server(1), *ran(3, report), seconds=1)
    assert found.verdict == verdict
    assert words in found.message
    assert (found.cause.reason if found.cause else None) == reason
    assert found.cause is None or found.cause.message == found.message
    assert found.job is not None
    assert found.job.attempt == 3, "the Job stays: its report is the only memory of its verdict"
    assert (found.again is not None) == (verdict == "Pending")


@pytest.mark.parametrize(("report", "verdict", "reason", "words"), ROWS.values(), ids=ROWS)
def test_what_is_not_decided_is_tried_again_by_another_job_later_and_later(
    report: Any, verdict: str, reason: str | None, words: str
) -> None:
    for attempt in (0, 1, 5):
        wait = retry_delay(attempt).total_seconds()
        early, late = (look(server(1), *ran(attempt, report), seconds=wait + more) for more in (-1, 0))
        assert early.job is not None
        assert late.job is not None
        assert early.job.attempt == attempt
        assert late.job.attempt == attempt + (verdict == "Pending")
        assert early.again == (timedelta(seconds=1) if verdict == "Pending" else None)
        assert late.again is None


def test_the_next_try_waits_for_a_ready_pod_and_asks_the_pods_that_are_there_then() -> None:
    waiting = look(*ran(0, SILENT), seconds=60)
    assert waiting.job is not None
    assert (waiting.job.attempt, waiting.again) == (0, None)
    later = look(*ran(0, SILENT), server(9), seconds=61)
    assert later.job is not None
    assert (later.job.attempt, later.job.addresses) == (1, ("10.0.0.9",))


def test_a_job_that_runs_is_waited_for() -> None:
    found = look(server(1), *ran(0, None, ended=False), seconds=100)
    assert (found.verdict, found.cause, found.again) == ("Pending", None, None)
    assert found.job is not None
    assert found.job.attempt == 0


def test_a_job_whose_pod_cannot_start_is_named() -> None:
    name = "digits-parity-0a1b2c3d-0"
    waits = container("parity", waiting={"reason": "ImagePullBackOff", "message": "manifest unknown"})
    found = look(
        server(1), parity_job(name, REVISION.name, 0, []), pod("p", labels={"job-name": name}, containers=[waits])
    )
    assert found.cause is not None
    assert found.cause.reason == "ImagePullFailed"
    assert found.verdict == "Pending"


def test_a_job_that_ended_without_a_word_is_tried_again() -> None:
    found = look(server(1), *ran(0, None)[:1], seconds=1)
    assert found.cause is not None
    assert found.message == "Job digits-parity-0a1b2c3d-0 ended: BackoffLimit. It is tried again by itself."
    assert found.again == timedelta(seconds=4)


def test_an_other_answer_is_final_whatever_comes_after_it() -> None:
    found = look(server(1), *ran(0, DIFFERS), *ran(1, PASSED), seconds=500)
    assert found.verdict == "Fail"


def test_an_answer_in_an_earlier_rollout_does_not_count() -> None:
    gone = ran(0, DIFFERS, deletionTimestamp="2026-01-01T00:00:00Z")
    other = ran(0, DIFFERS, revision="digits-ffffffff")
    resolving = job("digits-resolve-x-0", "x", 0, [])
    found = look(server(1), *gone, *other, resolving)
    assert found.verdict == "Pending"
    assert found.job is not None
    assert found.job.attempt == 0


def test_a_replay_is_no_resolve_job_and_its_pod_is_none_of_the_revision() -> None:
    observed = replace(World().cluster.observe(), objects=tuple(ran(0, PASSED)))
    assert observed.resolve() == ()
    assert observed.pods(REVISION.name) == ()
    assert len(observed.parity(REVISION.name)) == 1


def story(*, differing: bool = False, silent_looks: int = 0) -> tuple[list[str], Cluster]:
    """A revision of one pod in the simulated cluster, until parity is decided: the verdicts, one a second."""
    cluster = Cluster(Subject(name="digits", namespace="vision", uid="u-1", generation=1), BEGIN)
    cluster.put_revision(REVISION)
    cluster.put_workload(Workload(REVISION, 1, "canary"))
    cluster.differing = {digest(2)} if differing else set()
    verdicts: list[str] = []
    while verdicts[-1:] not in (["Pass"], ["Fail"]) and len(verdicts) < 60:
        cluster.silent = {digest(2)} if len(verdicts) < silent_looks else set()
        cluster.step()
        observed = cluster.observe()
        found = parity(observed, REVISION, observed.pods(REVISION.name), cluster.now)
        verdicts.append(found.verdict)
        if found.job:
            cluster.put_replay(found.job)
    return verdicts, cluster


def test_in_the_cluster_a_good_revision_passes_as_soon_as_its_pod_is_ready() -> None:
    verdicts, _ = story()
    assert verdicts == ["Pending"] * (START_SECONDS + 1) + ["Pass"]


def test_in_the_cluster_a_bad_revision_fails_at_the_first_try() -> None:
    verdicts, cluster = story(differing=True)
    assert verdicts[-1] == "Fail"
    assert len(cluster.jobs) == 1


def test_in_the_cluster_silent_pods_are_asked_until_they_answer() -> None:
    verdicts, cluster = story(silent_looks=20)
    assert verdicts[-1] == "Pass"
    assert len(cluster.jobs) > 1
