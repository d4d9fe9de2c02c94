"""May the new bundle take the place of the one that serves? Decided before any pod of it starts.

A contract can be larger than what a Job can report or status can hold, and revisions of earlier releases have none on
record. So contracts are not remembered: the Job that resolves an address reads both manifests and compares them, which
is right for every size. Its verdict is about two digests, is pinned beside the bundle, and is asked for again whenever
it is lost or another bundle serves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from tidegate.api.status import Artifact, Comparison, FormerRevision, Reason
from tidegate.api.v1alpha1 import SecretReference
from tidegate.domain.diagnose import REPORTED, Cause, quote
from tidegate.domain.observed import Raw
from tidegate.domain.plan import Base
from tidegate.domain.revision import StoredRevision

ALLOW = "spec.model.allowBreaking: true"


@dataclass(frozen=True)
class Promise:
    """What clients rely on: the contract of ``base``. They have met those of ``served``, digests of former bundles."""

    base: Base
    served: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Gate:
    """Pending until the contracts are compared; Fail has a cause."""

    verdict: Literal["Pending", "Pass", "Fail"]
    cause: Cause | None = None


def promise(
    stable: StoredRevision | None,
    former: Iterable[FormerRevision],
    credentials: SecretReference | None,
    *,
    allow_breaking: bool,
) -> Promise | None:
    """The promise that a new bundle must keep; None when nobody relies on one, or the user takes it back.

    ``former`` are the revisions that got all traffic once: the way back to one of them is never closed. ``credentials``
    are those of the spec, for a stable revision that is known from status only.
    """
    if stable is None or allow_breaking:
        return None
    revision = stable.revision
    root, _, last = revision.uri.rpartition("/")
    uri, secret = revision.bundle_uri, revision.credentials
    if not revision.model_name:
        uri, secret = f"{root}/{last.partition('@')[0].partition(':')[0]}@{revision.digest}", credentials
    return Promise(Base(revision.digest, uri, secret), frozenset(f.digest for f in former))


def gate(artifact: Artifact | None, promised: Promise | None) -> Gate:
    """Whether a pod of this bundle may start."""
    if artifact is None:
        return Gate("Pending")
    if promised is None or artifact.digest in promised.served | {promised.base.digest}:
        return Gate("Pass")
    compared = artifact.compared
    if compared is None or compared.stable != promised.base.digest:
        return Gate("Pending")
    if compared.verdict != "Breaking":
        return Gate("Pass")
    message = (
        f"{artifact.uri} breaks the contract that the clients of the stable revision rely on: {compared.message}. "
        f"Export it with that contract, or set {ALLOW} once every client is ready."
    )
    return Gate("Fail", Cause(Reason.CONTRACT_BREAKING, message))


def comparison(report: Raw | None, digest: str, base: Base) -> Comparison | None:
    """What a Job found out about the bundle with ``digest``; None for a failure and for a report about others."""
    if report is None or (report.get("old"), report.get("new")) != (base.digest, digest):
        return None
    try:
        return Comparison.model_validate(
            {"stable": base.digest, "verdict": report.get("verdict"), "message": report.get("message", "")}
        )
    except ValidationError:
        return None


def hindrance(report: Raw, base: Base) -> Cause:
    """Why a Job that could read the new bundle could not compare it."""
    reason = REPORTED.get(str(report.get("reason")), Reason.FETCH_FAILED)
    useless = "the report of the packager cannot be read; its version may not fit the operator's."
    said = quote(str(report.get("message", "no message"))) if "reason" in report else useless
    return Cause(
        reason,
        f"{base.uri}, which serves, cannot be read to compare its contract: {said} It is tried again by itself; set "
        f"{ALLOW} to go on without.",
    )
