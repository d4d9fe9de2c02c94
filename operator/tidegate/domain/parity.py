"""Golden cases on the pods of a revision, on their real device, before it gets any request.

A Job asks the pods; everything that is known of it is read from the Job, so nothing is remembered. An answer that is
not the recorded one is final for the revision. Pods that do not answer are asked again by another Job.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tidegate.api.status import Reason
from tidegate.domain.artifact import retry_delay
from tidegate.domain.diagnose import Cause, diagnose_job, from_report, quote
from tidegate.domain.observed import JobView, Observed, PodView, Raw
from tidegate.domain.plan import Replay
from tidegate.domain.revision import StoredRevision

MAX_PODS = 16
"""How many pods one Job asks, the first by name: a check before every rollout has to end."""
CONTAINER = "parity"
NOT_REACHABLE = "NotReachable"


@dataclass(frozen=True)
class ParityState:
    """``job`` should exist; ``message`` is for people; ``cause`` says what is wrong, ``again`` when to look again."""

    job: Replay | None
    verdict: Literal["Pending", "Pass", "Fail"]
    message: str
    cause: Cause | None = None
    again: timedelta | None = None


def parity(observed: Observed, revision: StoredRevision, pods: Iterable[PodView], now: datetime) -> ParityState:
    """Whether the ready ``pods`` of a revision give the recorded answers, with the Job that finds it out."""
    ready = sorted((pod for pod in pods if pod.ready and pod.address), key=lambda pod: pod.name)
    addresses = tuple(pod.address for pod in ready[:MAX_PODS])
    jobs = observed.parity(revision.name)
    for job in jobs:
        report = job.result(CONTAINER)
        if report and report.get("reason") == Reason.PARITY_FAILED:
            cause = from_report(report, f"Revision {revision.name}")
            return ParityState(_request(revision, job.attempt, addresses), "Fail", cause.message, cause)
    if jobs:
        return _state(jobs[0], revision, addresses, now)
    if not addresses:
        return ParityState(None, "Pending", "Waiting for a ready pod to replay the golden cases on.")
    return ParityState(_request(revision, 0, addresses), "Pending", _asking(addresses))


def _state(job: JobView, revision: StoredRevision, addresses: tuple[str, ...], now: datetime) -> ParityState:
    """What the newest Job says of pods that gave no other answer than the recorded one."""
    asked = _request(revision, job.attempt, addresses)
    report = job.result(CONTAINER)
    if report and (passed := _passed(report, revision)):
        return ParityState(asked, "Pass", passed)
    message, cause = _hindrance(report, job, revision)
    if job.ended_at is None:
        return ParityState(asked, "Pending", message or _asking(addresses), cause)
    wait = job.ended_at + retry_delay(job.attempt) - now
    if wait > timedelta(0):
        return ParityState(asked, "Pending", message, cause, wait)
    if not addresses:
        return ParityState(asked, "Pending", message, cause)
    return ParityState(_request(revision, job.attempt + 1, addresses), "Pending", message, cause)


def _passed(report: Raw, revision: StoredRevision) -> str | None:
    """What a Job without complaints did, in a sentence; None for a failure and for a report that cannot be read."""
    cases, servers, error = (report.get(key) for key in ("cases", "servers", "maxAbs"))
    if "reason" in report or report.get("digest") != revision.revision.digest or not isinstance(cases, int):
        return None
    if not cases:
        return "The bundle has no golden cases, so nothing was compared."
    if not isinstance(servers, int) or not isinstance(error, int | float):
        return None
    return f"{cases} golden cases gave the recorded answers on {servers} pods; the largest error is {error:g}."


def _hindrance(report: Raw | None, job: JobView, revision: StoredRevision) -> tuple[str, Cause | None]:
    """Why a Job has no verdict, in a sentence and, where it has a name, as a cause."""
    if report is None:
        cause = diagnose_job(job)
        return cause.message if cause else "", cause
    if report.get("reason") == NOT_REACHABLE:
        said = quote(str(report.get("message", "no message")))
        return f"Parity of revision {revision.name}: {said} It is tried again by itself.", None
    useless = {"message": "the report of the packager cannot be read; its version may not fit the operator's."}
    cause = from_report(report if "reason" in report else useless, f"Parity of revision {revision.name}")
    return cause.message, cause


def _asking(addresses: tuple[str, ...]) -> str:
    return f"The golden cases are being replayed on {len(addresses)} pods."


def _request(stored: StoredRevision, attempt: int, addresses: tuple[str, ...]) -> Replay:
    revision, pod = stored.revision, stored.revision.server.template.spec
    return Replay(
        revision=stored.name,
        attempt=attempt,
        uri=revision.bundle_uri,
        digest=revision.digest,
        addresses=addresses,
        credentials=revision.credentials,
        service_account=pod.service_account_name,
        image_pull_secrets=tuple(secret.name for secret in pod.image_pull_secrets or []),
    )
