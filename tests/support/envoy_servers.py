"""What stands behind a router in tests: a server of one revision, by HTTP and by gRPC, that answers with its name."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import grpc

from tidegate.resources.triton import GRPC, HTTP


def loopback() -> str:
    """An address of this machine that nobody else uses: all of 127.0.0.0/8 is."""
    return ".".join(["127", *(str(random.randint(2, 250)) for _ in range(3))])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that hung up is what some tests are about."""


class _AnyMethod(grpc.GenericRpcHandler):
    """Every method there is, with the server's name as its answer."""

    def __init__(self, server: "RevisionServer") -> None:
        self._server = server

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        self._server.called.append(details.method)
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._server.rpc(context))


@dataclass
class RevisionServer:
    """A server at the ports that Triton has, on an address of its own."""

    name: str
    address: str = field(default_factory=loopback)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """HTTP requests: method and path."""
    called: list[str] = field(default_factory=list)
    """gRPC calls: method."""
    delay: float = 0.0
    """Seconds before an answer."""
    status: int = 200
    """Code of every HTTP answer."""
    hang_ups: int = 0
    """How many HTTP requests get no answer but the end of their connection."""
    shared: int = 0
    """How many HTTP requests came while another was being answered."""
    rpc_status: grpc.StatusCode | None = None
    """gRPC status of answers; None for OK."""
    rpc_failures: int = -1
    """How many gRPC calls get that status before all others get OK; -1 for all of them."""

    def start(self) -> "RevisionServer":
        """Listen."""
        self._answering = 0
        self._lock = Lock()
        self._http = _Server((self.address, HTTP), self._handler())
        Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._grpc = grpc.server(ThreadPoolExecutor(4), handlers=[_AnyMethod(self)])
        self._grpc.add_insecure_port(f"{self.address}:{GRPC}")
        self._grpc.start()
        return self

    def reset(self) -> None:
        """Forget what was asked, and answer well again."""
        self.asked.clear()
        self.called.clear()
        self.delay, self.status, self.hang_ups, self.shared = 0.0, 200, 0, 0
        self.rpc_status, self.rpc_failures = None, -1

    def rpc(self, context: grpc.ServicerContext) -> bytes:
        """Answer one gRPC call."""
        time.sleep(self.delay)
        if self.rpc_status and self.rpc_failures:
            self.rpc_failures -= self.rpc_failures > 0
            context.abort(self.rpc_status, "as the test asked for")
        return self.name.encode()

    @contextmanager
    def _busy(self) -> Iterator[None]:
        with self._lock:
            self.shared += self._answering > 0
            self._answering += 1
        yield
        with self._lock:
            self._answering -= 1

    def stop(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(0).wait()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def answer(self) -> None:
                server.asked.append((self.command, self.path))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with server._busy():
                    time.sleep(server.delay)
                if server.hang_ups:
                    server.hang_ups -= 1
                    self.close_connection = True
                    return
                self.send_response(server.status)
                self.send_header("Content-Length", str(len(server.name)))
                self.end_headers()
                self.wfile.write(server.name.encode())

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: what was asked is kept."""

        return Handler
