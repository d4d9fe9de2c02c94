"""Every pod gives the recorded answers, or it is said which one does not, in which case, and whether that is final."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from golden_server import Answer, GoldenServer, golden_server
from serve_process import forge

from model_packager import recorded
from model_packager.commands import parity
from model_packager.console import OutputFormat, Reporter
from model_packager.errors import BundleInvalid, InvalidUsage, NotReachable, PackagerError, ParityFailed
from model_packager.folder import read_manifest
from model_packager.manifest import MANIFEST_NAME, Golden, parse_root
from model_packager.stores import open_store
from model_packager.termination import MAX_BYTES
from model_packager.transfer import push

Report = dict[str, Any]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "PAUSE_SECONDS", 0.02)


@pytest.fixture
def server(bundle: Path) -> Iterator[GoldenServer]:
    with golden_server(bundle) as found:
        yield found


@pytest.fixture
def second(bundle: Path) -> Iterator[GoldenServer]:
    with golden_server(bundle) as found:
        yield found


@pytest.fixture
def published(bundle: Path, tmp_path: Path) -> str:
    return publish(bundle, tmp_path)


def publish(bundle: Path, tmp_path: Path) -> str:
    """Push the bundle and return its address by digest."""
    root = parse_root(f"file://{tmp_path}/store")
    push(bundle, root, open_store(root, create=True))
    return f"{root}/small@{read_manifest(bundle).digest()}"


def check(uri: str, *endpoints: str, timeout: float = 20.0, log: Path) -> tuple[PackagerError | None, Report]:
    """The failure of the command, if any, and what it left in the termination log."""
    failed: PackagerError | None = None
    try:
        parity.run(uri, uri.rpartition("@")[2], list(endpoints), timeout, log, Reporter(OutputFormat.json))
    except PackagerError as error:
        failed = error
    text = log.read_bytes()
    assert len(text) <= MAX_BYTES
    report = json.loads(text)
    assert report.get("reason") == (failed.reason if failed else None)
    return failed, report


def closed_port() -> str:
    """An address on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def test_the_recorded_answers_pass_on_every_pod(
    published: str, server: GoldenServer, second: GoldenServer, bundle: Path, tmp_path: Path
) -> None:
    failed, report = check(published, server.endpoint, second.endpoint, log=tmp_path / "log")
    assert failed is None
    manifest = read_manifest(bundle)
    cases = [case.name for case in manifest.golden.cases]
    assert (report["digest"], report["cases"], report["servers"]) == (manifest.digest(), len(cases), 2)
    assert (report["maxAbs"], report["differing"]) == (0.0, 0)
    assert 0 <= report["seconds"] < 20
    assert server.asked == second.asked == cases
    assert server.paths == {"/v2/models/small/infer"}


def test_the_pod_with_other_answers_is_named_with_the_first_case_and_output(
    published: str, server: GoldenServer, second: GoldenServer, tmp_path: Path
) -> None:
    wrong = struct.pack("<f", 7.5)
    second.spoil = lambda handler, answer, head: handler.send(answer[:-4] + wrong, head)
    failed, report = check(published, server.endpoint, second.endpoint, log=tmp_path / "log")
    assert isinstance(failed, ParityFailed)
    assert report["differing"] == len(server.answers)
    assert (report["server"], report["case"], report["output"]) == (second.endpoint, server.asked[0], "scores")
    assert 6.4 < report["maxAbs"] <= 7.5
    assert f"the first is of {second.endpoint}, case {server.asked[0]}: the output 'scores' is 7.5 at [" in str(failed)
    assert "allowed difference" in report["message"]


def test_an_answer_within_the_tolerance_passes_and_its_error_is_told(
    published: str, server: GoldenServer, bundle: Path, tmp_path: Path
) -> None:
    tolerance = read_manifest(bundle).golden.tolerances["FP32"]

    def nearly(handler: Answer, answer: bytes, head: int) -> None:
        (value,) = struct.unpack("<f", answer[-4:])
        handler.send(answer[:-4] + struct.pack("<f", value + tolerance.atol / 2), head)

    server.spoil = nearly
    failed, report = check(published, server.endpoint, log=tmp_path / "log")
    assert failed is None
    assert 0 < report["maxAbs"] <= tolerance.atol


