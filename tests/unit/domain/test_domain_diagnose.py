"""Every known way a pod can fail has a named reason and a sentence that says what to do: one row a failure."""

import json
from typing import Any

import pytest
from domain_objects import Raw, container, deployment, pod

from tidegate.domain.diagnose import ADVICE, MESSAGE_LIMIT, REPORTED, Cause, diagnose, from_report, quote
from tidegate.domain.observed import PodView

REV = "digits-0a1b2c3d"


def said(reason: str, message: str) -> Raw:
    """A container of the packager that ended with a report."""
    return {"exitCode": 1, "message": json.dumps({"reason": reason, "message": message})}


def fetch(**state: Any) -> dict[str, Any]:
    return {"init": [container("fetch", **state)]}


def triton(**state: Any) -> dict[str, Any]:
    return {"containers": [container("triton", **state)]}


UNSCHEDULABLE = {"status": "False", "reason": "Unschedulable", "message": "0/3 nodes: 3 Insufficient nvidia.com/gpu."}
OOM = {"exitCode": 137, "reason": "OOMKilled"}
CRASH = {"exitCode": 1, "reason": "Error", "message": "E1121 failed to load 'digits': opset 99"}
ROWS = {
    "no room": ({"scheduled": UNSCHEDULABLE}, "Unschedulable", ["Insufficient nvidia.com/gpu", "Add capacity"]),
    "image absent": (
        triton(waiting={"reason": "ErrImagePull", "message": "manifest unknown"}),
        "ImagePullFailed",
        ["manifest unknown", "Check the image"],
    ),
    "image back-off": (triton(waiting={"reason": "ImagePullBackOff"}), "ImagePullFailed", ["pull secrets"]),
    "image never pulled": (triton(waiting={"reason": "ErrImageNeverPull"}), "ImagePullFailed", ["Check the image"]),
    "image name": (triton(waiting={"reason": "InvalidImageName"}), "ImagePullFailed", ["Check the image"]),
    "packager image": (fetch(waiting={"reason": "ImagePullBackOff"}), "ImagePullFailed", ["container fetch"]),
    "secret absent": (
        fetch(waiting={"reason": "CreateContainerConfigError", "message": 'secret "models-read" not found'}),
        "ContainerConfigInvalid",
        ["models-read", "Check the names"],
    ),
    "public key absent": (
        fetch(
            waiting={"reason": "CreateContainerConfigError", "message": "couldn't find key a.pub in Secret m/signing"}
        ),
        "ContainerConfigInvalid",
        ["a.pub in Secret m/signing", "spec.verification", "by itself"],
    ),
    "runtime refuses": (triton(waiting={"reason": "RunContainerError"}), "ContainerConfigInvalid", ["Check the names"]),
    "store down": (fetch(terminated=said("FetchFailed", "refused")), "FetchFailed", ["refused", "store is up"]),
    "version absent": (
        fetch(last=said("ArtifactNotFound", "digits:9"), waiting={"reason": "CrashLoopBackOff"}),
        "ArtifactNotFound",
        ["digits:9", "Push this version"],
    ),
    "altered file": (
        fetch(terminated=said("DigestMismatch", "models/digits/1/model.onnx")),
        "DigestMismatch",
        ["model.onnx", "Do not trust"],
    ),
    "bad bundle": (
        fetch(terminated=said("BundleInvalid", "x is not listed")),
        "BundleInvalid",
        ["not listed", "Export"],
    ),
    "not signed": (
        fetch(terminated=said("SignatureMissing", "no signature by 0a1b")),
        "SignatureMissing",
        ["no signature by 0a1b", "model-packager sign", "spec.verification"],
    ),
    "signed by somebody else": (
        fetch(terminated=said("SignatureInvalid", "not by 0a1b")),
        "SignatureInvalid",
        ["not by 0a1b", "Do not run", "spec.verification"],
    ),
    "a key that is none": (
        fetch(terminated=said("PublicKeyInvalid", "holds no public key")),
        "PublicKeyInvalid",
        ["holds no public key", "as PEM into the Secret"],
    ),
    "words instead of a report": (fetch(terminated={"exitCode": 2, "message": "Killed"}), "FetchFailed", ["Killed"]),
    "unknown word": (fetch(terminated=said("Nonsense", "why")), "FetchFailed", ["why"]),
    "fetch without a word": (fetch(terminated={"exitCode": 2}), "FetchFailed", ["exit code 2", "said nothing"]),
    "fetch runs again": (
        fetch(last=said("FetchFailed", "refused"), running={"startedAt": "x"}),
        "FetchFailed",
        ["refused", "by itself"],
    ),
    "triton out of memory": (triton(terminated=OOM), "OutOfMemory", ["limits.memory"]),
    "triton out of memory before": (
        triton(last=OOM, waiting={"reason": "CrashLoopBackOff"}),
        "OutOfMemory",
        ["container triton", "limits.memory"],
    ),
    "fetch out of memory": (fetch(terminated=OOM), "OutOfMemory", ["container fetch"]),
    "triton crashes": (triton(terminated=CRASH), "ModelLoadFailed", ["exit code 1", "opset 99", "spec.server.image"]),
    "triton crash loop": (
        triton(last=CRASH, waiting={"reason": "CrashLoopBackOff"}),
        "ModelLoadFailed",
        ["opset 99", "Export the model"],
    ),
    "triton starts again": (triton(last=CRASH, running={}), "ModelLoadFailed", ["opset 99"]),
    "triton without a word": (triton(terminated={"exitCode": 139}), "ModelLoadFailed", ["exit code 139", "no message"]),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_failing_pod_has_a_named_reason_and_advice(row: str) -> None:
    fields, reason, parts = ROWS[row]
    cause = diagnose([PodView(pod("digits-0a1b2c3d-x", REV, **fields))])
    assert cause is not None
    assert cause.reason == reason
    for part in [*parts, "digits-0a1b2c3d-x"]:
        assert part in cause.message
    assert cause.message.endswith(".")


FINE: dict[str, dict[str, Any]] = {
    "ready": {"ready": True, "containers": [container("triton", ready=True, running={}, last=CRASH)]},
    "being created": triton(waiting={"reason": "ContainerCreating"}),
    "initializing": triton(waiting={"reason": "PodInitializing"}) | fetch(running={}),
    "fetched": triton(running={}) | fetch(terminated={"exitCode": 0, "message": "{}"}),
    "not seen by the kubelet": {},
}


@pytest.mark.parametrize("row", FINE)
def test_a_pod_that_only_needs_time_has_no_cause(row: str) -> None:
    assert diagnose([PodView(pod("p", REV, **FINE[row]))]) is None


def test_what_stops_a_pod_earliest_is_named_first() -> None:
    pods = [pod("late", REV, **triton(terminated=CRASH)), pod("early", REV, scheduled=UNSCHEDULABLE)]
    cause = diagnose([PodView(p) for p in pods])
    assert cause is not None
    assert cause.reason == "Unschedulable"


def test_a_quota_that_refuses_pods_is_named() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpu"}
    owner = deployment(REV, 2, "stable") | {"status": {"conditions": [refused]}}
    cause = diagnose([], owner)
    assert cause is not None
    assert cause.reason == "PodRefused"
    assert "exceeded quota: gpu" in cause.message
    assert "Raise the quota" in cause.message
    healthy = owner | {"status": {"conditions": [refused | {"status": "False"}]}}
    assert diagnose([], healthy) is None


@pytest.mark.parametrize("component", ["resolve", "envoy"])
def test_programs_that_are_not_triton_are_called_by_their_name(component: str) -> None:
    cause = diagnose([PodView(pod("p", containers=[container(component, terminated={"exitCode": 3})]))])
    assert cause is not None
    assert cause.reason != "ModelLoadFailed"
    assert f"container {component} ended with exit code 3" in cause.message


def test_an_evicted_pod_counts_for_nothing() -> None:
    assert PodView(pod("p", REV, phase="Failed")).ended
    assert not PodView(pod("p", REV, phase="Running")).ended


def test_a_long_text_is_cut_from_the_front() -> None:
    text = quote("noise " * 1000 + "the reason")
    assert len(text) <= MESSAGE_LIMIT + 3
    assert text.endswith("the reason")
    assert text.startswith("...")


def test_every_reported_reason_has_its_own_advice() -> None:
    reasons = list(REPORTED.values())
    causes = [from_report({"reason": r.value, "message": "x"}, "s3://m/digits:1") for r in reasons]
    assert [c.reason for c in causes] == reasons == list(ADVICE)
    assert len({c.message for c in causes}) == len(causes)
    assert all(isinstance(c, Cause) and c.message.startswith("s3://m/digits:1: x ") for c in causes)
