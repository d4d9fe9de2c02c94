"""Ask one pod of a revision again: straight, past the router, so that the router's figures stay the clients' own."""

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio

from model_observer.exchange import GRPC_INFER, Answer
from model_observer.plan import Revision
from model_observer.reasons import Left, Reason

NOT_NOW_HTTP = frozenset({404, 408, 429, 502, 503, 504})
NOT_NOW_GRPC = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)
"""Answers that say nothing about the model: a full queue, a time-out, a pod that loads or unloads its model."""
MAX_CHANNELS = 64


class Asker:
    """Asks with a time-out for all of it, and a bound on the answer. Every failure is Left(UNREACHABLE).

    An answer that says that the request cannot be served is an answer, with ``ok`` false: the other revision could.
    """

    def __init__(self, seconds: float, largest: int, parallel: int) -> None:
        """``seconds`` for one question, ``largest`` bytes of an answer, ``parallel`` questions at once."""
        self._seconds, self._largest = seconds, largest
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="replays")
        self._names = ThreadPoolExecutor(parallel, thread_name_prefix="names")
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def addresses(self, revision: Revision, port: int) -> list[str]:
        """The addresses of the revision's ready pods. Raises Left."""
        loop = asyncio.get_running_loop()
        lookup = loop.run_in_executor(self._names, socket.getaddrinfo, revision.host, port, socket.AF_INET)
        try:
            found = await asyncio.wait_for(lookup, self._seconds)
        except (OSError, TimeoutError) as error:
            raise Left(Reason.UNREACHABLE, f"no pod of {revision.name}") from error
        return sorted({str(entry[4][0]) for entry in found})

    async def ask_http(self, address: str, port: int, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request on a connection of its own. Raises Left."""
        loop = asyncio.get_running_loop()
        question = _Question(address, port, self._seconds, self._largest)
        try:
            return await loop.run_in_executor(self._threads, question.ask, path, headers, body)
        except (OSError, http.client.HTTPException) as error:
            raise Left(Reason.UNREACHABLE, str(error)) from error

    async def ask_grpc(self, address: str, port: int, message: bytes) -> Answer:
        """One unary call. Raises Left."""
        channel = self._channel(f"{address}:{port}")
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(GRPC_INFER)
        try:
            body = await call(message, timeout=self._seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() in NOT_NOW_GRPC:
                raise Left(Reason.UNREACHABLE, error.code().name) from error
            return Answer(ok=False, headers={}, body=b"")
        return Answer(ok=True, headers={}, body=body)

    async def close(self) -> None:
        """Hang up everywhere."""
        for channel in self._channels.values():
            await channel.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._names.shutdown(wait=False, cancel_futures=True)

    def _channel(self, target: str) -> grpc.aio.Channel:
        if target not in self._channels:
            if len(self._channels) >= MAX_CHANNELS:
                # The oldest: pods come and go, and their addresses with them.
                oldest = self._channels.pop(next(iter(self._channels)))
                asyncio.get_running_loop().create_task(oldest.close(self._seconds))
            options = [("grpc.max_receive_message_length", self._largest), ("grpc.max_send_message_length", -1)]
            self._channels[target] = grpc.aio.insecure_channel(target, options)
        return self._channels[target]


class _Question:
    """One HTTP request in a thread, which a timer ends: a server that trickles would never time out by itself."""

    def __init__(self, address: str, port: int, seconds: float, largest: int) -> None:
        self._connection = http.client.HTTPConnection(address, port, timeout=seconds)
        self._seconds, self._largest = seconds, largest

    def ask(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        timer = threading.Timer(self._seconds, self._hang_up)
        timer.daemon = True
        timer.start()
        try:
            self._connection.request("POST", path, body, dict(headers) | {"connection": "close"})
            answer = self._connection.getresponse()
            if answer.status in NOT_NOW_HTTP:
                raise Left(Reason.UNREACHABLE, f"HTTP {answer.status}")
            found = answer.read(self._largest + 1)
            if len(found) > self._largest:
                raise Left(Reason.SIZE)
            if answer.length:
                raise Left(Reason.UNREACHABLE, "the answer is cut off")
            said = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(ok=answer.status == http.HTTPStatus.OK, headers=said, body=found)
        finally:
            timer.cancel()
            self._connection.close()

    def _hang_up(self) -> None:
        connected = self._connection.sock
        with contextlib.suppress(OSError):
            if connected:
                connected.shutdown(socket.SHUT_RDWR)