Spoiled = Callable[[Answer, bytes, int], None]
OTHER_ANSWERS: dict[str, tuple[Spoiled, str]] = {
    "refuses the request": (lambda h, a, s: h.send(b'{"error":"bad shape"}', 0, status=400), "answered 400"),
    "fails inside": (lambda h, a, s: h.send(b'{"error":"CUDA"}', 0, status=500), "CUDA"),
    "no JSON": (lambda h, a, s: h.send(b"\xff" * len(a), s), "cannot be read"),
    "deep JSON": (lambda h, a, s: h.send(b"[" * 100_000, 100_000), "cannot be read"),
    "a list": (lambda h, a, s: h.send(b"[1]", 3), "cannot be read"),
    "nothing": (lambda h, a, s: h.send(b"", 0), "cannot be read"),
    "outputs without binary data": (
        lambda h, a, s: h.send(b'{"outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[1]}]}', ""),
        "cannot be read",
    ),
    "a header that is no number": (lambda h, a, s: h.send(a, "many"), "cannot be read"),
    "a header that is too large": (lambda h, a, s: h.send(a, len(a) + 1), "cannot be read"),
    "a header below zero": (lambda h, a, s: h.send(a, -1), "cannot be read"),
    "bytes too few": (lambda h, a, s: h.send(a[:-4], s), "cannot be read"),
    "bytes too many": (lambda h, a, s: h.send(a + b"1234", s), "cannot be read"),
    "far too many bytes": (lambda h, a, s: h.send(a + bytes(4 << 20), s), "more than"),
    "another datatype": (lambda h, a, s: h.send(a.replace(b'"FP32"', b'"FP16"'), s), "datatype"),
    "another name": (lambda h, a, s: h.send(a.replace(b'"scores"', b'"SCORES"'), s), "not in the answer"),
    "a size below zero": (
        lambda h, a, s: h.send(
            b'{"outputs":[{"name":"label","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":-8}}]}', 101
        ),
        "cannot be read",
    ),
}


@pytest.mark.parametrize(("spoil", "words"), OTHER_ANSWERS.values(), ids=OTHER_ANSWERS)
def test_whatever_else_is_answered_is_final(
    published: str, server: GoldenServer, tmp_path: Path, spoil: Spoiled, words: str
) -> None:
    server.spoil = spoil
    failed, report = check(published, server.endpoint, log=tmp_path / "log")
    assert isinstance(failed, ParityFailed)
    assert words in report["message"]
    assert report["case"] == server.asked[0]


