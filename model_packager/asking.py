"""One inference request over HTTP: a time-out that a server cannot stretch, and an answer of bounded size."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from threading import Timer
from typing import Final

from model_packager.errors import InvalidUsage, NotReachable, ReplayFailed
from model_packager.recorded import Recorded
from model_packager.wire import WireTensor, read_exchange

CONNECT_SECONDS: Final = 3.0
REQUEST_SECONDS: Final = 60.0
SLACK_BYTES: Final = 1024 * 1024  # an answer may be longer than the recorded one: its JSON names more
_AWAY: Final = (404, 408, 425, 429, 502, 503, 504)
"""Codes of a server that has no such model, or no time now; every other one is an answer of the model."""


@dataclass(frozen=True)
class Server:
    """Where a server answers over HTTP."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_server(text: str) -> Server:
    """HOST:PORT, with an address of IPv6 in brackets. Raises InvalidUsage for everything else."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise InvalidUsage(f"The endpoint {text!a} must be HOST:PORT, such as 127.0.0.1:8000 or [::1]:8000.")
    return Server(host, int(port))


def ask(server: Server, model: str, case: Recorded, seconds: float = REQUEST_SECONDS) -> dict[str, WireTensor]:
    """The outputs that the server gives for a recorded request, within ``seconds``.

    Raises NotReachable if there is no answer yet, and ReplayFailed if there is one that has no outputs.
    """
    status, head_size, data = _post(server, model, case, seconds)
    if status in _AWAY:
        raise NotReachable(f"The server {server} answered {status}: {_quoted(data)}.")
    if status != http.HTTPStatus.OK:
        raise ReplayFailed(f"The server {server} answered {status}: {_quoted(data)}.")
    try:
        size = len(data) if head_size is None else int(head_size)
        if not 0 <= size <= len(data):
            raise ValueError(f"its header says that its JSON has {size} bytes of {len(data)}")
        return read_exchange(data[:size], data[size:])
    except ValueError as error:
        raise ReplayFailed(f"The server {server} gave an answer that cannot be read: {str(error)[:200]!a}.") from error


def _post(server: Server, model: str, case: Recorded, seconds: float) -> tuple[int, str | None, bytes]:
    headers = {
        "Inference-Header-Content-Length": str(len(case.head)),
        "Content-Length": str(len(case.head) + len(case.body)),
        "Content-Type": "application/octet-stream",
    }
    limit = case.size + SLACK_BYTES
    end = time.monotonic() + seconds
    connection = http.client.HTTPConnection(server.host, server.port, timeout=min(CONNECT_SECONDS, seconds))
    # A socket's own time-out counts from the last byte: a server that drips would never be late.
    timer: Timer | None = None
    try:
        connection.connect()
        connection.sock.settimeout(max(end - time.monotonic(), 0.001))
        timer = Timer(max(end - time.monotonic(), 0.001), _hang_up, [connection.sock])
        timer.daemon = True
        timer.start()
        connection.request("POST", f"/v2/models/{model}/infer", (case.head, case.body), headers)
        answer = connection.getresponse()
        length = answer.length
        data = answer.read(limit + 1)
        if time.monotonic() >= end or len(data) < min(length or 0, limit + 1):
            raise ConnectionError(f"the answer ended after {len(data)} bytes")
    except (OSError, http.client.HTTPException) as error:
        late = f"nothing came within {seconds:.3g} s" if time.monotonic() >= end else f"{error!r:.200}"
        raise NotReachable(f"The server {server} did not answer; check that it is up ({late}).") from error
    finally:
        if timer is not None:
            timer.cancel()
        connection.close()
    if len(data) > limit:
        raise ReplayFailed(f"The server {server} answered with more than {limit} bytes; {case.size} are recorded.")
    return answer.status, answer.getheader("Inference-Header-Content-Length"), data


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def _quoted(data: bytes) -> str:
    return ascii(data[:300].decode("utf-8", errors="replace"))
