"""From ``spec.model`` to a pinned bundle: resolved once, by a Job, and never again for the same address and key.

A bundle is pinned together with the key that its signature was checked with. What was pinned without that check, or
with another key, does not do for a spec that asks for it. The same Job compares its contract with that of the bundle
that serves, see :mod:`tidegate.domain.contract`.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from tidegate.api.status import Artifact, MeasuredRate
from tidegate.api.v1alpha1 import ModelDeploymentSpec, SecretKeyReference
from tidegate.domain.contract import Promise, comparison, gate, hindrance
from tidegate.domain.diagnose import Cause, diagnose_job, from_report
from tidegate.domain.observed import JobView, Observed, Raw
from tidegate.domain.plan import Base, Resolve

FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(seconds=60)
RESOLVING, COMPARING = "resolve", "contract"
"""Containers of the Job."""


@dataclass(frozen=True)
class Resolution:
    """The bundle, or what is being done to learn it."""

    artifact: Artifact | None = None
    job: Resolve | None = None
    cause: Cause | None = None
    again: timedelta | None = None


def resolve_key(spec: ModelDeploymentSpec, base: Base | None = None) -> str:
    """Short hash of everything that a resolve Job depends on."""
    credentials = spec.model.credentials_secret_ref
    inputs: list[Any] = [
        spec.model.uri,
        spec.model.digest,
        credentials.name if credentials else None,
        spec.server.template.spec.service_account_name,
        [secret.name for secret in spec.server.template.spec.image_pull_secrets or []],
    ]
    if spec.public_key:
        inputs.append(spec.public_key.to_wire())
    if base:
        inputs.append({"base": base.uri, "credentials": base.credentials.name if base.credentials else None})
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:6]


def retry_delay(attempt: int) -> timedelta:
    """5 s, 10 s, 20 s, 40 s, then every minute."""
    return min(FIRST_RETRY * (1 << min(attempt, 10)), LONGEST_RETRY)


def _fits(spec: ModelDeploymentSpec, artifact: Artifact) -> bool:
    """True when a bundle is the one that spec asks for, and its signature was checked with the key that spec names."""
    checked = spec.public_key is None or artifact.verified_by == str(spec.public_key)
    return checked and artifact.uri == spec.model.uri and spec.model.digest in (None, artifact.digest)


def _remembered(spec: ModelDeploymentSpec, observed: Observed) -> Artifact | None:
    """The bundle from a revision that came from the same address and was checked with the same key."""
    newest_first = sorted(observed.revisions().values(), key=lambda r: -r.number)
    known = [
        Artifact(
            uri=r.revision.uri,
            digest=r.revision.digest,
            name=r.revision.model_name,
            version=r.revision.version,
            inputs=r.revision.inputs,
            outputs=r.revision.outputs,
            max_batch_size=r.revision.max_batch_size,
            size_bytes=r.revision.size_bytes,
            profile=r.revision.profile,
            verified_by=_told(r.revision.public_key),
        )
        for r in newest_first
    ]
    return next((artifact for artifact in known if _fits(spec, artifact)), None)


def _told(key: SecretKeyReference | None) -> str | None:
    """How status names the key that a signature was checked with."""
    return str(key) if key else None


def _request(spec: ModelDeploymentSpec, attempt: int, base: Base | None, known: Artifact | None) -> Resolve:
    pod = spec.server.template.spec
    return Resolve(
        key=resolve_key(spec, base),
        attempt=attempt,
        uri=spec.model.uri,
        digest=spec.model.digest or (known.digest if known else None),
        credentials=spec.model.credentials_secret_ref,
        service_account=pod.service_account_name,
        image_pull_secrets=tuple(s.name for s in pod.image_pull_secrets or []),
        public_key=spec.public_key,
        base=base,
    )


def _says_enough(spec: ModelDeploymentSpec, report: Raw) -> bool:
    """False where a signature is asked for and the packager names no key: one that is too old would check nothing."""
    return spec.public_key is None or bool(report.get("signedBy"))


def _answer(spec: ModelDeploymentSpec, job: JobView) -> Artifact | None:
    """The bundle that a Job found; None for a failure, and for a report that cannot be read or says too little."""
    report = job.result(RESOLVING)
    if report is None or "reason" in report or not _says_enough(spec, report):
        return None
    fields = {key: report[key] for key in ("digest", "name", "version", "sizeBytes", "maxBatchSize") if key in report}
    # The contract is for people: one that is too long for status is left out, and the bundle runs all the same.
    short = {key: report[key] for key in ("inputs", "outputs") if len(report.get(key) or ()) in range(1, 65)}
    short |= _profile(report)
    try:
        own = {"uri": spec.model.uri, "verifiedBy": _told(spec.public_key)}
        return Artifact.model_validate(own | fields | short)
    except ValidationError:
        return None


def _profile(report: Raw) -> Raw:
    """The speed of the bundle, where the report has one that can be read: a model is not refused for it."""
    try:
        return {"profile": MeasuredRate.model_validate(report["profile"])}
    except (KeyError, ValidationError):
        return {}


def _cause(spec: ModelDeploymentSpec, job: JobView, base: Base | None) -> Cause | None:
    """Why a Job has not answered everything; None while nothing is known to be wrong."""
    if base and _answer(spec, job) and (report := job.result(COMPARING)) is not None:
        return hindrance(report, base)
    if _answer(spec, job) is None and (report := job.result(RESOLVING)) is not None:
        fault = "cannot be read" if _says_enough(spec, report) else "names no key that has signed the bundle"
        useless = {"message": f"the report of the packager {fault}; its version may not fit the operator's."}
        return from_report(report if "reason" in report else useless, spec.model.uri)
    return diagnose_job(job)


def resolve(
    spec: ModelDeploymentSpec,
    status: Artifact | None,
    observed: Observed,
    now: datetime,
    promised: Promise | None = None,
) -> Resolution:
    """The bundle that ``spec.model`` names, with the Job that finds it out where it is not known.

    A Job that has the answer stays until the answer is in status: a revision keeps only what its pods need of it. A
    bundle that is known and not yet compared with what is ``promised`` comes with the Job that compares it.
    """
    pinned = status if status and _fits(spec, status) else None
    if pinned and gate(pinned, promised).verdict != "Pending":
        return Resolution(artifact=pinned)
    base = promised.base if promised else None
    job = next((job for job in observed.resolve() if job.key == resolve_key(spec, base)), None)
    answer = _answer(spec, job) if job else None
    known = pinned or answer or _remembered(spec, observed)
    compared = comparison(job.result(COMPARING), known.digest, base) if job and known and base else None
    if known and compared:
        known = known.model_copy(update={"compared": compared})
    if known and gate(known, promised).verdict != "Pending":
        return Resolution(artifact=known, job=_request(spec, job.attempt, base, known) if job and answer else None)
    if job is None:
        return Resolution(artifact=known, job=_request(spec, 0, base, known))
    return _waiting(spec, job, base, known, now)


def _waiting(
    spec: ModelDeploymentSpec, job: JobView, base: Base | None, known: Artifact | None, now: datetime
) -> Resolution:
    """A Job that has not answered everything yet, or never will: wait, or try again."""
    cause = _cause(spec, job, base)
    if job.ended_at is None:
        return Resolution(artifact=known, job=_request(spec, job.attempt, base, known), cause=cause)
    wait = job.ended_at + retry_delay(job.attempt) - now
    if wait > timedelta(0):
        return Resolution(artifact=known, job=_request(spec, job.attempt, base, known), cause=cause, again=wait)
    return Resolution(artifact=known, job=_request(spec, job.attempt + 1, base, known), cause=cause)
