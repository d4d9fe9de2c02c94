"""Sources and samples that are archives or pickles made to run code, to escape or to fill the machine."""

from __future__ import annotations

import importlib
import io
import pickle
import zipfile
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hostile_onnx import Touch
from hostile_stage import Stage, refused

Build = Callable[[Stage], object]


@pytest.fixture(scope="module", autouse=True)
def _loaded_frameworks() -> None:
    """Importing them takes more memory than a refusal may."""
    for name in ("torch", "onnxscript", "sklearn", "skl2onnx", "skops.io"):
        importlib.import_module(name)


def _zip(name: str, entries: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Build:
    def build(stage: Stage) -> None:
        with zipfile.ZipFile(stage.work / name, "w", kind) as archive:
            for entry, data in entries.items():
                archive.writestr(entry, data)

    return build


def _touch(stage: Stage) -> bytes:
    return pickle.dumps(Touch(stage.canary))


def _pickled(name: str) -> Build:
    return lambda stage: (stage.work / name).write_bytes(_touch(stage))


def _raw(name: str, data: bytes) -> Build:
    return lambda stage: (stage.work / name).write_bytes(data)


def _npy(shape: str = "(2, 4)", kind: str = "'<f4'") -> bytes:
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 32


def _objects(stage: Stage) -> None:
    np.savez(stage.work / "evil.npz", image=np.array([Touch(stage.canary)] * 2, dtype=object))


def _bomb(stage: Stage) -> None:
    with (
        zipfile.ZipFile(stage.work / "evil.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("image.npy", "w", force_zip64=True) as entry,
    ):
        entry.write(_npy("(2, 134217728)"))
        for _ in range(68):
            entry.write(bytes(1 << 24))


def _program(text: str) -> Build:
    return _zip("evil.pt2", {"m/models/model.json": text.encode(), "m/archive_format": b"pt2"})


def _weights(stage: Stage) -> None:
    _zip(
        "evil.pt2",
        {"m/archive_format": b"pt2", "m/archive_version": b"0", "m/data/sample_inputs/model.pt": _touch(stage)},
    )(stage)


SAMPLES: dict[str, tuple[Build, str]] = {
    "objects, which are pickles": (_objects, "allow_pickle"),
    "a pickle": (_pickled("evil.npz"), "not an .npz file"),
    "1.1 GB of zeros in a megabyte": (_bomb, "unpacks to"),
    "a header of a huge shape": (_zip("evil.npz", {"image.npy": _npy("(1099511627776, 4)")}), "not an .npz file"),
    "a header whose size overflows": (_zip("evil.npz", {"image.npy": _npy("(4611686018427387904, 4)")}), "not an .npz"),
    "a header of a negative shape": (_zip("evil.npz", {"image.npy": _npy("(-2, 4)")}), "not an .npz|at least one"),
    "a header that is a program": (_zip("evil.npz", {"image.npy": _npy("__import__('os').getpid()")}), "not an .npz"),
    "a header that is cut": (_zip("evil.npz", {"image.npy": _npy()[:30]}), "not an .npz"),
    "an entry above the folder": (
        _zip("evil.npz", {"../../outside/evil.npy": _npy()}),
        "has the inputs|the sample has",
    ),
    "no entry": (_zip("evil.npz", {}), "at least one array"),
    "an entry that is no array": (_zip("evil.npz", {"image": b"text"}), "not an .npz|at least one|the sample has"),
    "half an archive": (_raw("evil.npz", b"PK\x03\x04" + b"\0" * 40), "not an .npz"),
    "an empty file": (_raw("evil.npz", b""), "not an .npz"),
}
SOURCES: dict[str, tuple[str, Build, str, str]] = {
    "a pickle": ("evil.pkl", _pickled("evil.pkl"), "InvalidUsage", "is a pickle"),
    "a pickle in capitals": ("evil.PKL", _pickled("evil.PKL"), "InvalidUsage", "is a pickle"),
    "a joblib file": ("evil.joblib", _pickled("evil.joblib"), "InvalidUsage", "is a pickle"),
    "a checkpoint": ("evil.pt", _pickled("evil.pt"), "InvalidUsage", "is a checkpoint"),
    "a pickle called skops": ("evil.skops", _pickled("evil.skops"), "ExportFailed", "could not be loaded"),
    "a skops file of os.system": (
        "evil.skops",
        _zip("evil.skops", {"schema.json": b'{"__class__":"system","__module__":"os","__loader__":"TypeNode","__id__":1,'  # noqa: E501
                                           b'"protocol":2,"_skops_version":"0.16.0"}'}),
        "(InvalidUsage|ExportFailed)", "not known to be safe|could not be loaded"),
    "a skops file with an entry above the folder": (
        "evil.skops", _zip("evil.skops", {"../../outside/evil": b"x", "schema.json": b"{}"}), "ExportFailed", "loaded"),
    "a skops file without a schema": ("evil.skops", _zip("evil.skops", {"x": b"x"}), "ExportFailed", "loaded"),
    "a program with a pickle": ("evil.pt2", _weights, "(ExportFailed|InvalidUsage)", "not a program"),
    "a program with an entry above the folder": (
        "evil.pt2", _zip("evil.pt2", {"../evil": b"x"}), "InvalidUsage", "segment"),
    "a compressed program": (
        "evil.pt2", _zip("evil.pt2", {"m/x": b"0" * 9999}, zipfile.ZIP_DEFLATED), "InvalidUsage", "compressed"),
    "a program whose size runs code": (
        "evil.pt2", _program('{"as_expr":{"expr_str":"__import__(\'os\').system(\'touch ../executed\')"}}'),
        "InvalidUsage", "more than arithmetic"),
    "a program whose guard runs code": (
        "evil.pt2", _program('{"guards_code":["().__class__.__base__.__subclasses__()"]}'),
        "InvalidUsage", "more than a comparison"),
    "a program that calls the system": (
        "evil.pt2", _program('{"nodes":[{"target":"torch.os.system","inputs":[],"outputs":[]}]}'),
        "InvalidUsage", "no operator"),
    "a program that loads a library": (
        "evil.pt2", _program('{"nodes":[{"target":"torch.ops.load_library","inputs":[],"outputs":[]}]}'),
        "InvalidUsage", "no operator"),
    "a program of nested lists": ("evil.pt2", _program("[" * 100_000), "InvalidUsage", "cannot be read"),
    "a program that is no archive": ("evil.pt2", _raw("evil.pt2", b"PK\x03\x04"), "InvalidUsage", "cannot be read"),
    "a folder called ONNX": ("evil.onnx", lambda s: (s.work / "evil.onnx").mkdir(), "InvalidUsage", "neither a file"),
}  # fmt: skip
EXPORT = ["--name", "small", "--version", "2", "-o", "out"]


@pytest.mark.parametrize("what", SAMPLES)
def test_a_hostile_sample_is_refused_and_never_run(stage: Stage, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    build, words = SAMPLES[what]
    build(stage)
    refused(stage, ["export", "small.onnx", "--sample", "evil.npz", *EXPORT], "InvalidUsage", words, capfd)


@pytest.mark.parametrize("what", SOURCES)
def test_a_hostile_source_is_refused_and_never_run(stage: Stage, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    name, build, reason, words = SOURCES[what]
    build(stage)
    refused(stage, ["export", name, *EXPORT], reason, words, capfd)


def test_a_pickle_that_is_loaded_would_have_been_noticed(stage: Stage) -> None:
    pickle.load(io.BytesIO(_touch(stage)))
    assert stage.canary.exists()


def test_the_good_model_and_sample_are_not_refused(stage: Stage) -> None:
    assert onnx.load(stage.work / "small.onnx").graph.node
    assert set(np.load(stage.work / "sample.npz")) == {"image"}
