"""A small HTTP server on this machine that answers as a test tells it to and keeps what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """One answer: ``body`` is JSON unless it is bytes; ``pieces`` are sent one by one instead of it."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterator[bytes] | None = None


class HttpStub:
    """Answers with what ``answer`` says; a hanging answer ends when the stub does."""

    def __init__(self, answer: Callable[[Asked], Reply], host: str = "127.0.0.1") -> None:
        self.asked: list[Asked] = []
        self.answer = answer
        self.over = threading.Event()
        self._server = _Server((host, 0), self._handler())
        self.host = host
        self.port = int(self._server.server_address[1])
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}:{self.port}"

    def serve_tls(self, context: SSLContext) -> None:
        """Speak TLS on every connection from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def hang(self, _: Asked) -> Reply:
        """An answer that does not come."""
        self.over.wait(30)
        return Reply()

    def close(self) -> None:
        """End every answer, and stop listening."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def handle_any(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = urlsplit(self.path)
                headers = {key.lower(): value for key, value in self.headers.items()}
                body = json.loads(data) if data else None
                asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
                stub.asked.append(asked)
                self.reply(stub.answer(asked))

            def reply(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for key, value in reply.headers.items():
                    self.send_header(key, value)
                if reply.pieces is not None:
                    self.send_header("Connection", "close")
                    self.end_headers()
                    for piece in reply.pieces:
                        self.wfile.write(piece)
                        self.wfile.flush()
                    self.close_connection = True
                    return
                content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: what was asked is kept."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that hung up is what some tests are about."""


@contextmanager
def stub(answer: Callable[[Asked], Reply] = lambda asked: Reply(), host: str = "127.0.0.1") -> Iterator[HttpStub]:
    """A stub for the time of a test, at an address of this machine."""
    found = HttpStub(answer, host)
    try:
        yield found
    finally:
        found.close()
