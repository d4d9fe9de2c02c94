"""The packager in the cluster: the container that resolves an address or fetches a bundle."""

from tidegate.api.v1alpha1 import SecretReference
from tidegate.resources.meta import Manifest, container_security

CREDENTIAL_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
)
"""The only keys that are read from a credentials Secret: a Secret must not be able to set any other variable."""


def credentials_env(secret: SecretReference | None) -> list[Manifest]:
    """The store's credentials as environment variables, each one optional."""
    if secret is None:
        return []
    return [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key, "optional": True}}}
        for key in CREDENTIAL_KEYS
    ]


def packager(
    *,
    name: str,
    image: str,
    pull_policy: str,
    args: list[str],
    credentials: SecretReference | None,
    mounts: list[Manifest],
) -> Manifest:
    """A container that runs one verb of model-packager and reports in its termination message."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy,
        "args": [*args, "--termination-log", "/dev/termination-log"],
        "env": credentials_env(credentials),
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],
    }
