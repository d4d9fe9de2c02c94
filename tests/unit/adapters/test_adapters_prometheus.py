"""Promises about asking Prometheus: one number or one sentence, in time, whatever answers at the other end."""

import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from http_stub import Asked, HttpStub, Reply, stub

from tidegate.adapters import prometheus
from tidegate.adapters.prometheus import Prometheus, PrometheusSettings

AT = 1767323045.25


def success(kind: str, result: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def vector(*values: str) -> dict[str, Any]:
    return success("vector", [{"metric": {"pod": f"p{i}"}, "value": [AT, v]} for i, v in enumerate(values)])


def error(kind: str, text: str) -> dict[str, Any]:
    return {"status": "error", "errorType": kind, "error": text}


class Api:
    """Answers as the HTTP API of Prometheus is documented, by the text of the query; refuses every other request."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply | Callable[[Asked], Reply]] = {}

    def __call__(self, asked: Asked) -> Reply:
        if (asked.method, asked.path) != ("GET", "/prefix/api/v1/query"):
            return Reply(b"404 page not found", 404)
        if set(asked.query) - {"query", "time", "timeout"} or not asked.query.get("query"):
            return Reply(error("bad_data", "invalid parameter"), 400)
        reply = self.replies.get(asked.query["query"], Reply(vector()))
        return reply if isinstance(reply, Reply) else reply(asked)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def there(api: Api) -> Iterator[HttpStub]:
    with stub(api) as found:
        yield found


@pytest.fixture
def client(there: HttpStub, monkeypatch: pytest.MonkeyPatch) -> Prometheus:
    monkeypatch.setattr(prometheus, "TIMEOUT", prometheus.urllib3.Timeout(connect=0.3, read=0.3))
    monkeypatch.setattr(prometheus, "ANSWER_SECONDS", 0.5)
    return Prometheus(PrometheusSettings(url=f"{there.url}/prefix/"))


def test_every_query_has_the_answer_of_its_own_name(api: Api, there: HttpStub, client: Prometheus) -> None:
    text = 'sum(rate(x{model="digits", a=~"b+c&d"}[1m])) / 2 % 3'
    api.replies = {text: Reply(vector("0.25")), "scalar(up)": Reply(success("scalar", [AT, "7"]))}
    found = client.values({"share": text, "up": "scalar(up)"})
    assert {name: (answer.value, answer.why) for name, answer in found.items()} == {"share": (0.25, ""), "up": (7, "")}
    assert sorted(asked.query["query"] for asked in there.asked) == sorted([text, "scalar(up)"])
    assert {asked.query["timeout"] for asked in there.asked} == {"2s"}
    assert all("authorization" not in asked.headers for asked in there.asked)


def test_nothing_is_asked_for_no_query(there: HttpStub, client: Prometheus) -> None:
    assert client.values({}) == {}
    assert there.asked == []


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(vector()), "the query has no result"),
        (Reply(vector("1", "2", "3")), "the query has 3 results and one is needed: aggregate them, as with sum()"),
        (Reply(success("string", [AT, "7"])), "the result is a string, not a number"),
        (Reply(success("matrix", [{"metric": {}, "values": [[AT, "1"]]}])), "the result is a range of samples"),
        (Reply(success("vector", [{"metric": {}, "histogram": [AT, {}]}])), "the result is a histogram: take a number"),
        (Reply(success("tensor", [])), "the result is of an unknown type: tensor"),
        (Reply(success("vector", None)), "the result is of an unknown type"),
        (Reply(success("vector", ["x"])), "the result is no number: None"),
        (Reply(success("vector", [{"value": [AT, "much"]}])), "the result is no number"),
        (Reply(success("vector", [{"value": [AT, 7]}])), "the result is no number"),
        (Reply(success("vector", [{"value": [AT]}])), "the result is no number"),
        (Reply(success("scalar", None)), "the result is no number: None"),
        (Reply(error("bad_data", "parse error: unexpected end of input"), 400), "refused the query: bad_data: parse"),
        (Reply(error("execution", "found duplicate series"), 422), "Prometheus refused the query: execution: found"),
        (Reply(error("timeout", "query timed out"), 503), "Prometheus refused the query: timeout: query timed out"),
        (Reply(error("internal", "x\n  y"), 500), "Prometheus refused the query: internal: x y"),
        (Reply(error("bad_data", "said with 200")), "Prometheus refused the query: bad_data: said with 200"),
        (Reply(b"upstream connect error", 503), "Prometheus answered 503"),
        (Reply(b"", 204), "Prometheus answered 204"),
        (Reply(b"<html>", 401), "Prometheus answered 401: the operator's token is missing or has no right to ask"),
        (Reply({}, 403), "Prometheus answered 403: the operator's token"),
        (Reply(vector("1"), 302, {"Location": "/prefix/api/v1/query?query=up"}), "redirects are not followed"),
        (Reply(b"<html>hello</html>"), "the answer is not that of the Prometheus API: check its address"),
        (Reply(b""), "the answer is not that of the Prometheus API"),
        (Reply(b"[" * 100_000), "the answer is not that of the Prometheus API"),
        (Reply(b'{"status": "success", "data": {"resultType": "vec'), "the answer is not that of the Prometheus API"),
        (Reply({"status": "success"}), "the answer is not that of the Prometheus API"),
        (Reply({"status": "success", "data": []}), "the answer is not that of the Prometheus API"),
        (Reply([]), "the answer is not that of the Prometheus API"),
        (Reply(b"\xff\xfe"), "the answer is not that of the Prometheus API"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_every_other_answer_is_no_number_and_says_why(
    api: Api, there: HttpStub, client: Prometheus, reply: Reply, why: str
) -> None:
    api.replies = {"q": reply}
    answer = client.values({"q": "q"})["q"]
    assert answer.value is None
    assert why in answer.why
    assert "\n" not in answer.why
    assert len(answer.why) <= prometheus.SENTENCE
    assert len(there.asked) == 1, "nothing is tried again within a look, and no redirect is followed"


@pytest.mark.parametrize(("text", "value"), [("NaN", nan), ("+Inf", inf), ("-Inf", -inf), ("1e-7", 1e-7), ("0", 0.0)])
def test_numbers_are_read_as_prometheus_writes_them(api: Api, client: Prometheus, text: str, value: float) -> None:
    api.replies = {"q": Reply(vector(text))}
    answer = client.values({"q": "q"})["q"]
    assert answer.value is not None
    assert answer.value == value or (isnan(answer.value) and isnan(value))
    assert answer.why == ("" if text[0] in "01" else f"the result is {text}")


def test_a_number_with_warnings_is_a_number(api: Api, client: Prometheus) -> None:
    api.replies = {"q": Reply(vector("3") | {"warnings": ["remote read"], "infos": ["metric might not be a counter"]})}
    assert client.values({"q": "q"})["q"].value == 3


def trickle(stop: Callable[[], bool]) -> Iterator[bytes]:
    while not stop():
        yield b" "
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("hangs", "Prometheus cannot be reached: "),
        ("trickles", "did not end within 0.5 s"),
        ("floods", "is larger than 200000 bytes"),
    ],
)
def test_an_answer_without_end_costs_no_other_query_its_answer(
    api: Api, there: HttpStub, client: Prometheus, monkeypatch: pytest.MonkeyPatch, how: str, why: str
) -> None:
    monkeypatch.setattr(prometheus, "ANSWER_BYTES", 200_000)
    bad: dict[str, Callable[[Asked], Reply]] = {
        "hangs": there.hang,
        "trickles": lambda _: Reply(pieces=trickle(there.over.is_set)),
        "floods": lambda _: Reply(pieces=iter([b" " * 65536] * 1000)),
    }
    api.replies = {"bad": bad[how], "good": Reply(vector("1"))}
    started = time.monotonic()
    found = client.values({"bad": "bad", "good": "good"})
    assert time.monotonic() - started < 3
    assert found["good"].value == 1
    assert found["bad"].value is None
    assert why in found["bad"].why


def test_more_slow_queries_than_threads_end_in_time(api: Api, there: HttpStub, client: Prometheus) -> None:
    names = [f"q{number}" for number in range(3 * prometheus.PARALLEL)]
    api.replies = dict.fromkeys(names, there.hang)
    started = time.monotonic()
    found = client.values({name: name for name in names})
    assert time.monotonic() - started < 3
    assert {answer.value for answer in found.values()} == {None}
    assert all(answer.why for answer in found.values())


def test_a_prometheus_that_is_not_there_is_said_to_be_out_of_reach(client: Prometheus) -> None:
    with stub() as ended:
        url = ended.url
    answer = Prometheus(PrometheusSettings(url=url)).values({"q": "up"})["q"]
    assert answer.value is None
    assert answer.why.startswith("Prometheus cannot be reached: ")


def test_a_prometheus_that_comes_back_is_asked_again(api: Api, client: Prometheus) -> None:
    api.replies = {"q": Reply(b"", 500, headers={"Connection": "close"})}
    assert client.values({"q": "q"})["q"].value is None
    api.replies = {"q": Reply(vector("5"))}
    assert client.values({"q": "q"})["q"].value == 5


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "is no address"),
        ("prometheus:9090", "is no address"),
        ("ftp://prometheus", "is no address"),
        ("http://", "is no address"),
        ("http://prometheus:port", "is no address"),
        ("http://[::1", "is no address"),
        ("https://me:secret@prometheus", "the address holds a user or a password"),
        ("http://prometheus/api?x=1", "has a query or fragment"),
        ("http://prometheus/#graph", "has a query or fragment"),
    ],
)
def test_an_address_that_can_never_work_is_refused_at_the_start(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as failed:
        PrometheusSettings(url=url)
    assert "secret" not in str(failed.value)


def test_a_token_is_never_sent_in_the_clear() -> None:
    with pytest.raises(ValueError, match="a token is sent by https only"):
        PrometheusSettings(url="http://prometheus:9090", token_file=Path("/token"))


def test_a_missing_file_with_certificates_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the file \S+/ca.crt with certificates does not exist"):
        PrometheusSettings(url="https://prometheus", ca_file=tmp_path / "ca.crt")
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(ValueError, match=r"the certificates in \S+/ca.crt cannot be read"):
        Prometheus(PrometheusSettings(url="https://prometheus", ca_file=tmp_path / "ca.crt"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stub")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(key.private_bytes(*form) + built.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls(there: HttpStub, certificate: Path) -> str:
    """The stub's address by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    there.serve_tls(context)
    return there.url.replace("http:", "https:") + "/prefix"


def test_the_token_is_read_anew_for_every_look(
    api: Api, there: HttpStub, tls: str, certificate: Path, tmp_path: Path
) -> None:
    api.replies = {"q": Reply(vector("1"))}
    token = tmp_path / "token"
    client = Prometheus(PrometheusSettings(url=tls, token_file=token, ca_file=certificate))
    for text in ("first\n", "second"):
        token.write_text(text)
        assert client.values({"q": "q"})["q"].value == 1
    assert [asked.headers["authorization"] for asked in there.asked] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "the token for Prometheus cannot be read: "),
        (b"", "holds no token for Prometheus"),
        (b"a\nb", "holds no token for Prometheus"),
        (b"\xff", "the token for Prometheus cannot be read: "),
    ],
)
def test_without_a_usable_token_nothing_is_asked(
    there: HttpStub, tls: str, certificate: Path, tmp_path: Path, content: bytes | None, why: str
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    client = Prometheus(PrometheusSettings(url=tls, token_file=token, ca_file=certificate))
    answer = client.values({"q": "q"})["q"]
    assert answer.value is None
    assert why in answer.why
    assert there.asked == []


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(there: HttpStub, tls: str) -> None:
    answer = Prometheus(PrometheusSettings(url=tls)).values({"q": "q"})["q"]
    assert answer.value is None
    assert "certificate verify failed" in answer.why.lower()
    assert there.asked == []


def test_the_stub_is_as_strict_as_the_api(there: HttpStub, client: Prometheus) -> None:
    wrong = Prometheus(PrometheusSettings(url=there.url))
    assert wrong.values({"q": "q"})["q"].why == "Prometheus answered 404"
