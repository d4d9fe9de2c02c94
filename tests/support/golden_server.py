"""A server that answers the golden requests of a bundle as they were recorded, or as a test has it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Spoil = Callable[["Answer", bytes, int], None]
"""Sends something else than the recorded answer: it is given the answer and the size of the JSON in it."""


class GoldenServer(ThreadingHTTPServer):
    """Keeps which cases it was asked for, by name; ``spoil`` takes the place of the right answer."""

    daemon_threads = True

    def __init__(self, bundle: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        cases = sorted((bundle / "golden").iterdir())
        self.answers = {_parts(c, "request"): (c.name, _parts(c, "response"), _head(c)) for c in cases}
        self.asked: list[str] = []
        self.paths: set[str] = set()
        self.spoil: Spoil = lambda handler, answer, head: handler.send(answer, head)
        self.over = threading.Event()

    @property
    def endpoint(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that hung up is what some tests are about."""


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: GoldenServer

    def do_POST(self) -> None:
        """Answer as the server is told to."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name, answer, head = self.server.answers[body]
        self.server.asked.append(name)
        self.server.paths.add(self.path)
        self.server.spoil(self, answer, head)

    def send(self, answer: bytes, head: Any, status: int = 200, length: int | None = None) -> None:
        """A whole answer; ``length`` is what its header says if that is another."""
        self.send_response(status)
        self.send_header("Inference-Header-Content-Length", str(head))
        self.send_header("Content-Length", str(len(answer) if length is None else length))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def golden_server(bundle: Path) -> Iterator[GoldenServer]:
    """A server for the time of a test."""
    with GoldenServer(bundle) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield found
        found.over.set()
        found.shutdown()
        thread.join(timeout=5)


def _parts(case: Path, kind: str) -> bytes:
    return (case / f"{kind}.json").read_bytes() + (case / f"{kind}.bin").read_bytes()


def _head(case: Path) -> int:
    return len((case / "response.json").read_bytes())
