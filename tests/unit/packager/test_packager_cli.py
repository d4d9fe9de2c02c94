"""The command line as a user meets it: exit codes, one sentence a failure, reports for controllers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_packager import cli, termination
from model_packager.folder import read_manifest, verify_folder
from model_packager.schema import Profile, ProfilePoint
from model_packager.termination import MAX_BYTES

# Run the command line as the image in the cluster does: nothing that only exports need can be imported.
BARE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"numpy", "onnx", "onnxruntime", "torch", "sklearn", "tritonclient", "google", "skl2onnx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from model_packager.cli import main
main()
"""  # noqa: E501

HELP = """
import sys

sys.argv[1:] = ["--help"]
before = set(sys.modules)
from model_packager.cli import main
try:
    main()
finally:
    print(*{name.split(".")[0] for name in set(sys.modules) - before}, file=sys.stderr)
"""


class Result:
    """What one run of the command line left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: Any) -> Result:
        monkeypatch.setattr(sys, "argv", ["model-packager", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def root(bundle: Path, tmp_path: Path, run: Run) -> str:
    uri = f"file://{tmp_path}/store"
    assert run("push", bundle, uri).code == 0
    return uri


def test_a_model_goes_from_a_source_to_another_machine(onnx_file: Path, tmp_path: Path, run: Run) -> None:
    out, store = tmp_path / "out", f"file://{tmp_path}/store"
    exported = run("export", onnx_file, "--name", "small", "--version", "3", "-o", out, "--output", "json")
    assert exported.code == 0
    digest = json.loads(exported.out)["digest"]
    pushed = run("push", out, store)
    assert pushed.out.split() == [f"{store}/small:3", digest]
    pulled = run("pull", f"{store}/small:3", "--to", tmp_path / "there")
    assert (pulled.code, "fetched" in pulled.out) == (0, True)
    verified = run("verify", tmp_path / "there", "--digest", digest, "--output", "json")
    assert json.loads(verified.out)["digest"] == digest


def test_the_result_is_alone_on_standard_output(onnx_file: Path, tmp_path: Path, run: Run) -> None:
    result = run(
        "export", onnx_file, "--name", "small", "--version", "3", "-o", tmp_path / "out", "--output", "json"
    )  # fmt: skip
    assert json.loads(result.out)["name"] == "small"
    assert "comparing with the source" in result.err


@pytest.mark.parametrize("output", ["text", "json"])
def test_inspect_shows_the_same_for_a_folder_and_for_a_uri(bundle: Path, root: str, run: Run, output: str) -> None:
    by_folder = run("inspect", bundle, "--output", output)
    by_uri = run("inspect", f"{root}/small:1", "--output", output)
    assert by_folder.code == by_uri.code == 0
    assert by_folder.out == by_uri.out
    assert read_manifest(bundle).digest() in by_uri.out
    assert "scores" in by_uri.out


def test_resolve_reports_what_a_controller_needs(bundle: Path, root: str, tmp_path: Path, run: Run) -> None:
    log = tmp_path / "termination-log"
    result = run("resolve", f"{root}/small:1", "--termination-log", log)
    manifest = read_manifest(bundle)
    assert result.code == 0
    assert json.loads(log.read_bytes()) == json.loads(result.out)
    assert json.loads(log.read_bytes()) == {
        "digest": manifest.digest(),
        "name": "small",
        "version": "1",
        "sizeBytes": manifest.size_bytes,
        "maxBatchSize": 32,
        "opset": 18,
        "ir": 8,
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 6]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1, 1]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, 4]},
        ],
    }


def test_resolve_reports_how_fast_the_model_was_at_export(bundle: Path) -> None:
    points = (ProfilePoint(batch_size=1, p50_ms=2.0, p95_ms=3.0), ProfilePoint(batch_size=8, p50_ms=4.0, p95_ms=9.0))
    profile = Profile(device="CPU", threads=1, points=points)
    manifest = read_manifest(bundle).model_copy(update={"profile": profile})
    assert termination.success(manifest)["profile"] == {"device": "CPU", "requestsPerSecond": 2000.0}
    unmeasurable = profile.model_copy(update={"points": (ProfilePoint(batch_size=1, p50_ms=0, p95_ms=0),)})
    assert "profile" not in termination.success(manifest.model_copy(update={"profile": unmeasurable}))


def test_pull_by_digest_does_not_need_the_version_pointer(bundle: Path, root: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "store/models/small/1").unlink()
    (tmp_path / "mount").mkdir()
    log = tmp_path / "termination-log"
    digest = read_manifest(bundle).digest()
    result = run(
        "pull", f"{root}/small:1", "--digest", digest, "--to", tmp_path / "mount", "--termination-log", log
    )  # fmt: skip
    assert result.code == 0
    assert verify_folder(tmp_path / "mount").digest() == digest
    assert json.loads(log.read_bytes())["digest"] == digest


ZEROS, ONES = "sha256:" + "0" * 64, "sha256:" + "1" * 64
FAILURES: dict[str, tuple[list[str], int, str, str]] = {
    "resolve a version that is not there": (["resolve", "{root}/small:9"], 3, "ArtifactNotFound", "it has 1"),
    "resolve a model that is not there": (["resolve", "{root}/big:1"], 3, "ArtifactNotFound", "no version 1 of big"),
    "resolve another digest": (["resolve", "{root}/small:1", "--digest", ZEROS], 1, "DigestMismatch", "was expected"),
    "resolve in a store that is not there": (["resolve", "file:///nowhere/small:1"], 3, "ArtifactNotFound", "/nowhere"),
    "resolve from a store without support": (
        ["resolve", "pvc://models/small:1"],
        2,
        "InvalidReference",
        "no store for",
    ),
    "resolve what is no URI": (["resolve", "small"], 2, "InvalidReference", "such as s3://"),
    "resolve a digest that is none": (["resolve", "{root}/small:1", "--digest", "x"], 2, "InvalidReference", "x"),
    "pull a digest that is not there": (
        ["pull", "{root}/small:1", "--digest", ZEROS, "--to", "{tmp}/to"], 3, "ArtifactNotFound", "manifest sha256:0",
    ),
    "pull onto other files": (["pull", "{root}/small:1", "--to", "{tmp}"], 2, "InvalidUsage", "already holds"),
    "pull one digest as another": (
        ["pull", "{root}/small@" + ZEROS, "--digest", ONES, "--to", "{tmp}/to"], 1, "DigestMismatch", "was expected",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAILURES)
def test_a_failure_is_one_sentence_an_exit_code_and_a_report(root: str, tmp_path: Path, run: Run, what: str) -> None:
    arguments, code, reason, words = FAILURES[what]
    log = tmp_path / "termination-log"
    result = run(*(a.format(root=root, tmp=tmp_path) for a in arguments), "--termination-log", log)
    assert result.code == code
    assert result.out == ""
    (line,) = result.err.splitlines()
    assert line.startswith(f"error: {reason}: ")
    assert words in line
    report = json.loads(log.read_bytes())
    assert report["reason"] in ("FetchFailed", "ArtifactNotFound", "DigestMismatch", "BundleInvalid")
    assert report["reason"] == reason or reason in ("InvalidUsage", "InvalidReference")
    assert words in report["message"]


def test_an_altered_blob_is_reported_as_an_invalid_bundle(bundle: Path, root: str, tmp_path: Path, run: Run) -> None:
    card = next(file for file in read_manifest(bundle).files if file.path == "README.md")
    blob = tmp_path / "store/blobs/sha256" / card.sha256
    blob.write_bytes(blob.read_bytes()[::-1])
    result = run("pull", f"{root}/small:1", "--to", tmp_path / "to", "--termination-log", tmp_path / "log")
    assert result.code == 1
    assert json.loads((tmp_path / "log").read_bytes())["reason"] == "BundleInvalid"
    assert not (tmp_path / "to").exists()


def test_a_defect_of_our_own_is_reported_too(
    root: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model_packager import transfer

    def defect(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(transfer, "read_manifest", defect)
    with pytest.raises(RuntimeError):
        run("resolve", f"{root}/small:1", "--termination-log", tmp_path / "log")
    report = json.loads((tmp_path / "log").read_bytes())
    assert report == {"reason": "FetchFailed", "message": "Internal error: RuntimeError: unexpected"}


USAGE: dict[str, tuple[list[str], str]] = {
    "an unknown command": (["explode"], "No such command"),
    "a missing option": (["export", "x.onnx"], "Missing option"),
    "an unknown format": (["inspect", ".", "--output", "xml"], "xml"),
    "a batch size below zero": (
        ["export", "x.onnx", "--name", "a", "--version", "1", "-o", "out", "--max-batch-size", "-1"], "max-batch-size",
    ),
    "a source that is not there": (
        ["export", "x.onnx", "--name", "a", "--version", "1", "-o", "{tmp}/out"], "neither a file nor",
    ),
    "a rename without a name": (
        ["export", "{onnx}", "--name", "a", "--version", "1", "-o", "{tmp}/out", "--rename", "x"], "must be OLD=NEW",
    ),
    "labels from a file that is not there": (
        ["export", "{onnx}", "--name", "a", "--version", "1", "-o", "{tmp}/out", "--labels", "@/nowhere"], "/nowhere",
    ),
    "an empty label": (
        ["export", "{onnx}", "--name", "a", "--version", "1", "-o", "{tmp}/out", "--labels", "a,,b"], "printable",
    ),
    "a commit that is none": (
        ["export", "{onnx}", "--name", "a", "--version", "1", "-o", "{tmp}/out", "--git-commit", "HEAD"], "40 or 64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", USAGE)
def test_wrong_usage_ends_with_code_2_and_writes_nothing(onnx_file: Path, tmp_path: Path, run: Run, what: str) -> None:
    arguments, words = USAGE[what]
    result = run(*(a.format(tmp=tmp_path, onnx=onnx_file) for a in arguments))
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_differs_from_its_source_ends_with_code_1(
    onnx_file: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model_packager.export.sources.onnx import OnnxSource

    answer = OnnxSource.answer
    monkeypatch.setattr(OnnxSource, "answer", lambda source, inputs: [value + 1 for value in answer(source, inputs)])
    result = run("export", onnx_file, "--name", "a", "--version", "1", "-o", tmp_path / "out")
    assert result.code == 1
    assert result.out == ""
    assert "error: ParityFailed: " in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_taken_ends_with_code_5(onnx_file: Path, root: str, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "other"
    run("export", onnx_file, "--name", "small", "--version", "1", "-o", out, "--max-batch-size", 4)
    result = run("push", out, root)
    assert result.code == 5
    assert result.err.startswith("error: VersionConflict: ")


def test_a_missing_extra_is_named_with_its_command(onnx_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BARE, "export", str(onnx_file), "--name", "a", "--version", "1"]
    result = subprocess.run(
        [*command, "-o", str(tmp_path / "out")], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 7
    assert result.stderr.startswith("error: MissingExtra: ")
    assert "pip install 'tidegate[packager]'" in result.stderr


def test_commands_of_the_cluster_need_no_numpy_and_no_framework(bundle: Path, tmp_path: Path) -> None:
    store = f"file://{tmp_path}/store"
    for arguments in (
        ["push", bundle, store],
        ["resolve", f"{store}/small:1", "--keep", tmp_path / "small.json"],
        ["contract", f"{store}/small:1", "--successor", tmp_path / "small.json"],
        ["pull", f"{store}/small:1", "--to", tmp_path / "to"],
        ["verify", tmp_path / "to"],
        ["inspect", f"{store}/small:1"],
    ):
        command = [sys.executable, "-c", BARE, *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", ["manifest", "schema", "compatibility"])
def test_what_the_operator_may_import_imports_pydantic_and_nothing_heavier(module: str) -> None:
    code = f"import sys; import model_packager.{module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    third_party = loaded - set(sys.stdlib_module_names) - {"model_packager", "__main__"}
    allowed = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
    assert not {name for name in third_party if not name.startswith("_")} - allowed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_hanging_pull_and_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(60)
        environment = os.environ | {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        log = tmp_path / "log"
        arguments = ["pull", "s3://models/small:1", "--to", str(tmp_path / "to"), "--termination-log", str(log)]
        process = subprocess.Popen([sys.executable, "-m", "model_packager.cli", *arguments], env=environment)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(number)
            assert process.wait(20) == 128 + number
    assert json.loads(log.read_bytes())["message"] == "The command was interrupted before it was done."
    assert list(tmp_path.iterdir()) == [log]


def test_help_waits_for_no_library() -> None:
    """What takes time before help appears is what is imported: typer with its parts, and nothing else."""
    result = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True, timeout=60)
    assert "Exit codes" in result.stdout
    loaded = set(result.stderr.split()) - set(sys.stdlib_module_names)
    assert "typer" in loaded
    assert loaded <= {"model_packager", "typer", "click", "rich", "shellingham", "annotated_doc"}


def test_a_report_that_would_be_too_long_leaves_out_the_tensors(pristine_bundle: Path, tmp_path: Path) -> None:
    from model_packager import termination
    from model_packager.manifest import Tensor

    manifest = read_manifest(pristine_bundle)
    many = tuple(Tensor(name=f"input-{i}", datatype="FP32", shape=(-1, 6)) for i in range(200))
    wide = manifest.model_copy(update={"contract": manifest.contract.model_copy(update={"inputs": many})})
    report = termination.success(wide)
    assert "inputs" not in report
    termination.write(tmp_path / "log", report)
    assert json.loads((tmp_path / "log").read_bytes())["digest"] == wide.digest()


@pytest.mark.parametrize("letter", ["a", "é", "\U0001f600", "\0"])
def test_a_failure_report_always_fits_and_is_always_json(tmp_path: Path, letter: str) -> None:
    from model_packager import termination
    from model_packager.errors import FetchFailed

    termination.write(tmp_path / "log", termination.failure(FetchFailed(letter * 10_000)))
    data = (tmp_path / "log").read_bytes()
    assert len(data) <= MAX_BYTES
    assert json.loads(data)["message"].startswith(letter)