def test_a_pod_that_nobody_listens_at_is_tried_some_times_and_may_be_asked_later(
    published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    address = closed_port()
    failed, report = check(published, address, log=tmp_path / "log")
    assert isinstance(failed, NotReachable)
    assert address in report["message"]
    assert report["differing"] == 0
    assert len(pauses) == parity.TRIES - 1


def test_a_pod_that_is_busy_at_first_passes(published: str, server: GoldenServer, tmp_path: Path) -> None:
    busy = [503, 503]

    def at_first(handler: Answer, answer: bytes, head: int) -> None:
        handler.send(answer, head, status=busy.pop() if busy else 200)

    server.spoil = at_first
    assert check(published, server.endpoint, log=tmp_path / "log")[0] is None


@pytest.mark.parametrize("status", [404, 429, 502, 503, 504])
def test_a_pod_that_has_no_time_for_the_model_may_be_asked_later(
    published: str, server: GoldenServer, tmp_path: Path, status: int
) -> None:
    server.spoil = lambda handler, answer, head: handler.send(b"not now", 7, status=status)
    failed, report = check(published, server.endpoint, log=tmp_path / "log")
    assert isinstance(failed, NotReachable)
    assert f"answered {status}" in report["message"]
    assert server.asked == [server.asked[0]] * parity.TRIES, "a silent pod is not asked for the other cases"


def hang(handler: Answer, answer: bytes, head: int) -> None:
    """Nothing comes."""
    handler.server.over.wait(30)


def drip(handler: Answer, answer: bytes, head: int) -> None:
    """Something always comes, and never the end: no time-out of a socket is ever reached."""
    handler.send(b"", head, length=len(answer))
    for byte in answer:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        if handler.server.over.wait(0.05):
            return


def drip_headers(handler: Answer, answer: bytes, head: int) -> None:
    """As :func:`drip`, before the answer has begun."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.server.over.wait(0.05):
        handler.wfile.write(b"x")
        handler.wfile.flush()


def cut(handler: Answer, answer: bytes, head: int) -> None:
    """The line breaks in the middle."""
    handler.send(answer[:-5], head, length=len(answer))


@pytest.mark.parametrize("spoil", [hang, drip, drip_headers])
def test_a_slow_pod_costs_no_more_than_the_time_given(
    published: str, server: GoldenServer, tmp_path: Path, spoil: Spoiled
) -> None:
    server.spoil = spoil
    start = time.monotonic()
    failed, report = check(published, server.endpoint, timeout=1.0, log=tmp_path / "log")
    assert time.monotonic() - start < 5
    assert isinstance(failed, NotReachable)
    assert "nothing came within" in report["message"]


def test_a_line_that_breaks_is_no_answer(published: str, server: GoldenServer, tmp_path: Path) -> None:
    server.spoil = cut
    failed, report = check(published, server.endpoint, log=tmp_path / "log")
    assert isinstance(failed, NotReachable)
    assert "the answer ended after" in report["message"]


def test_another_answer_counts_although_a_pod_is_silent(published: str, server: GoldenServer, tmp_path: Path) -> None:
    server.spoil = lambda handler, answer, head: handler.send(answer[:-4] + b"\0\0\xc0\x7f", head)
    failed, report = check(published, closed_port(), server.endpoint, log=tmp_path / "log")
    assert isinstance(failed, ParityFailed)
    assert report["server"] == server.endpoint
    assert "is nan at" in report["message"]


def test_a_silent_pod_is_told_although_the_others_pass(published: str, server: GoldenServer, tmp_path: Path) -> None:
    failed, report = check(published, server.endpoint, closed_port(), log=tmp_path / "log")
    assert isinstance(failed, NotReachable)
    assert report["message"].startswith("1 of 2 servers gave no answer: ")
    assert len(server.asked) == report["cases"]


def test_a_bundle_without_golden_cases_passes_and_says_so(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_manifest(bundle)
    shutil.rmtree(bundle / "golden")
    files = tuple(file for file in manifest.files if not file.path.startswith("golden/"))
    bare = manifest.model_copy(update={"files": files, "golden": Golden(cases=(), tolerances={})})
    (bundle / MANIFEST_NAME).write_bytes(bare.canonical_bytes())
    uri = publish(bundle, tmp_path)
    failed, report = check(uri, closed_port(), log=tmp_path / "log")
    assert failed is None
    assert report["cases"] == 0
    parity.run(uri, None, [closed_port()], 5.0, None, Reporter(OutputFormat.text))
    assert "no golden cases" in capsys.readouterr().out


def test_only_the_golden_cases_are_fetched_and_nothing_is_left(
    published: str, server: GoldenServer, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {f.sha256 for f in read_manifest(bundle).files if f.path.startswith("golden/")}
    kept.add(published.rpartition(":")[2])
    for blob in (tmp_path / "store/blobs/sha256").iterdir():
        if blob.name not in kept:
            blob.unlink()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(parity.tempfile, "tempdir", str(tmp_path / "scratch"))
    assert check(published, server.endpoint, log=tmp_path / "log")[0] is None
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_golden_case_that_was_altered_in_the_store_asks_no_pod(
    published: str, server: GoldenServer, bundle: Path, tmp_path: Path
) -> None:
    file = next(f for f in read_manifest(bundle).files if f.path.endswith("response.bin"))
    blob = tmp_path / "store/blobs/sha256" / file.sha256
    blob.write_bytes(bytes(file.size))
    failed, _ = check(published, server.endpoint, log=tmp_path / "log")
    assert isinstance(failed, BundleInvalid)
    assert server.asked == []


@pytest.mark.parametrize(("part", "content"), [("response.json", b"{}"), ("response.bin", b"")])
def test_a_recorded_response_that_is_none_is_a_fault_of_the_bundle(
    bundle: Path, server: GoldenServer, tmp_path: Path, part: str, content: bytes
) -> None:
    case = read_manifest(bundle).golden.cases[0].name
    forge(bundle, f"golden/{case}/{part}", content)
    failed, report = check(publish(bundle, tmp_path), server.endpoint, log=tmp_path / "log")
    assert isinstance(failed, BundleInvalid)
    assert case in report["message"]


@pytest.mark.parametrize("limit", ["MAX_PART_BYTES", "MAX_TOTAL_BYTES"])
def test_golden_cases_that_are_too_large_are_refused_before_they_are_fetched(
    published: str, server: GoldenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(recorded, limit, 10)
    failed, report = check(published, server.endpoint, log=tmp_path / "log")
    assert isinstance(failed, BundleInvalid)
    assert "at most 10 can be replayed" in report["message"]
    assert server.asked == []


def test_an_endpoint_that_is_none_is_refused(published: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidUsage, match="HOST:PORT"):
        parity.run(published, None, ["somewhere"], 5.0, None, Reporter(OutputFormat.json))


def test_the_command_needs_neither_numpy_nor_grpc(published: str, server: GoldenServer, tmp_path: Path) -> None:
    code = (
        "import sys; from model_packager.cli import app; app(sys.argv[1:], standalone_mode=False);"
        "print(*sorted({n.split('.')[0] for n in sys.modules}), file=sys.stderr)"
    )
    arguments = ["parity", published, "--endpoint", server.endpoint, "--termination-log", str(tmp_path / "log")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "log").read_text())
    assert not {"numpy", "onnx", "tritonclient", "grpc", "google"} & set(done.stderr.split())
