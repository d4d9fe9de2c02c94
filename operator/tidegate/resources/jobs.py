"""The Jobs of the packager: they run with the credentials of the workload, not the operator's."""

from collections.abc import Iterable

from tidegate.domain import artifact, names, parity
from tidegate.domain.labels import ATTEMPT, KEY, PARITY, REVISION
from tidegate.domain.observed import Subject
from tidegate.domain.plan import Replay, Resolve
from tidegate.resources.meta import Manifest, metadata, pod_security
from tidegate.resources.packager import packager
from tidegate.resources.settings import Settings
from tidegate.resources.triton import HTTP

COMPONENT = "resolve"
DEADLINE_SECONDS = 300
PARITY_DEADLINE_SECONDS = 420
REPLAY_SECONDS = 300
"""Less than the deadline of its Job: what was found until then is reported."""
SUCCESSOR = "/tmp/successor.json"


def resolve_job(subject: Subject, resolve: Resolve, settings: Settings) -> Manifest:
    """One try. Retries are new Jobs: how often and how soon is decided in the open, not by a back-off limit.

    Two bundles may need two sets of credentials of one kind of store, so each is read by a container of its own.
    """
    meta = metadata(subject, names.resolve_job(subject.name, resolve.key, resolve.attempt), COMPONENT)
    meta["labels"] |= {KEY: resolve.key, ATTEMPT: str(resolve.attempt)}
    options = ["--digest", resolve.digest] if resolve.digest else []
    reader = packager(
        name=artifact.RESOLVING,
        image=settings.packager_image,
        pull_policy=settings.image_pull_policy,
        verb="resolve",
        uri=resolve.uri,
        options=options + (["--keep", SUCCESSOR] if resolve.base else []),
        credentials=resolve.credentials,
        public_key=resolve.public_key,
        mounts=[],
    )
    containers = [reader]
    if resolve.base:
        containers.append(
            packager(
                name=artifact.COMPARING,
                image=settings.packager_image,
                pull_policy=settings.image_pull_policy,
                verb="contract",
                uri=resolve.base.uri,
                options=["--digest", resolve.base.digest, "--successor", SUCCESSOR],
                credentials=resolve.base.credentials,
                public_key=None,
                mounts=[],
            )
        )
    pod = _pod(containers, resolve.service_account, resolve.image_pull_secrets, "64Mi")
    return _job(meta, dict(meta["labels"]), pod, DEADLINE_SECONDS)


def parity_job(subject: Subject, replay: Replay, settings: Settings) -> Manifest:
    """One try at every pod. The label of the revision is on the Job only: its pod is none of the revision's pods."""
    meta = metadata(subject, names.parity_job(subject.name, replay.revision, replay.attempt), PARITY)
    meta["labels"] |= {ATTEMPT: str(replay.attempt)}
    options = ["--digest", replay.digest, "--timeout", str(REPLAY_SECONDS)]
    for address in replay.addresses:
        options += ["--endpoint", f"[{address}]:{HTTP}" if ":" in address else f"{address}:{HTTP}"]
    container = packager(
        name=parity.CONTAINER,
        image=settings.packager_image,
        pull_policy=settings.image_pull_policy,
        verb="parity",
        uri=replay.uri,
        options=options,
        credentials=replay.credentials,
        public_key=None,
        mounts=[],
    )
    pod = _pod([container], replay.service_account, replay.image_pull_secrets, "1Gi")
    labels = dict(meta["labels"])
    meta["labels"] |= {REVISION: replay.revision}
    return _job(meta, labels, pod, PARITY_DEADLINE_SECONDS)


def _pod(
    containers: list[Manifest], service_account: str | None, image_pull_secrets: Iterable[str], scratch: str
) -> Manifest:
    """A pod whose containers run one after the other."""
    pod: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(10001),
        "containers": containers[-1:],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": scratch}}],
    }
    if containers[:-1]:
        pod["initContainers"] = containers[:-1]
    if service_account:
        pod["serviceAccountName"] = service_account
    if secrets := [{"name": name} for name in image_pull_secrets]:
        pod["imagePullSecrets"] = secrets
    return pod


def _job(meta: Manifest, labels: dict[str, str], pod: Manifest, deadline: int) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": deadline,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
