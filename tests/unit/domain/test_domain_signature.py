"""When a signature is asked for: what was found out without the key, or with another one, is found out again."""

import json
from dataclasses import replace
from typing import Any

import pytest
from domain_objects import container, digest, edited, job, make_spec, pod, uri, wire_time
from domain_world import BEGIN, World, serving

from tidegate.api.status import Artifact
from tidegate.api.v1alpha1 import ModelDeploymentSpec, SecretKeyReference
from tidegate.domain.artifact import Resolution, resolve, resolve_key, retry_delay
from tidegate.domain.observed import Observed
from tidegate.domain.revision import Pins, Revision

PINS = Pins(packager_image="tidegate/packager:1")
A, OTHER_KEY, OTHER_SECRET = "signing/a.pub", "signing/b.pub", "elsewhere/a.pub"


def asking(key: str | None) -> dict[str, Any]:
    """spec.verification that asks for a key, as <Secret>/<key>."""
    if key is None:
        return {"verification": None}
    name, _, entry = key.partition("/")
    return {"verification": {"signature": {"publicKeySecretRef": {"name": name, "key": entry}}}}


def spec_for(key: str | None) -> ModelDeploymentSpec:
    return make_spec(1, **asking(key))


def pinned(verified_by: str | None) -> Artifact:
    return Artifact(uri=uri(1), digest=digest(1), name="digits", version="1", verified_by=verified_by)


def seen(*objects: dict[str, Any]) -> Observed:
    return replace(World().cluster.observe(), objects=objects)


def remembered(key: str | None) -> dict[str, Any]:
    """A revision in the cluster that came from the same address."""
    name, _, entry = (key or "").partition("/")
    revision = Revision(
        digest=digest(1),
        uri=uri(1),
        model_name="digits",
        version="1",
        server=make_spec().server,
        public_key=SecretKeyReference(name=name, key=entry) if key else None,
        pins=PINS,
    )
    return {"kind": "ControllerRevision", "metadata": {"name": "digits-1"}, "revision": 1, "data": revision.to_wire()}


