"""The resolve Job: reads one bundle's manifest with the credentials of the workload, not the operator's."""

from tidegate.domain import names
from tidegate.domain.labels import ATTEMPT, KEY
from tidegate.domain.observed import Subject
from tidegate.domain.plan import Resolve
from tidegate.resources.meta import Manifest, metadata, pod_security
from tidegate.resources.packager import packager
from tidegate.resources.settings import Settings

COMPONENT = "resolve"
DEADLINE_SECONDS = 300


def resolve_job(subject: Subject, resolve: Resolve, settings: Settings) -> Manifest:
    """One try. Retries are new Jobs: how often and how soon is decided in the open, not by a back-off limit."""
    meta = metadata(subject, names.resolve_job(subject.name, resolve.key, resolve.attempt), COMPONENT)
    meta["labels"] |= {KEY: resolve.key, ATTEMPT: str(resolve.attempt)}
    pod: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(10001),
        "containers": [
            packager(
                name="resolve",
                image=settings.packager_image,
                pull_policy=settings.image_pull_policy,
                verb="resolve",
                uri=resolve.uri,
                options=["--digest", resolve.digest] if resolve.digest else [],
                credentials=resolve.credentials,
                public_key=resolve.public_key,
                mounts=[],
            )
        ],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }
    if resolve.service_account:
        pod["serviceAccountName"] = resolve.service_account
    if resolve.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in resolve.image_pull_secrets]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "template": {"metadata": {"labels": dict(meta["labels"])}, "spec": pod},
        },
    }
