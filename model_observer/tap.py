"""Where routers hand over exchanges: Envoy's external processing, in its mode that waits for no answer.

The stream of an exchange must be ended here as soon as the answer is complete, or as soon as it is clear that the
exchange is not wanted: until then it holds one of the few places that a router has for all exchanges.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc

from model_observer.budget import Budget
from model_observer.exchange import GRPC_INFER, HTTP_INFER, OVERHEAD, Answer, Exchange
from model_observer.exchange import Protocol as Spoken
from model_observer.reasons import Left, Reason
from model_observer.wire import EXT_PROC, ProcessingRequest, parser

SERVICE = f"{EXT_PROC}.ExternalProcessor"
ATTRIBUTES = "envoy.filters.http.ext_proc"
CLUSTER = "xds.cluster_name"
KEPT_REQUEST = ("content-encoding", "content-type", "grpc-encoding", "inference-header-content-length")
KEPT_ANSWER = ("content-encoding", "grpc-encoding", "inference-header-content-length")
"""Headers without which the body cannot be read. No other is kept: they are none of the observer's business."""


class Taker(Protocol):
    """Where exchanges go."""

    def offer(self, exchange: Exchange) -> None:
        """Take the exchange, and the bytes that the budget holds for it; raises Left when it is not wanted."""
        ...

    def left(self, reason: Reason, revision: str | None) -> None:
        """Count an exchange that is not compared."""
        ...


class _Assembly:
    """An exchange, part by part."""

    def __init__(self, budget: Budget, largest: int) -> None:
        self._budget, self._largest = budget, largest
        self.held = 0
        self.revision: str | None = None
        self._request: dict[str, str] = {}
        self._answer: dict[str, str] = {}
        self._bodies: dict[str, list[bytes]] = {"request_body": [], "response_body": []}
        self._sizes = dict.fromkeys(self._bodies, 0)
        self._hold(OVERHEAD)

    def add(self, message: Any) -> Exchange | None:
        """The exchange, once this message completes it. Raises Left as soon as it cannot be used."""
        kind = next((field.name for field, _ in message.ListFields() if field.name != "attributes"), "")
        part: Any = getattr(message, kind) if kind else None
        if kind == "request_headers":
            self._request = _headers(part.headers)
            self._check_path()
        elif kind in self._bodies:
            self._append(kind, part.body)
        elif kind == "response_headers":
            self._answer = _headers(part.headers)
            self.revision = _revision(message.attributes)
        elif kind == "response_trailers":
            self._answer |= {k: v for k, v in _headers(part.trailers).items() if k == "grpc-status"}
        ended = kind == "response_trailers" or (kind.startswith("response_") and part.end_of_stream)
        return self._complete() if ended else None

    def _check_path(self) -> None:
        path = self._request.get(":path", "").partition("?")[0]
        if not (self._grpc or HTTP_INFER.fullmatch(path)):
            raise Left(Reason.UNSUPPORTED, "no inference")

    @property
    def _grpc(self) -> bool:
        return self._request.get(":path") == GRPC_INFER

    def _append(self, kind: str, body: bytes) -> None:
        self._sizes[kind] += len(body)
        if self._sizes[kind] > self._largest:
            raise Left(Reason.SIZE)
        self._hold(len(body))
        self._bodies[kind].append(body)

    def _hold(self, size: int) -> None:
        if not self._budget.take(size):
            raise Left(Reason.MEMORY)
        self.held += size

    def _complete(self) -> Exchange:
        if self.revision is None or ":path" not in self._request:
            raise Left(Reason.INCOMPLETE, "the beginning is missing")
        good = self._answer.get("grpc-status") == "0" if self._grpc else self._answer.get(":status") == "200"
        return Exchange(
            protocol=Spoken.GRPC if self._grpc else Spoken.HTTP,
            path=self._request[":path"].partition("?")[0],
            headers={name: self._request[name] for name in KEPT_REQUEST if name in self._request},
            body=b"".join(self._bodies["request_body"]),
            revision=self.revision,
            answer=Answer(
                ok=good,
                headers={name: self._answer[name] for name in KEPT_ANSWER if name in self._answer},
                body=b"".join(self._bodies["response_body"]),
            ),
        )


class Tap:
    """The service that routers call, one stream an exchange."""

    def __init__(self, taker: Taker, budget: Budget, largest: int) -> None:
        """``largest`` bytes of a request, or of an answer, are taken at most."""
        self._taker, self._budget, self._largest = taker, budget, largest

    def handler(self) -> grpc.GenericRpcHandler:
        """What a gRPC server needs of it."""
        method = grpc.stream_stream_rpc_method_handler(
            self.process, request_deserializer=parser(ProcessingRequest), response_serializer=_nothing
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Process": method})

    async def process(self, stream: AsyncIterator[Any], context: object) -> None:
        """One exchange; nothing is ever answered, and the end of this ends the stream."""
        assembly: _Assembly | None = None
        offered = False
        try:
            assembly = _Assembly(self._budget, self._largest)
            exchange = await self._assembled(assembly, stream)
            self._taker.offer(exchange)
            offered = True
        except Left as left:
            self._taker.left(left.reason, assembly.revision if assembly else None)
        except asyncio.CancelledError:
            # The router, or the client behind it, went away.
            self._taker.left(Reason.INCOMPLETE, assembly.revision if assembly else None)
            raise
        finally:
            if assembly and not offered:
                self._budget.give_back(assembly.held)

    @staticmethod
    async def _assembled(assembly: _Assembly, stream: AsyncIterator[Any]) -> Exchange:
        async for message in stream:
            if exchange := assembly.add(message):
                return exchange
        raise Left(Reason.INCOMPLETE)


def _nothing(message: bytes) -> bytes:
    return message


def _headers(headers: Any) -> dict[str, str]:
    """By name; Envoy sends values as bytes, older ones as text."""
    return {h.key.lower(): h.raw_value.decode("latin-1") or h.value for h in headers.headers}


def _revision(attributes: Any) -> str | None:
    """The revision whose cluster answered: clusters are called ``<revision>-http`` and ``<revision>-grpc``."""
    fields = attributes[ATTRIBUTES].fields if ATTRIBUTES in attributes else {}
    name = fields[CLUSTER].string_value if CLUSTER in fields else ""
    revision, dash, _ = name.rpartition("-")
    return revision if dash else None
