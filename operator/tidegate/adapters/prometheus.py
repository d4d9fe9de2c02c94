"""Instant queries to Prometheus, or to anything that answers its HTTP API: one number a query, or the reason why not.

Nothing is raised and nothing is tried again here: the next look, a few seconds later, asks anew, and a query without an
answer is NoData, which neither passes a check nor fails it.
"""

import json
import ssl
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError

from tidegate.domain.checks.queries import QueryAnswer

TIMEOUT = urllib3.Timeout(connect=2.0, read=2.0)
SERVER_TIMEOUT = "2s"
"""Asks Prometheus to give up by itself what nobody will wait for."""
ANSWER_SECONDS = 4.0
ANSWER_BYTES = 1024 * 1024
"""Bounds of one whole answer; one number needs a few hundred bytes."""
TOKEN_BYTES = 64 * 1024
PARALLEL = 16
SENTENCE = 300


@dataclass(frozen=True)
class PrometheusSettings:
    """Where Prometheus is, and how it is asked.

    ``url`` is what comes before ``/api/v1/query``. The bearer token is read again for every look, because mounted
    tokens are exchanged under way. ``ca_file`` replaces the system's certificates.
    """

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        """Raises ValueError with a sentence for what could never work."""
        try:
            parts = urlsplit(self.url)
            named = bool(parts.hostname) and parts.port != 0
        except ValueError:
            parts, named = urlsplit(""), False
        if parts.scheme not in ("http", "https") or not named:
            raise ValueError(f"{self.url!r} is no address: write it as http://prometheus.monitoring.svc:9090")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the address holds a user or a password: put a token into a file and name that")
        if parts.query or parts.fragment:
            raise ValueError(f"{self.url!r} has a query or fragment: write only what comes before /api/v1/query")
        if self.token_file and parts.scheme != "https":
            raise ValueError(f"a token is sent by https only, and {self.url!r} is not")
        if self.ca_file and not self.ca_file.is_file():
            raise ValueError(f"the file {self.ca_file} with certificates does not exist")


class _NoAnswer(Exception):
    """Why there is no number, in words for people."""


class Prometheus:
    """Asks all queries at once; a slow one delays no other, and none takes longer than the time-out."""

    def __init__(self, settings: PrometheusSettings) -> None:
        """Raises ValueError when the file with certificates cannot be used."""
        self._settings = settings
        self._url = settings.url.rstrip("/") + "/api/v1/query"
        self._threads = ThreadPoolExecutor(max_workers=PARALLEL, thread_name_prefix="queries")
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise ValueError(f"the certificates in {settings.ca_file} cannot be read: {error}") from error
        self._http = urllib3.PoolManager(maxsize=PARALLEL, retries=False, timeout=TIMEOUT, ssl_context=context)

    def values(self, queries: Mapping[str, str]) -> Mapping[str, QueryAnswer]:
        """One answer a query, by the same names."""
        if not queries:
            return {}
        try:
            headers = self._headers()
        except _NoAnswer as error:
            return dict.fromkeys(queries, QueryAnswer(None, str(error)))
        until = time.monotonic() + ANSWER_SECONDS
        asked = {name: self._threads.submit(self._answer, query, headers, until) for name, query in queries.items()}
        return {name: _outcome(future, until) for name, future in asked.items()}

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if file := self._settings.token_file:
            try:
                token = file.read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                raise _NoAnswer(f"the token for Prometheus cannot be read: {error}") from error
            if not token or len(token) > TOKEN_BYTES or not token.isprintable():
                raise _NoAnswer(f"{file} holds no token for Prometheus: one line of text is expected")
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _answer(self, query: str, headers: Mapping[str, str], until: float) -> QueryAnswer:
        try:
            status, body = self._get(query, headers, until)
            return number(read_data(status, body))
        except _NoAnswer as error:
            return QueryAnswer(None, str(error)[:SENTENCE])
        except (HTTPError, LocationParseError, OSError) as error:
            return QueryAnswer(None, f"Prometheus cannot be reached: {_flat(error)}"[:SENTENCE])

    def _get(self, query: str, headers: Mapping[str, str], until: float) -> tuple[int, bytes]:
        if time.monotonic() > until:
            raise _NoAnswer(f"Prometheus was not asked within {ANSWER_SECONDS:g} s: others before it did not answer")
        answer = self._http.request(
            "GET",
            self._url,
            fields={"query": query, "timeout": SERVER_TIMEOUT},
            headers=headers,
            redirect=False,
            preload_content=False,
        )
        try:
            body = bytearray()
            while chunk := answer.read1(65536):
                body += chunk
                if len(body) > ANSWER_BYTES:
                    raise _NoAnswer(f"the answer of Prometheus is larger than {ANSWER_BYTES} bytes")
                if time.monotonic() > until:
                    raise _NoAnswer(f"the answer of Prometheus did not end within {ANSWER_SECONDS:g} s")
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return answer.status, bytes(body)


def _outcome(future: Future[QueryAnswer], until: float) -> QueryAnswer:
    """A look-up of the address can hang without bound: then the answer is given up, and the thread ends later."""
    try:
        return future.result(timeout=max(until - time.monotonic(), 0) + 0.5)
    except TimeoutError:
        future.cancel()
        return QueryAnswer(None, f"Prometheus did not answer within {ANSWER_SECONDS:g} s")


def _flat(text: object) -> str:
    return " ".join(str(text).split())


def read_data(status: int, body: bytes) -> Mapping[str, Any]:
    """The data of an answer that succeeded; raises with what Prometheus said for every other one."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    known = answer if isinstance(answer, dict) else {}
    data = known.get("data")
    if status == 200 and known.get("status") == "success" and isinstance(data, dict):
        return data
    if known.get("status") == "error":
        raise _NoAnswer(f"Prometheus refused the query: {known.get('errorType')}: {_flat(known.get('error'))}")
    if status in (401, 403):
        raise _NoAnswer(f"Prometheus answered {status}: the operator's token is missing or has no right to ask")
    if 300 <= status <= 399:
        raise _NoAnswer(f"Prometheus answered {status}, and redirects are not followed: correct its address")
    if status != 200:
        raise _NoAnswer(f"Prometheus answered {status}")
    raise _NoAnswer("the answer is not that of the Prometheus API: check its address")


def number(data: Mapping[str, Any]) -> QueryAnswer:
    """The one number in the data of an instant query."""
    kind, result = data.get("resultType"), data.get("result")
    if kind == "vector" and isinstance(result, list):
        if not result:
            raise _NoAnswer("the query has no result")
        if len(result) > 1:
            raise _NoAnswer(f"the query has {len(result)} results and one is needed: aggregate them, as with sum()")
        sample = result[0] if isinstance(result[0], dict) else {}
        if "histogram" in sample:
            raise _NoAnswer("the result is a histogram: take a number of it, as with histogram_quantile()")
        return _sample(sample.get("value"))
    if kind == "scalar":
        return _sample(result)
    if kind == "string":
        raise _NoAnswer("the result is a string, not a number")
    if kind == "matrix":
        raise _NoAnswer("the result is a range of samples: take a number of it, as with rate()")
    raise _NoAnswer(f"the result is of an unknown type: {_flat(kind)}")


def _sample(pair: Any) -> QueryAnswer:
    """A time and a number; numbers are written as text."""
    try:
        _, text = pair
        value = float(text) if isinstance(text, str) else None
    except (TypeError, ValueError):
        value = None
    if value is None:
        raise _NoAnswer(f"the result is no number: {_flat(pair)}")
    return QueryAnswer(value, "" if isfinite(value) else f"the result is {text}")
