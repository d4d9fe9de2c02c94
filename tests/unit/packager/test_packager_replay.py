"""The golden cases of a bundle against a server: equal answers pass, others are named, silence is no answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from golden_server import GoldenServer, golden_server

from model_packager.commands.replay import run
from model_packager.console import OutputFormat, Reporter
from model_packager.errors import InvalidUsage, NotReachable, ReplayFailed
from model_packager.folder import read_manifest
from model_packager.manifest import parse_root
from model_packager.stores import open_store
from model_packager.transfer import push


@pytest.fixture
def server(bundle: Path) -> Iterator[GoldenServer]:
    with golden_server(bundle) as found:
        yield found


def ask(bundle: Path, endpoint: str | None) -> None:
    run(str(bundle), endpoint, None, None, Reporter(OutputFormat.json))


def test_a_server_that_answers_as_the_source_did_passes(
    bundle: Path, server: GoldenServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(bundle, server.endpoint)
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert report["protocols"][0]["cases"] == len(server.answers) > 0


def test_a_server_with_other_answers_fails_and_the_case_is_named(bundle: Path, server: GoldenServer) -> None:
    server.spoil = lambda handler, answer, head: handler.send(answer[:-1] + bytes([answer[-1] ^ 0x7F]), head)
    with pytest.raises(ReplayFailed, match="http, case"):
        ask(bundle, server.endpoint)


def test_a_server_that_has_no_time_is_told(bundle: Path, server: GoldenServer) -> None:
    server.spoil = lambda handler, answer, head: handler.send(b"busy", 4, status=503)
    with pytest.raises(NotReachable, match="answered 503: 'busy'"):
        ask(bundle, server.endpoint)


def test_a_server_that_refuses_the_recorded_request_fails(bundle: Path, server: GoldenServer) -> None:
    server.spoil = lambda handler, answer, head: handler.send(b"unexpected shape", 4, status=400)
    with pytest.raises(ReplayFailed, match="answered 400: 'unexpected shape'"):
        ask(bundle, server.endpoint)


def test_a_server_that_is_not_there_is_named(bundle: Path) -> None:
    with pytest.raises(NotReachable, match=r"127\.0\.0\.1:1 did not answer"):
        ask(bundle, "127.0.0.1:1")


@pytest.mark.parametrize("endpoint", [None, "somewhere", "host:0", "host:99999", ":8000", "fd00::1:8000", "[]:8000"])
def test_an_endpoint_that_is_none_is_refused(bundle: Path, endpoint: str | None) -> None:
    with pytest.raises(InvalidUsage, match="HOST:PORT"):
        ask(bundle, endpoint)


def test_only_the_golden_cases_of_a_published_bundle_are_fetched(
    bundle: Path, server: GoldenServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
