"""HTTP to one repository of an OCI registry: time-outs, bounded retries, authentication and named failures.

urllib3 and not a registry library: layers are generated while they are sent, and read in ranges in parallel. The
Python registry clients take and give whole files, and make requests that may wait for ever.
"""

from __future__ import annotations

import ipaddress
import json
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3
from urllib3 import BaseHTTPResponse, Retry, Timeout
from urllib3.exceptions import HTTPError

from model_packager.errors import FetchFailed
from model_packager.stores.registry_auth import Credentials, find_credentials, parse_challenge
from model_packager.uri import StoreRoot

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
RETRIES = 4
MAX_TOKEN_BYTES = 256 * 1024
PLAIN_HTTP = "MODEL_PACKAGER_PLAIN_HTTP"
"""Variable with registries, separated by commas, that may be used without TLS; loopback addresses always may."""

Headers = dict[str, str]
Body = bytes | Callable[[], Iterable[bytes]] | None


class Unreachable(FetchFailed):
    """No answer, or not to the end: trying again may help."""


class Registry:
    """One registry host. Thread-safe; responses are not read ahead, so whoever asks must read or release them."""

    def __init__(self, root: StoreRoot) -> None:
        self.root = root
        self._host = root.authority
        self._base = f"{'http' if may_be_plain(self._host) else 'https'}://{self._host}"
        self._pool = urllib3.PoolManager(num_pools=8, maxsize=16)
        self._authorization: str | None = None
        self._lock = threading.Lock()

    def call(
        self, method: str, path: str, *, headers: Headers | None = None, body: Body = None,
        retries: int | None = None, seconds: float = READ_SECONDS,
    ) -> BaseHTTPResponse:  # fmt: skip
        """One request, authenticated when the registry asks for it. The status is the caller's to judge, except
        refused access, which raises FetchFailed as does a registry that does not answer.

        ``retries`` None means by method: what can be repeated without harm is. ``path`` may be an absolute URL that
        the registry gave; credentials go to the registry itself only.
        """
        url = urljoin(f"{self._base}/", path)
        if urlsplit(url).scheme == "http" and not may_be_plain(urlsplit(url).netloc):
            raise FetchFailed(f"The registry {self._host} leads to {urlsplit(url).netloc} without TLS; refused.")
        ours = urlsplit(url).netloc == self._host
        count = (RETRIES if method in ("GET", "HEAD") else 0) if retries is None else retries
        used = self._authorization if ours else None
        for attempt in range(3):
            found = self._send(method, url, headers, body, count, seconds, used)
            if found.status != 401 or not ours or attempt == 2:
                break
            found.drain_conn()
            used = self._authenticate(found.headers.get("WWW-Authenticate", ""), used)
        if found.status in (401, 403):
            detail = _problem(found)
            raise FetchFailed(
                f"The registry {self._host} refused access; check the credentials and their permissions{detail}."
            )
        return found

    def failed(self, found: BaseHTTPResponse, what: str) -> FetchFailed:
        """The named failure for an answer that is none of the expected ones."""
        return FetchFailed(f"The registry {self._host} answered {found.status} to {what}{_problem(found)}.")

    def _send(
        self, method: str, url: str, headers: Headers | None, body: Body, count: int, seconds: float, auth: str | None
    ) -> BaseHTTPResponse:
        sent = dict(headers or {})
        if auth:
            sent["Authorization"] = auth
        retry = Retry(
            total=count, redirect=5 if method in ("GET", "HEAD") else 0, backoff_factor=0.2, backoff_max=5,
            status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None, raise_on_status=False,
            respect_retry_after_header=False, raise_on_redirect=False,
        )  # fmt: skip
        try:
            return self._pool.request(
                method, url, headers=sent, body=body() if callable(body) else body, preload_content=False,
                retries=retry, timeout=Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds),
            )  # fmt: skip
        except (HTTPError, OSError) as error:
            raise unreachable(self.root, error) from error

    def _authenticate(self, header: str, used: str | None) -> str:
        with self._lock:
            if self._authorization is not None and self._authorization != used:
                return self._authorization  # another thread has just answered the challenge
            challenge = parse_challenge(header)
            credentials = find_credentials(self._host)
            if challenge.scheme == "bearer" and challenge.realm:
                token = self._token(challenge.realm, challenge.query, credentials)
                self._authorization = f"Bearer {token}"
            elif challenge.scheme == "basic" and credentials:
                self._authorization = credentials.basic()
            else:
                raise FetchFailed(
                    f"The registry {self._host} needs credentials; log in with a container tool or set OCI_USERNAME "
                    "and OCI_PASSWORD."
                )
            return self._authorization

    def _token(self, realm: str, query: dict[str, str], credentials: Credentials | None) -> str:
        target = urlsplit(realm)
        if target.scheme != "https" and not (target.scheme == "http" and may_be_plain(target.netloc)):
            raise FetchFailed(f"The registry {self._host} asks to log in at {target.netloc!a} without TLS; refused.")
        if credentials and credentials.identity_token:
            form = {**query, "grant_type": "refresh_token", "refresh_token": credentials.identity_token}
            body = urlencode({**form, "client_id": "model-packager"}).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            found = self._send("POST", realm, headers, body, 1, READ_SECONDS, None)
        else:
            url = f"{realm}{'&' if target.query else '?'}{urlencode(query)}"
            basic = credentials.basic() if credentials else None
            found = self._send("GET", url, None, None, RETRIES, READ_SECONDS, basic)
        try:
            fields = json.loads(found.read(MAX_TOKEN_BYTES))
            return str(fields.get("token") or fields["access_token"])
        except (HTTPError, ValueError, KeyError, AttributeError) as error:
            raise FetchFailed(
                f"The registry {self._host} gave no token (status {found.status}); check the credentials."
            ) from error


def may_be_plain(netloc: str) -> bool:
    """Whether this host may be spoken to without TLS: this machine, or one that the user listed."""
    if netloc in os.environ.get(PLAIN_HTTP, "").replace(" ", "").split(","):
        return True
    host = urlsplit(f"//{netloc}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def unreachable(root: StoreRoot, error: Exception) -> Unreachable:
    """The named failure for a registry that did not answer, or not to the end."""
    detail = str(getattr(error, "reason", None) or error).replace("\n", " ")[:300]
    return Unreachable(f"The store {root} could not be used; check its address and that it is up ({detail}).")


def _problem(found: BaseHTTPResponse) -> str:
    """The registry's own words, for a message; bounded, and quoted as foreign text."""
    try:
        fields: Any = json.loads(found.read(16 * 1024) or b"{}")
        first = fields["errors"][0]
        return f" ({str(first.get('code'))[:60]!a}: {str(first.get('message'))[:200]!a})"
    except (HTTPError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""
    finally:
        found.release_conn()