def answered(key: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A Job that was told of a key, and found the bundle."""
    report = json.dumps({"digest": digest(1), "name": "digits", "version": "1"} | ({"signedBy": "0a1b"} if key else {}))
    made = job("digits-resolve-x-0", resolve_key(spec_for(key)), 0, [])
    ended = container("resolve", terminated={"exitCode": 0, "message": report})
    return made, pod("p", labels={"job-name": "digits-resolve-x-0"}, containers=[ended])


def is_taken(found: Resolution) -> bool:
    """True for a bundle without a Job, False for a Job without a bundle."""
    assert (found.artifact is None) != (found.job is None)
    return found.artifact is not None


CASES = [
    # checked with, asked for, taken over
    (None, None, True),
    (None, A, False),
    (A, A, True),
    (A, OTHER_KEY, False),
    (A, OTHER_SECRET, False),
    (A, None, True),
]


@pytest.mark.parametrize(("checked", "asked", "taken"), CASES)
def test_a_pinned_bundle_is_taken_over_only_if_it_was_checked_with_the_key(
    checked: str | None, asked: str | None, taken: bool
) -> None:
    found = resolve(spec_for(asked), pinned(checked), seen(), BEGIN)
    assert is_taken(found) is taken
    assert found.job is None or str(found.job.public_key) == asked


@pytest.mark.parametrize(("checked", "asked", "taken"), CASES)
def test_a_revision_is_taken_over_only_if_it_was_checked_with_the_key(
    checked: str | None, asked: str | None, taken: bool
) -> None:
    found = resolve(spec_for(asked), None, seen(remembered(checked)), BEGIN)
    assert is_taken(found) is taken
    assert found.artifact is None or found.artifact.verified_by == checked


@pytest.mark.parametrize(("checked", "asked"), [(c, a) for c, a, _ in CASES])
def test_the_answer_of_a_job_counts_only_for_the_key_that_it_was_told_of(
    checked: str | None, asked: str | None
) -> None:
    found = resolve(spec_for(asked), None, seen(*answered(checked)), BEGIN)
    assert (found.artifact is not None) is (checked == asked)
    assert found.artifact is None or found.artifact.verified_by == asked
    assert found.job is not None


@pytest.mark.parametrize("signed_by", [{}, {"signedBy": ""}, {"signedBy": None}])
def test_a_packager_that_names_no_key_has_checked_nothing(signed_by: dict[str, Any]) -> None:
    report = json.dumps({"digest": digest(1), "name": "digits", "version": "1"} | signed_by)
    made = job("digits-resolve-x-0", resolve_key(spec_for(A)), 0, [])
    ended = container("resolve", terminated={"exitCode": 0, "message": report})
    found = resolve(
        spec_for(A), None, seen(made, pod("p", labels={"job-name": "digits-resolve-x-0"}, containers=[ended])), BEGIN
    )
    assert found.artifact is None
    assert found.cause is not None
    assert "names no key that has signed" in found.cause.message
    assert "version may not fit" in found.cause.message


def test_a_failure_without_the_key_is_no_failure_with_it() -> None:
    report = json.dumps({"reason": "ArtifactNotFound", "message": "no"})
    failed = container("resolve", terminated={"exitCode": 3, "message": report})
    made = job("digits-resolve-x-0", resolve_key(spec_for(None)), 0, [])
    found = resolve(spec_for(A), None, seen(made, pod("p", labels={"job-name": "j"}, containers=[failed])), BEGIN)
    assert found.cause is None
    assert found.job is not None
    assert found.job.attempt == 0


def test_a_missing_public_key_is_named_and_the_job_waits_for_it() -> None:
    made = job("digits-resolve-x-0", resolve_key(spec_for(A)), 0, [])
    said = {"reason": "CreateContainerConfigError", "message": 'secret "signing" not found'}
    waits = pod("p", labels={"job-name": "digits-resolve-x-0"}, containers=[container("resolve", waiting=said)])
    found = resolve(spec_for(A), None, seen(made, waits), BEGIN)
    assert found.cause is not None
    assert found.cause.reason == "ContainerConfigInvalid"
    assert 'container resolve: secret "signing" not found. Check the names' in found.cause.message
    assert "spec.verification" in found.cause.message
    assert found.job is not None
    assert found.job.attempt == 0, "the kubelet goes on by itself once the Secret is there"


def test_a_job_that_waited_too_long_for_its_public_key_is_followed_by_another() -> None:
    late = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "lastTransitionTime": wire_time(BEGIN)}
    made = job("digits-resolve-x-0", resolve_key(spec_for(A)), 0, [late])
    waiting = resolve(spec_for(A), None, seen(made), BEGIN)
    assert waiting.again == retry_delay(0)
    found = resolve(spec_for(A), None, seen(made), BEGIN + retry_delay(0))
    assert found.job is not None
    assert found.job.attempt == 1
    assert str(found.job.public_key) == A


def test_asking_for_a_signature_rolls_out_what_was_checked_and_says_by_which_key() -> None:
    world = serving()
    world.cluster.signed_by = {A}
    before = world.name_of(1)
    world.edit(**asking(A))
    world.settle()
    assert world.ready
    assert len(world.jobs_made) == 1
    assert world.name_of(1) != before
    assert world.status.artifact is not None
    assert world.status.artifact.verified_by == A
    assert A in world.condition("ArtifactVerified").message
    for load in world.cluster.workloads.values():
        assert str(load.revision.revision.public_key) == A


def test_without_the_signature_the_stable_revision_serves_on_until_somebody_signs() -> None:
    world = serving()
    before = world.name_of(1)
    world.edit(**asking(A))
    world.run(200)
    assert world.name_of(1) == before
    assert world.split() == {"1": 100}
    assert world.status.phase == "Degraded"
    for kind in ("Ready", "ArtifactVerified"):
        assert (world.condition(kind).status, world.condition(kind).reason) == ("False", "SignatureMissing")
    assert world.condition("Stalled").reason == "SignatureMissing"
    assert world.condition("Available").status == "True"
    assert world.reasons() == ["SignatureMissing"]
    assert world.status.artifact is None
    world.cluster.signed_by = {A}
    world.settle()
    assert world.ready
    assert world.status.artifact is not None
    assert world.status.last_failure is not None
    assert world.status.last_failure.reason == "SignatureMissing"


def test_a_signature_that_is_not_valid_is_named_and_does_not_pass_by_waiting() -> None:
    world = World(spec_for(A))
    world.cluster.store[uri(1)] = {"reason": "SignatureInvalid", "message": "it is by another key."}
    world.run(30)
    for kind, status in (("Ready", "False"), ("ArtifactVerified", "False"), ("Stalled", "True")):
        assert (world.condition(kind).status, world.condition(kind).reason) == (status, "SignatureInvalid")
    assert "by another key. Do not run this bundle" in world.condition("Ready").message
    assert world.reasons() == ["SignatureInvalid"]


def test_a_first_revision_that_is_not_signed_never_gets_a_pod() -> None:
    world = World(spec_for(A))
    world.run(200)
    assert world.cluster.pods == []
    assert world.cluster.revisions == {}
    assert world.status.phase == "Failed"
    assert world.condition("Available").reason == "SignatureMissing"


def test_a_new_version_is_checked_with_the_same_key() -> None:
    world = World(spec_for(A))
    world.cluster.signed_by = {A}
    world.settle()
    world.cluster.signed_by = set()
    world.move_to(2)
    world.run(60)
    assert world.split() == {"1": 100}
    assert world.condition("Ready").reason == "SignatureMissing"


def test_asking_for_no_signature_any_more_needs_no_check() -> None:
    world = serving()
    plain = world.name_of(1)
    world.cluster.signed_by = {A}
    world.edit(**asking(A))
    world.settle()
    world.jobs_made.clear()
    world.cluster.store_down = True
    world.edit(**asking(None))
    world.settle()
    assert world.ready
    assert world.jobs_made == set()
    assert world.status.stable is not None
    assert world.status.stable.revision == plain


def test_back_to_a_key_that_the_revision_was_checked_with_needs_no_store() -> None:
    world = World(spec_for(A))
    world.cluster.signed_by = {A, OTHER_KEY}
    world.settle()
    world.edit(**asking(OTHER_KEY))
    world.settle()
    world.jobs_made.clear()
    world.cluster.store_down = True
    world.edit(**asking(A))
    world.settle()
    assert world.ready
    assert world.jobs_made == set()
    assert world.status.artifact is not None
    assert world.status.artifact.verified_by == A


def test_a_lost_status_does_not_lose_who_verified() -> None:
    world = World(spec_for(A))
    world.cluster.signed_by = {A}
    world.settle()
    world.jobs_made.clear()
    world.lose_status()
    world.settle()
    assert world.ready
    assert world.jobs_made == set()
    assert world.status.artifact is not None
    assert world.status.artifact.verified_by == A


def test_what_is_not_asked_for_is_not_written() -> None:
    spec = edited(make_spec(), **asking(None))
    assert "verification" not in spec.to_wire()
    assert "verifiedBy" not in pinned(None).to_wire()
