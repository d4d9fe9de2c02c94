"""Requests to the API server in plain objects: the official client brings credentials, TLS and connections."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import ApiClient, ApiException, Configuration
from urllib3.util import Retry

from tidegate.adapters.errors import Unavailable, named

TIMEOUT = (3.0, 10.0)
"""Seconds to connect, and to wait for an answer."""
RETRIES = Retry(total=1, connect=1, read=False, redirect=False, status=False, respect_retry_after_header=False)
"""Only what was never sent is sent again here: every caller comes back later by itself, and has a deadline to keep."""
IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def connect(connections: int) -> ApiClient:
    """A client with the pod's service account, or outside a cluster with the current kubeconfig context.

    Raises Unavailable when there is nothing to work with.
    """
    settings = Configuration()
    try:
        if IN_CLUSTER.exists():
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(client_configuration=settings)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise Unavailable(f"there is no cluster to work with: {error}") from error
    settings.connection_pool_maxsize = connections
    return client(settings)


def client(settings: Configuration) -> ApiClient:
    """A client whose retries are bounded."""
    settings.retries = RETRIES
    return ApiClient(settings)


class ApiServer:
    """One request at a time a thread; the connections are shared."""

    def __init__(self, client: ApiClient, may_write: Callable[[], bool] = lambda: True) -> None:
        """Nothing but reads is sent while ``may_write`` says no."""
        self._client = client
        self._may_write = may_write

    def request(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        content_type: str | None = None,
        body: Any = None,
    ) -> dict[str, Any]:
        """The answer's JSON object. Raises an ApiError with what was tried and what was said."""
        answer = self._send(method, path, query, content_type, body)
        try:
            found = json.loads(answer)
        except ValueError as error:
            raise Unavailable(f"{method} {path}: the answer is not JSON: {answer[:80]!r}") from error
        return found if isinstance(found, dict) else {}

    def text(self, path: str, query: list[tuple[str, str]]) -> str:
        """The answer's text. Raises an ApiError like :meth:`request`."""
        return self._send("GET", path, query, None, None).decode(errors="replace")

    def _send(
        self, method: str, path: str, query: list[tuple[str, str]] | None, content_type: str | None, body: Any
    ) -> bytes:
        if method != "GET" and not self._may_write():
            raise Unavailable(f"{method} {path}: not sent, because this process no longer leads")
        headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if content_type else {})
        with named(f"{method} {path}"):
            request = self._client.param_serialize(
                method,
                path,
                query_params=query or [],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = self._client.call_api(*request, _request_timeout=TIMEOUT)
            data: bytes = response.read()  # type: ignore[no-untyped-call]
            if not 200 <= response.status <= 299:
                raise ApiException(status=response.status, reason=response.reason, body=data.decode(errors="replace"))
        return data
