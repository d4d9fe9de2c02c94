"""Promises about requests to the API server: every failure has a name, says what was tried, and comes in time."""

import socket
import threading
import time
from collections.abc import Iterator
from itertools import repeat

import pytest
from http_stub import HttpStub, Reply, stub
from kubernetes.client import Configuration

from tidegate.adapters import api
from tidegate.adapters.api import ApiServer, client
from tidegate.adapters.errors import ApiError, Conflict, Forbidden, Invalid, NotFound, Unavailable

PATH = "/api/v1/namespaces/vision/pods/digits-1"


def server_at(url: str) -> ApiServer:
    settings = Configuration(host=url)
    settings.api_key = {"authorization": "Bearer of-the-pod"}
    return ApiServer(client(settings))


@pytest.fixture
def there() -> Iterator[HttpStub]:
    with stub(lambda asked: Reply({"kind": "Pod"})) as found:
        yield found


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Conflict),
        (413, ApiError),
        (422, Invalid),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
def test_every_refusal_has_a_name_and_says_what_was_tried_and_what_was_said(
    there: HttpStub, status: int, kind: type[ApiError]
) -> None:
    there.answer = lambda asked: Reply({"kind": "Status", "message": "no such luck"}, status)
    with pytest.raises(ApiError) as failed:
        server_at(there.url).request("GET", PATH)
    assert type(failed.value) is kind
    assert str(failed.value) == f"GET {PATH}: no such luck (HTTP {status})"


@pytest.mark.parametrize("body", [b"", b"<html>gateway</html>", b"[]", b"null", b"\xff\xfe", b"x" * 100_000])
def test_a_refusal_that_is_no_status_object_is_quoted_in_bounds(there: HttpStub, body: bytes) -> None:
    there.answer = lambda asked: Reply(body, 502)
    with pytest.raises(Unavailable, match=r"^GET /api/v1.*\(HTTP 502\)$") as failed:
        server_at(there.url).request("GET", PATH)
    assert len(str(failed.value)) < 700


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"", b'{"kind": "Po'])
def test_an_answer_that_is_not_json_is_a_named_failure_too(there: HttpStub, body: bytes) -> None:
    there.answer = lambda asked: Reply(body)
    with pytest.raises(Unavailable, match="the answer is not JSON"):
        server_at(there.url).request("GET", PATH)


@pytest.mark.parametrize("method", ["GET", "PATCH", "POST", "PUT", "DELETE"])
def test_no_answer_ends_in_time_says_so_and_is_not_asked_for_again(
    there: HttpStub, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "TIMEOUT", (0.2, 0.2))
    there.answer = there.hang
    started = time.monotonic()
    with pytest.raises(Unavailable, match=f"^{method} {PATH}: .*timed out"):
        server_at(there.url).request(method, PATH, content_type="application/json", body={})
    assert time.monotonic() - started < 2
    assert len(there.asked) == 1


def test_the_time_outs_together_stay_below_what_a_lease_allows() -> None:
    connect, read = api.TIMEOUT
    assert connect * (1 + api.RETRIES.total) + read < 20


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match=f"^GET {PATH}: "):
            server_at(f"http://127.0.0.1:{taken.getsockname()[1]}").request("GET", PATH)


def test_a_connection_that_ends_without_an_answer_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        with pytest.raises(Unavailable, match=f"^POST {PATH}: "):
            server_at(f"http://127.0.0.1:{listener.getsockname()[1]}").request(
                "POST", PATH, content_type="application/json", body={}
            )


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_to_come_back_later_is_not_waited_for(there: HttpStub, status: int) -> None:
    there.answer = lambda asked: Reply({"message": "later"}, status, headers={"Retry-After": "30"})
    started = time.monotonic()
    with pytest.raises(Unavailable, match="later"):
        server_at(there.url).request("GET", PATH)
    assert time.monotonic() - started < 5
    assert len(there.asked) == 1


def test_a_redirect_is_not_followed_with_the_token(there: HttpStub) -> None:
    there.answer = lambda asked: Reply({}, 302, headers={"Location": there.url + "/elsewhere"})
    with pytest.raises(ApiError):
        server_at(there.url).request("GET", PATH)
    assert [asked.path for asked in there.asked] == [PATH]


def test_a_request_carries_the_token_the_query_and_the_body_as_given(there: HttpStub) -> None:
    body = {"metadata": {"name": "x"}, "empty": {}, "none": None}
    found = server_at(there.url).request(
        "PATCH", PATH, query=[("force", "true")], content_type="application/apply-patch+yaml", body=body
    )
    assert found == {"kind": "Pod"}
    (asked,) = there.asked
    assert (asked.method, asked.path, asked.query, asked.body) == ("PATCH", PATH, {"force": "true"}, body)
    assert asked.headers["authorization"] == "Bearer of-the-pod"
    assert asked.headers["content-type"] == "application/apply-patch+yaml"
    assert asked.headers["accept"] == "application/json"


def test_a_log_is_read_as_text_whatever_bytes_it_holds(there: HttpStub) -> None:
    there.answer = lambda asked: Reply(b"failed: \xff\n")
    assert server_at(there.url).text(PATH + "/log", [("tailLines", "5")]) == "failed: �\n"
    assert there.asked[0].query == {"tailLines": "5"}


def test_after_the_lease_is_lost_nothing_is_written_any_more(there: HttpStub) -> None:
    leads = iter([True, *repeat(False, 3)])
    settings = Configuration(host=there.url)
    guarded = ApiServer(client(settings), may_write=lambda: next(leads))
    guarded.request("PATCH", PATH, content_type="application/json", body={})
    for method in ("PATCH", "POST", "DELETE"):
        with pytest.raises(Unavailable, match="no longer leads"):
            guarded.request(method, PATH, content_type="application/json", body={})
    assert guarded.request("GET", PATH) == {"kind": "Pod"}
    assert [asked.method for asked in there.asked] == ["PATCH", "GET"]


def test_no_cluster_at_all_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none")
    monkeypatch.setattr(api.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", f"{tmp_path}/none")
    with pytest.raises(Unavailable, match=r"^there is no cluster to work with: "):
        api.connect(1)


def test_what_is_asked_at_once_by_many_threads_is_answered_to_each(there: HttpStub) -> None:
    there.answer = lambda asked: Reply({"path": asked.path})
    server = server_at(there.url)
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        found[number] = server.request("GET", f"/api/{number}")["path"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == {number: f"/api/{number}" for number in range(8)}
