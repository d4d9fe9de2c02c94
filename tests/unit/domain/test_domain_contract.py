"""No bundle takes a promise away from clients: when contracts are compared, by whom, and what the answer means."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from domain_objects import Raw, container, digest, job, make_spec, pod, uri, wire_time
from domain_world import BEGIN, World

from tidegate.api.status import Artifact, Comparison, FormerRevision
from tidegate.api.v1alpha1 import SecretReference
from tidegate.domain.artifact import Resolution, resolve, resolve_key, retry_delay
from tidegate.domain.contract import Promise, gate, promise
from tidegate.domain.plan import Base
from tidegate.domain.revision import Pins, Revision, StoredRevision

BASE = Base(digest(1), f"s3://models/digits@{digest(1)}", SecretReference(name="old-read"))
PROMISE = Promise(BASE)
SPEC = make_spec(2)
KEY = resolve_key(SPEC, BASE)
ANSWER = {"digest": digest(2), "name": "digits", "version": "2", "sizeBytes": 9}
COMPARED = {"old": digest(1), "new": digest(2), "verdict": "Compatible", "message": ""}
BREAKING = COMPARED | {"verdict": "Breaking", "message": "the input 'x' is gone or renamed"}


def bundle(version: int, compared: Comparison | None = None) -> Artifact:
    return Artifact(uri=uri(version), digest=digest(version), name="digits", version=str(version), compared=compared)


def verdict(kind: Any, against: int = 1) -> Comparison:
    return Comparison(stable=digest(against), verdict=kind, message="the input 'x' is gone or renamed")


def stable(version: int = 1, **fields: Any) -> StoredRevision:
    known = {"digest": digest(version), "uri": uri(version), "model_name": "digits", "version": str(version)}
    known |= {"server": make_spec().server, "pins": Pins(packager_image="tidegate/packager:1")}
    return StoredRevision(name=f"digits-{version}", number=version, revision=Revision(**known | fields))


def ran(resolved: Any, compared: Any, *, attempt: int = 0, key: str = KEY, ended: bool = True) -> tuple[Raw, Raw]:
    """A Job that resolved and compared; None for a container that has not ended."""
    reports = {"resolve": resolved, "contract": compared}
    failed = any(report and "reason" in report for report in reports.values())
    kind = {"type": "Failed" if failed else "Complete", "status": "True", "lastTransitionTime": wire_time(BEGIN)}
    statuses = {
        name: container(name, terminated={"exitCode": int("reason" in report), "message": json.dumps(report)})
        if report is not None
        else container(name, waiting={"reason": "PodInitializing"})
        for name, report in reports.items()
    }
    made = job("digits-resolve-x-0", key, attempt, [kind] if ended else [])
    labels = {"job-name": "digits-resolve-x-0"}
    return made, pod("p", labels=labels, init=[statuses["resolve"]], containers=[statuses["contract"]])


def look(
    *objects: Raw, status: Artifact | None = None, promised: Promise | None = PROMISE, seconds: float = 1.0
) -> Resolution:
    observed = replace(World().cluster.observe(), objects=objects)
    return resolve(SPEC, status, observed, BEGIN + timedelta(seconds=seconds), promised)


# Whom a promise was made to


def test_the_promise_is_that_of_the_stable_revision_read_with_its_own_credentials() -> None:
    found = promise(stable(credentials=SecretReference(name="old-read")), [], None, allow_breaking=False)
    assert found == PROMISE


def test_nobody_relies_on_a_promise_before_a_revision_serves_or_when_the_user_takes_it_back() -> None:
    assert promise(None, [], None, allow_breaking=False) is None
    assert promise(stable(), [], None, allow_breaking=True) is None


@pytest.mark.parametrize("address", [uri(1), f"s3://models/digits@{digest(1)}"])
def test_a_stable_revision_that_only_status_knows_is_read_with_the_credentials_of_spec(address: str) -> None:
    known = stable(model_name="", uri=address)
    found = promise(known, [], SecretReference(name="new-read"), allow_breaking=False)
    assert found is not None
    assert found.base == Base(digest(1), f"s3://models/digits@{digest(1)}", SecretReference(name="new-read"))


GATES: dict[str, tuple[Artifact | None, Promise | None, str]] = {
    "nothing is known": (None, PROMISE, "Pending"),
    "nobody relies on anything": (bundle(2), None, "Pass"),
    "the bundle that serves, in another server": (bundle(1), PROMISE, "Pass"),
    "not compared": (bundle(2), PROMISE, "Pending"),
    "compared with another one": (bundle(2, verdict("Compatible", against=3)), PROMISE, "Pending"),
    "found breaking beside another one": (bundle(2, verdict("Breaking", against=3)), PROMISE, "Pending"),
    "compatible": (bundle(2, verdict("Compatible")), PROMISE, "Pass"),
    "additive": (bundle(2, verdict("Additive")), PROMISE, "Pass"),
    "breaking": (bundle(2, verdict("Breaking")), PROMISE, "Fail"),
    "breaking and allowed": (bundle(2, verdict("Breaking")), None, "Pass"),
    "back to what served": (bundle(2), Promise(BASE, frozenset({digest(2)})), "Pass"),
    "back to what served, though it breaks": (
        bundle(2, verdict("Breaking")),
        Promise(BASE, frozenset({digest(2)})),
        "Pass",
    ),
}


@pytest.mark.parametrize(("artifact", "promised", "wanted"), GATES.values(), ids=GATES)
def test_a_pod_may_start_only_if_the_promise_is_kept(
    artifact: Artifact | None, promised: Promise | None, wanted: str
) -> None:
    found = gate(artifact, promised)
    assert found.verdict == wanted
    assert (found.cause is not None) == (wanted == "Fail")


def test_a_refusal_names_the_change_and_both_ways_out() -> None:
    cause = gate(bundle(2, verdict("Breaking")), PROMISE).cause
    assert cause is not None
    assert cause.reason == "ContractBreaking"
    for words in (uri(2), "the input 'x' is gone or renamed. Export it", "spec.model.allowBreaking: true"):
        assert words in cause.message


def test_former_revisions_are_those_that_got_all_requests() -> None:
    former = [FormerRevision(revision="digits-9", digest=digest(9), uri=uri(9), promoted_at=BEGIN)]
    found = promise(stable(), former, None, allow_breaking=False)
    assert gate(bundle(9), found).verdict == "Pass"


# Who compares


def test_one_job_resolves_and_compares() -> None:
    found = look()
    assert found.artifact is None
    assert found.job is not None
    assert (found.job.base, found.job.digest, found.job.uri) == (BASE, None, uri(2))


def test_both_answers_are_pinned_together_and_the_job_stays_until_they_are() -> None:
    found = look(*ran(ANSWER, BREAKING))
    assert found.artifact is not None
    assert found.artifact.compared == verdict("Breaking")
    assert found.artifact.size_bytes == 9
    assert found.job is not None
    assert (found.job.attempt, found.cause) == (0, None)
    assert gate(found.artifact, PROMISE).verdict == "Fail"
    pinned = look(status=found.artifact)
    assert pinned == Resolution(artifact=found.artifact)


def test_a_pinned_bundle_is_compared_by_its_digest_when_another_one_serves() -> None:
    found = look(status=bundle(2, verdict("Compatible", against=3)))
    assert found.job is not None
    assert (found.job.base, found.job.digest, found.job.attempt) == (BASE, digest(2), 0)
    assert found.artifact is not None
    after = look(*ran(ANSWER, COMPARED), status=found.artifact)
    assert after.artifact is not None
    assert after.artifact.compared == Comparison(stable=digest(1), verdict="Compatible")


def test_a_bundle_that_only_a_revision_remembers_is_compared_too() -> None:
    data = stable(2).revision.to_wire()
    kept = {"kind": "ControllerRevision", "metadata": {"name": "digits-2"}, "revision": 2, "data": data}
    found = look(kept)
    assert found.artifact is not None
    assert found.job is not None
    assert (found.artifact.digest, found.job.digest, found.job.base) == (digest(2), digest(2), BASE)


@pytest.mark.parametrize(
    ("status", "promised"),
    [
        (bundle(2), None),
        (bundle(2), Promise(replace(BASE, digest=digest(2)))),
        (bundle(2), Promise(BASE, frozenset({digest(2)}))),
        (bundle(2, verdict("Additive")), PROMISE),
        (bundle(2, verdict("Breaking")), PROMISE),
    ],
)
def test_what_needs_no_comparison_needs_no_job(status: Artifact, promised: Promise | None) -> None:
    assert look(status=status, promised=promised) == Resolution(artifact=status)


def test_the_bundle_is_known_while_the_other_one_is_still_being_read() -> None:
    found = look(*ran(ANSWER, None, ended=False))
    assert found.artifact is not None
    assert (found.artifact.compared, found.cause) == (None, None)
    assert found.job is not None
    assert found.job.attempt == 0
    assert gate(found.artifact, PROMISE).verdict == "Pending"


HINDRANCES: dict[str, tuple[Any, str, str]] = {
    "the store is down": ({"reason": "FetchFailed", "message": "refused"}, "FetchFailed", "refused"),
    "the stable bundle is gone": ({"reason": "ArtifactNotFound", "message": "gone"}, "ArtifactNotFound", "gone"),
    "an unknown word": ({"reason": "Nonsense", "message": "why"}, "FetchFailed", "why"),
    "another pair": (COMPARED | {"old": digest(3)}, "FetchFailed", "cannot be read"),
    "another bundle": (COMPARED | {"new": digest(3)}, "FetchFailed", "cannot be read"),
    "no verdict": (COMPARED | {"verdict": "Fine"}, "FetchFailed", "cannot be read"),
    "nothing in it": ({}, "FetchFailed", "cannot be read"),
}


@pytest.mark.parametrize(("report", "reason", "words"), HINDRANCES.values(), ids=HINDRANCES)
def test_a_bundle_that_cannot_be_compared_waits_says_why_and_is_tried_again(
    report: Any, reason: str, words: str
) -> None:
    found = look(*ran(ANSWER, report, attempt=2))
    assert found.artifact is not None, "the bundle itself is known"
    assert gate(found.artifact, PROMISE).verdict == "Pending"
    assert found.cause is not None
    assert found.cause.reason == reason
    for part in (words, BASE.uri, "spec.model.allowBreaking: true", "by itself"):
        assert part in found.cause.message
    assert found.again == retry_delay(2) - timedelta(seconds=1)
    later = look(*ran(ANSWER, report, attempt=2), status=found.artifact, seconds=60)
    assert later.job is not None
    assert (later.job.attempt, later.job.digest) == (3, digest(2))


def test_a_failure_to_read_the_new_bundle_is_told_as_that() -> None:
    found = look(*ran({"reason": "ArtifactNotFound", "message": "digits:2"}, None))
    assert found.artifact is None
    assert found.cause is not None
    assert found.cause.message.startswith(f"{uri(2)}: digits:2")


def test_a_secret_of_the_stable_revision_that_is_gone_is_named() -> None:
    made, made_pod = ran(ANSWER, None, ended=False)
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "old-read" not found'}
    made_pod["status"]["containerStatuses"] = [container("contract", waiting=waiting)]
    found = look(made, made_pod)
    assert found.cause is not None
    assert found.cause.reason == "ContainerConfigInvalid"
    assert "old-read" in found.cause.message


def test_the_verdict_of_a_job_counts_for_its_own_pair_only() -> None:
    other = replace(PROMISE, base=replace(BASE, digest=digest(3), uri=f"s3://models/digits@{digest(3)}"))
    found = look(*ran(ANSWER, COMPARED), promised=other)
    assert found.job is not None
    assert found.job.key != KEY
    assert found.artifact is None or found.artifact.compared is None


def test_the_key_of_a_job_without_a_comparison_is_what_it_was() -> None:
    assert resolve_key(SPEC) == resolve_key(SPEC, None) != KEY
    assert resolve_key(SPEC, replace(BASE, credentials=None)) != KEY


def test_a_verdict_survives_storage_and_is_not_written_where_there_is_none() -> None:
    wire = bundle(2, verdict("Additive")).to_wire()
    assert Artifact.model_validate(wire).compared == verdict("Additive")
    assert "compared" not in bundle(2).to_wire()
