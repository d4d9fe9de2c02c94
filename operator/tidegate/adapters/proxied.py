"""The routers' own view through the API server, for who is not in the cluster: with the rights of that person."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from urllib3.exceptions import HTTPError

from tidegate.adapters.api import ApiServer
from tidegate.adapters.envoy import EnvoyTelemetry
from tidegate.adapters.errors import ApiError
from tidegate.domain.observed import PodView
from tidegate.resources.router import VIEWS_PORT


class ProxiedTelemetry(EnvoyTelemetry):
    """Asks every router by the pods' proxy of the API server. No address of a pod is ever connected to.

    It needs the right to get ``pods/proxy``; without it every router is reported as unreachable.
    """

    def __init__(self, api: ApiServer) -> None:
        super().__init__()
        self._api = api

    def _get(self, pod: PodView, path: str) -> Any:
        parts = urlsplit(path)
        namespace = pod.raw["metadata"]["namespace"]
        proxied = f"/api/v1/namespaces/{namespace}/pods/{pod.name}:{VIEWS_PORT}/proxy{parts.path}"
        try:
            return json.loads(self._api.text(proxied, parse_qsl(parts.query, keep_blank_values=True)))
        except ApiError as error:
            raise HTTPError(str(error)) from error
