"""The golden cases of a bundle against a server: equal answers pass, others are named, silence is no answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from model_packager.commands.replay import run
from model_packager.console import OutputFormat, Reporter
from model_packager.errors import FetchFailed, InvalidUsage, ReplayFailed
from model_packager.folder import read_manifest
from model_packager.manifest import parse_root
from model_packager.stores import open_store
from model_packager.transfer import push


class Server(ThreadingHTTPServer):
    """Answers each golden request of a bundle with its golden response, or with what ``spoil`` makes of it."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        cases = sorted((bundle / "golden").iterdir())
        self.answers = {read(c, "request"): (read(c, "response"), head(c)) for c in cases}
        self.status = 200
        self.flip = False

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.server_port}"


def read(case: Path, kind: str) -> bytes:
    return (case / f"{kind}.json").read_bytes() + (case / f"{kind}.bin").read_bytes()


def head(case: Path) -> int:
    return len((case / "response.json").read_bytes())


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer, size = self.server.answers[body]
        if self.server.flip:
            answer = answer[:-1] + bytes([answer[-1] ^ 0x7F])
        self.send_response(self.server.status)
        self.send_header("Inference-Header-Content-Length", str(size))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(bundle: Path) -> Iterator[Server]:
    with Server(bundle) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join(timeout=5)


def ask(bundle: Path, endpoint: str | None) -> None:
    run(str(bundle), endpoint, None, None, Reporter(OutputFormat.json))


def test_a_server_that_answers_as_the_source_did_passes(
    bundle: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(bundle, server.endpoint)
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert report["protocols"][0]["cases"] == len(server.answers) > 0


def test_a_server_with_other_answers_fails_and_the_case_is_named(bundle: Path, server: Server) -> None:
    server.flip = True
    with pytest.raises(ReplayFailed, match="http, case"):
        ask(bundle, server.endpoint)


def test_an_error_of_the_server_is_told(bundle: Path, server: Server) -> None:
    server.status = 503
    with pytest.raises(FetchFailed, match="answered 503"):
        ask(bundle, server.endpoint)


def test_a_server_that_is_not_there_is_named(bundle: Path) -> None:
    with pytest.raises(FetchFailed, match=r"127\.0\.0\.1:1 did not answer"):
        ask(bundle, "127.0.0.1:1")


@pytest.mark.parametrize("endpoint", [None, "somewhere", "host:0", "host:99999", ":8000"])
def test_an_endpoint_that_is_none_is_refused(bundle: Path, endpoint: str | None) -> None:
    with pytest.raises(InvalidUsage, match="HOST:PORT"):
        ask(bundle, endpoint)


def test_only_the_golden_cases_of_a_published_bundle_are_fetched(
    bundle: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = parse_root(f"file://{tmp_path}/store")
    push(bundle, root, open_store(root, create=True))
    kept = {f.sha256 for f in read_manifest(bundle).files if f.path.startswith("golden/")}
    kept.add(read_manifest(bundle).digest().removeprefix("sha256:"))
    for blob in (tmp_path / "store/blobs/sha256").iterdir():
        if blob.name not in kept:
            blob.unlink()
    run(f"{root}/small:1", server.endpoint, None, None, Reporter(OutputFormat.json))
    assert json.loads(capsys.readouterr().out)["passed"]
