"""The connection of a person: what kubectl would take, by the official client."""

import os
from pathlib import Path

import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

from tidegate.adapters.api import IN_CLUSTER, client
from tidegate.adapters.errors import Unavailable

DEFAULT_NAMESPACE = "default"


def _files(kubeconfig: str | None) -> str:
    return kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def in_pod(kubeconfig: str | None = None, context: str | None = None) -> bool:
    """True where the service account of a pod is all there is to connect with."""
    exists = any(Path(part).expanduser().exists() for part in _files(kubeconfig).split(os.pathsep))
    return not (exists or kubeconfig or context) and IN_CLUSTER.exists()


def person(kubeconfig: str | None = None, context: str | None = None) -> tuple[ApiClient, str]:
    """A client with a person's credentials, and the namespace of the context.

    As kubectl does: the file that is named, else those of KUBECONFIG, else the one in the home directory, and where
    there is none, the service account of the pod. Raises Unavailable when there is no cluster to work with.
    """
    settings = Configuration()
    path = _files(kubeconfig)
    try:
        if in_pod(kubeconfig, context):
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
            return client(settings), IN_CLUSTER.with_name("namespace").read_text().strip()
        contexts, current = config.list_kube_config_contexts(path)  # type: ignore[no-untyped-call]
        if context and all(found["name"] != context for found in contexts):
            raise Unavailable(f"the kubeconfig has no context {context}")
        config.load_kube_config(path, context=context, client_configuration=settings)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, yaml.YAMLError, TypeError) as error:
        raise Unavailable(f"there is no cluster to work with: {' '.join(str(error).split())}") from error
    chosen = next((found for found in contexts if found["name"] == context), current)
    return client(settings), (chosen.get("context") or {}).get("namespace") or DEFAULT_NAMESPACE
