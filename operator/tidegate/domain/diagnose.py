"""From pods that do not run to a named cause and a sentence that says what to do.

The first cause in :data:`CAUSES` that fits wins: the order goes from what stops a pod earliest to what stops it last.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tidegate.api.status import Reason
from tidegate.domain.observed import JobView, PodView, Raw, read_report
from tidegate.domain.serverlog import reason

PULL_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
FETCH_CONTAINER = "fetch"
SERVER_CONTAINER = "triton"
REPORTED = {
    r.value: r
    for r in (
        Reason.FETCH_FAILED,
        Reason.ARTIFACT_NOT_FOUND,
        Reason.DIGEST_MISMATCH,
        Reason.BUNDLE_INVALID,
        Reason.SIGNATURE_MISSING,
        Reason.SIGNATURE_INVALID,
        Reason.PUBLIC_KEY_INVALID,
        Reason.PARITY_FAILED,
    )
}
ADVICE = {
    Reason.FETCH_FAILED: "Check that the store is up and that its address and credentials are right; "
    "it is tried again by itself.",
    Reason.ARTIFACT_NOT_FOUND: "Push this version with model-packager, or correct spec.model.uri.",
    Reason.DIGEST_MISMATCH: "Do not trust this bundle: push it again under a new version, or correct "
    "spec.model.digest.",
    Reason.BUNDLE_INVALID: "Export the model again with model-packager and push it under a new version.",
    Reason.SIGNATURE_MISSING: "Sign it with model-packager sign URI --key KEY, or correct spec.verification; it is "
    "checked again by itself.",
    Reason.SIGNATURE_INVALID: "Do not run this bundle: sign it with a key that spec.verification trusts, once you know "
    "where it comes from, or correct spec.verification.",
    Reason.PUBLIC_KEY_INVALID: "Put public keys as PEM into the Secret that spec.verification names; it is checked "
    "again by itself.",
    Reason.PARITY_FAILED: "It gets no requests. Export the model again for this server and device, with the tolerances "
    "that they need, or choose another spec.server; model-packager replay shows every difference.",
}
MESSAGE_LIMIT = 900


@dataclass(frozen=True)
class Cause:
    """Why something does not run."""

    reason: Reason
    message: str


def quote(text: str) -> str:
    """The end of a long text on one line: what a program says last is what stopped it."""
    flat = " ".join(text.split())
    return flat if len(flat) <= MESSAGE_LIMIT else "..." + flat[-MESSAGE_LIMIT:]


def from_report(report: Raw, subject: str) -> Cause:
    """The failure that the packager reported in a termination message."""
    reason = REPORTED.get(str(report.get("reason")), Reason.FETCH_FAILED)
    said = quote(str(report.get("message", "no message")))
    return Cause(reason, f"{subject}: {said} {ADVICE[reason]}")


def _unschedulable(pod: PodView) -> Cause | None:
    scheduled = pod.conditions.get("PodScheduled", {})
    if scheduled.get("status") != "False":
        return None
    return Cause(
        Reason.UNSCHEDULABLE,
        f"Pod {pod.name} fits on no node: {quote(scheduled.get('message', ''))} Add capacity, or lower "
        "spec.server.resources; it starts by itself once there is room.",
    )


def _waiting(reasons: frozenset[str], cause: Reason, advice: str) -> Callable[[PodView], Cause | None]:
    def check(pod: PodView) -> Cause | None:
        for container in pod.containers():
            waiting = container.get("state", {}).get("waiting", {})
            if waiting.get("reason") in reasons:
                said = quote(waiting.get("message") or waiting["reason"])
                return Cause(cause, f"Pod {pod.name}, container {container['name']}: {said.rstrip('.')}. {advice}")
        return None

    return check


def _ended(container: Raw) -> Raw | None:
    """How a container that is not running last ended, when it ended badly."""
    if "running" in container.get("state", {}) and container.get("ready"):
        return None
    for state in (container.get("state", {}), container.get("lastState", {})):
        ended = state.get("terminated")
        if ended and ended.get("exitCode", 0) != 0:
            return dict(ended)
    return None


def log_wanted(pod: PodView) -> Raw | None:
    """The server container whose log would tell why it ended badly; None when there is nothing to ask."""
    named = (c for c in pod.containers() if c["name"] == SERVER_CONTAINER)
    return next((c for c in named if pod.revision and _ended(c)), None)


def _fetch(pod: PodView) -> Cause | None:
    for container in pod.containers():
        ended = _ended(container) if container["name"] == FETCH_CONTAINER else None
        if ended:
            said = ended.get("message") or f"the container ended with exit code {ended['exitCode']} and said nothing."
            return from_report(read_report(said), f"Pod {pod.name}")
    return None


def _out_of_memory(pod: PodView) -> Cause | None:
    for container in pod.containers():
        ended = _ended(container)
        if ended and ended.get("reason") == "OOMKilled":
            server = pod.revision and container["name"] != FETCH_CONTAINER
            advice = "Raise spec.server.resources.limits.memory." if server else "It is tried again by itself."
            return Cause(
                Reason.OUT_OF_MEMORY,
                f"Pod {pod.name}, container {container['name']} was ended because it used more memory than its "
                f"limit. {advice}",
            )
    return None


def _server(pod: PodView) -> Cause | None:
    for container in pod.containers():
        ended = _ended(container) if container["name"] != FETCH_CONTAINER else None
        if ended:
            said = quote(reason(pod.log) or ended.get("message") or ended.get("reason", "no message"))
            if not pod.revision:
                # The packager of a resolve Job, or a router, whose reason the caller names.
                what = f"Pod {pod.name}, container {container['name']} ended with exit code {ended['exitCode']}"
                return Cause(Reason.FETCH_FAILED, f"{what}: {said}. It is tried again by itself.")
            return Cause(
                Reason.MODEL_LOAD_FAILED,
                f"Triton ended with exit code {ended['exitCode']} in pod {pod.name}: {said} Export the model for "
                "this server's version, or choose another spec.server.image.",
            )
    return None


CAUSES: tuple[Callable[[PodView], Cause | None], ...] = (
    _unschedulable,
    _waiting(
        PULL_REASONS,
        Reason.IMAGE_PULL_FAILED,
        "Check the image's name and the pull secrets; it is tried again by itself.",
    ),
    _waiting(
        CONFIG_REASONS,
        Reason.CONTAINER_CONFIG,
        "Check the names in spec.server and spec.verification and the objects they refer to; it is tried again by "
        "itself.",
    ),
    _out_of_memory,
    _fetch,
    _server,
)


def diagnose(pods: Iterable[PodView], deployment: Raw | None = None) -> Cause | None:
    """The first cause that keeps a revision's pods from being ready; None when nothing is known to be wrong."""
    unready = [pod for pod in pods if not pod.ready]
    for check in CAUSES:
        for pod in unready:
            if cause := check(pod):
                return cause
    for condition in (deployment or {}).get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            said = quote(condition.get("message", ""))
            return Cause(Reason.POD_REFUSED, f"The cluster refuses the pods: {said} Raise the quota, or ask for less.")
    return None


def diagnose_job(job: JobView) -> Cause | None:
    """Why a Job has left no report; None while nothing is known to be wrong."""
    if cause := diagnose(job.pods):
        return cause
    if job.ended_at is None:
        return None
    failed = job.conditions.get("Failed", {})
    said = failed.get("message") or failed.get("reason") or "it left no report"
    return Cause(Reason.FETCH_FAILED, f"Job {job.name} ended: {said}. It is tried again by itself.")
