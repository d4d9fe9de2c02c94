"""The packager in the cluster: the container that resolves an address or fetches a bundle."""

from tidegate.api.v1alpha1 import SecretKeyReference, SecretReference
from tidegate.domain.revision import PACKAGER_RESOURCES
from tidegate.resources.meta import Manifest, container_security

CREDENTIAL_KEYS: dict[str, tuple[str, ...]] = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
    ),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_TENANT_ID",
        "AZURE_STORAGE_CLIENT_ID",
        "AZURE_STORAGE_CLIENT_SECRET",
        "AZURE_STORAGE_ENDPOINT",
    ),
    "oci": ("OCI_USERNAME", "OCI_PASSWORD", ".dockerconfigjson", "MODEL_PACKAGER_PLAIN_HTTP"),
}
"""By the scheme of the address, the only keys that are read from a credentials Secret: a Secret must not be able to set
any other variable. They are part of the pod template of every revision with credentials: a key more for a scheme
restarts all its models. MODEL_PACKAGER_PLAIN_HTTP lists registries without TLS, like an endpoint that says http://.
"""
VARIABLES = {".dockerconfigjson": "OCI_DOCKER_CONFIG_JSON"}
"""Variables that are not called like their key: a pull secret cannot name its key otherwise."""
PUBLIC_KEY = "MODEL_PACKAGER_PUBLIC_KEY"
"""The variable whose presence makes the packager refuse a bundle that no key in it has signed."""


def credentials_env(uri: str, secret: SecretReference | None) -> list[Manifest]:
    """The credentials of the store at ``uri`` as environment variables, each one optional."""
    if secret is None:
        return []
    return [
        {
            "name": VARIABLES.get(key, key),
            "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key, "optional": True}},
        }
        for key in CREDENTIAL_KEYS.get(uri.partition("://")[0], ())
    ]


def public_key_env(public_key: SecretKeyReference | None) -> list[Manifest]:
    """The public keys; not optional, because without the variable the packager would check nothing."""
    if public_key is None:
        return []
    return [{"name": PUBLIC_KEY, "valueFrom": {"secretKeyRef": {"name": public_key.name, "key": public_key.key}}}]


def packager(
    *,
    name: str,
    image: str,
    pull_policy: str,
    verb: str,
    uri: str,
    options: list[str],
    credentials: SecretReference | None,
    public_key: SecretKeyReference | None,
    mounts: list[Manifest],
) -> Manifest:
    """A container that runs one verb of model-packager on ``uri`` and reports in its termination message."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy,
        "args": [verb, uri, *options, "--termination-log", "/dev/termination-log"],
        "env": credentials_env(uri, credentials) + public_key_env(public_key),
        "resources": PACKAGER_RESOURCES,
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],
    }
