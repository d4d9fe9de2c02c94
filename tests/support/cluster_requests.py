"""The operator's requests to a real API server: on record, and failing where a test wants it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import ApiClient
from urllib3.exceptions import ReadTimeoutError

from tidegate.adapters.api import ApiServer

VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


class Killed(Exception):
    """The operator's process ended here."""


@dataclass(frozen=True)
class Request:
    """One request. ``namespace``, ``resource``, ``name`` and ``subresource`` are read from the path."""

    method: str
    group: str
    namespace: str
    resource: str
    name: str
    query: str
    content: str = ""

    @property
    def verb(self) -> str:
        """The verb that the API server asks its roles for."""
        if self.method != "GET":
            return VERBS[self.method]
        watching = parse_qs(self.query).get("watch") in (["1"], ["true"])
        return "watch" if watching else "get" if self.name else "list"

    @property
    def verbs(self) -> set[str]:
        """Every verb that a role must allow: server-side apply may create."""
        return {self.verb, "create"} if "apply-patch" in self.content else {self.verb}

    @property
    def write(self) -> bool:
        return self.method != "GET"

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}/{self.name}".rstrip("/")


def parse(method: str, url: str, content: str = "") -> Request:
    """A request by its URL."""
    parts = urlsplit(url)
    steps = parts.path.strip("/").split("/")
    group, rest = ("", steps[2:]) if steps[0] == "api" else (steps[1], steps[3:])
    namespace, rest = (rest[1], rest[2:]) if rest[0] == "namespaces" and len(rest) > 2 else ("", rest)
    resource, name, subresource = [*rest, "", ""][:3]
    return Request(method, group, namespace, f"{resource}/{subresource}".rstrip("/"), name, parts.query, content)


Send = Callable[[], Any]
Fault = Callable[[Request, Send], Any]
"""Answers in the place of the API server; it may send the request, or not."""


class Client:
    """The official client, with a record and a place to fail."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.requests: list[Request] = []
        self.fault: Fault = lambda _, send: send()

    def param_serialize(self, *args: Any, **kwargs: Any) -> Any:
        return self._client.param_serialize(*args, **kwargs)

    def call_api(self, method: str, url: str, headers: dict[str, str], *rest: Any, **kwargs: Any) -> Any:
        request = parse(method, url, headers.get("Content-Type", ""))
        self.requests.append(request)
        return self.fault(request, lambda: self._client.call_api(method, url, headers, *rest, **kwargs))

    @property
    def writes(self) -> list[Request]:
        """Every request that was no read."""
        return [r for r in self.requests if r.write]

    def api(self) -> ApiServer:
        """What the operator's adapters are given."""
        return ApiServer(self)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Answer:
    """An answer that no server gave."""

    status: int
    reason: str
    body: str = ""

    def read(self) -> bytes:
        if self.body:
            return self.body.encode()
        said = {"kind": "Status", "status": "Failure", "message": self.reason, "code": self.status}
        return json.dumps(said).encode()


def refuse(status: int, reason: str) -> Fault:
    """The API server refuses, and nothing was done."""
    return lambda _, __: Answer(status, reason)


def lose_request(_: Request, __: Send) -> Any:
    """The request never arrived."""
    raise ReadTimeoutError(None, "", "timed out")  # type: ignore[arg-type]


def lose_answer(_: Request, send: Send) -> Any:
    """The request was done, and the answer got lost."""
    send()
    raise ReadTimeoutError(None, "", "timed out")  # type: ignore[arg-type]


def die_after(request: Request, send: Send) -> Any:
    """The request was done, and the operator was killed."""
    send()
    raise Killed(str(request))


def at_write(number: int, fault: Fault) -> Fault:
    """``fault`` for write ``number``, counted from 1; every other request goes through."""
    count = 0

    def choose(request: Request, send: Send) -> Any:
        nonlocal count
        count += request.write
        return fault(request, send) if request.write and count == number else send()

    return choose


def every_write_once(fault: Fault) -> Fault:
    """``fault`` the first time that an object is written in a way; the next try goes through."""
    hit: set[str] = set()

    def choose(request: Request, send: Send) -> Any:
        if not request.write or str(request) in hit:
            return send()
        hit.add(str(request))
        return fault(request, send)

    return choose
