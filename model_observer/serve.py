"""What others may read of the observer: ``/v1/windows`` for the operator, ``/metrics``, and ``/healthz`` for probes."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

SECONDS = 5.0
MAX_REQUEST = 8192
MAX_CONNECTIONS = 32
Page = Callable[[], tuple[str, str]]
"""A content type and a text."""


class Views:
    """A small HTTP server: GET, one request a connection, every connection bounded in time, size and number."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        """``pages`` by path."""
        self._pages = pages
        self._open = 0

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen. Raises OSError when the port is taken."""
        return await asyncio.start_server(self._serve, host, port, limit=MAX_REQUEST)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(SECONDS):
                    writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Not a request, or nobody who waits for the answer.
            pass
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        page = self._pages.get(rest.partition(" ")[0].partition("?")[0])
        if page is None:
            return _response(HTTPStatus.NOT_FOUND, "text/plain", f"There is {', '.join(self._pages)}.\n")
        if method != "GET":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", "Only GET.\n")
        return _response(HTTPStatus.OK, *page())


def _response(status: HTTPStatus, content_type: str, text: str) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def json_page(content: Callable[[], object]) -> Page:
    """A page of JSON."""
    return lambda: ("application/json", json.dumps(content(), separators=(",", ":")) + "\n")
