"""What a client does with a registry's challenges, redirects, missing ranges and failures, over real sockets."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_packager.errors import BundleInvalid, FetchFailed
from model_packager.stores.oci_images import Repository
from model_packager.stores.registry import Registry
from model_packager.uri import StoreRoot

BLOB = bytes(range(256)) * 16
DIGEST = "sha256:" + "0" * 64
Answer = tuple[int, dict[str, str], bytes]
Asked = list[tuple[str, str, str]]


@contextmanager
def served(answer: Callable[[str, str, str], Answer]) -> Iterator[tuple[str, Asked]]:
    """A server that answers (method, path, Authorization) by a function, and what it was asked."""
    asked: Asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            question = (self.command, self.path, self.headers.get("Authorization", ""))
            asked.append(question)
            status, headers, body = answer(*question)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _repository(address: str) -> Repository:
    return Repository(Registry(StoreRoot("oci", address, "team")), "team/small")


@pytest.fixture(autouse=True)
def _credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("OCI_USERNAME", "me")
    monkeypatch.setenv("OCI_PASSWORD", "secret")


def test_a_token_is_fetched_with_the_credentials_and_used_again() -> None:
    basic = "Basic " + base64.b64encode(b"me:secret").decode()

    def tokens(method: str, path: str, authorization: str) -> Answer:
        return (200, {}, b'{"token":"good"}') if authorization == basic else (401, {}, b"")

    with served(tokens) as (auth, logins):

        def registry(method: str, path: str, authorization: str) -> Answer:
            if authorization == "Bearer good":
                return 206, {}, b"ab"
            scope = "repository:team/small:pull"
            return 401, {"WWW-Authenticate": f'Bearer realm="http://{auth}/token",service="r",scope="{scope}"'}, b"{}"

        with served(registry) as (address, asked):
            repository = _repository(address)
            assert repository.read_range(DIGEST, 0, 2) == repository.read_range(DIGEST, 0, 2) == b"ab"
            assert [authorization for _, _, authorization in asked] == ["", "Bearer good", "Bearer good"]
            assert logins == [("GET", "/token?service=r&scope=repository%3Ateam%2Fsmall%3Apull", basic)]


def test_credentials_are_not_sent_to_where_a_registry_redirects() -> None:
    with served(lambda *question: (206, {}, BLOB[5:9])) as (storage, fetched):

        def registry(method: str, path: str, authorization: str) -> Answer:
            if not authorization:
                return 401, {"WWW-Authenticate": 'Basic realm="r"'}, b""
            return 307, {"Location": f"http://{storage}/blob"}, b""

        with served(registry) as (address, _):
            assert _repository(address).read_range(DIGEST, 5, 9) == BLOB[5:9]
            assert fetched == [("GET", "/blob", "")]


def test_credentials_are_not_sent_to_a_login_without_tls() -> None:
    header = {"WWW-Authenticate": 'Bearer realm="http://login.example/token",service="r"'}
    with served(lambda *question: (401, header, b"")) as (address, _), pytest.raises(FetchFailed, match="without TLS"):
        _repository(address).read_range(DIGEST, 0, 2)


def test_a_registry_that_ignores_ranges_gives_the_right_bytes() -> None:
    with served(lambda *question: (200, {}, BLOB)) as (address, _):
        assert _repository(address).read_range(DIGEST, 1000, 1100) == BLOB[1000:1100]


@pytest.mark.parametrize("answer", [(200, BLOB[:10]), (206, b"ab"), (416, b"")])
def test_a_blob_that_is_too_short_is_refused(answer: tuple[int, bytes]) -> None:
    with (
        served(lambda *question: (answer[0], {}, answer[1])) as (address, _),
        pytest.raises(BundleInvalid, match="ends before byte 20"),
    ):
        _repository(address).read_range(DIGEST, 5, 20)


def test_an_outage_that_passes_is_not_noticed() -> None:
    states = iter([503, 429, 206])
    with served(lambda *question: (next(states), {}, b"ab")) as (address, asked):
        assert _repository(address).read_range(DIGEST, 0, 2) == b"ab"
        assert len(asked) == 3


def test_a_registry_that_refuses_is_quoted_and_the_password_is_not() -> None:
    problem = json.dumps({"errors": [{"code": "DENIED", "message": "no\x1b[2J"}]}).encode()
    with (
        served(lambda *question: (403, {}, problem)) as (address, _),
        pytest.raises(FetchFailed, match="refused access") as refused,
    ):
        _repository(address).read_range(DIGEST, 0, 2)
    assert "DENIED" in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert "secret" not in str(refused.value)
