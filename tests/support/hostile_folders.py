"""Hostile bundle folders: each function breaks a good bundle; the manifest is made to fit where it can."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

from hostile_onnx import Touch
from hostile_stage import Stage, relist

CONFIG = "models/small/config.pbtxt"
Build = Callable[[Stage], object]


def _swap(stage: Stage, make: Callable[[Path], object], path: str = CONFIG) -> None:
    """Replace a file by what ``make`` puts in its place."""
    target = stage.bundle / path
    target.unlink()
    make(target)


def _folder_link(stage: Stage) -> None:
    (stage.bundle / "golden").rename(stage.outside / "golden")
    (stage.bundle / "golden").symlink_to(stage.outside / "golden")


def _deep(stage: Stage) -> None:
    """300 empty folders inside each other."""
    handle = os.open(stage.bundle, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)


def _socket(stage: Stage) -> None:
    os.chdir(stage.bundle)  # the address of a socket is at most 108 characters long
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("s")
    os.chdir(stage.work)


def _named(name: bytes) -> Build:
    def build(stage: Stage) -> None:
        with open(os.path.join(os.fsencode(stage.bundle), name), "wb") as file:
            file.write(b"x")

    return build


def _sparse_giant(stage: Stage) -> None:
    with (stage.bundle / CONFIG).open("r+b") as file:
        file.truncate(1 << 42)


def _pickle(stage: Stage) -> None:
    (stage.bundle / "models/small/1/model.pkl").write_bytes(pickle.dumps(Touch(stage.canary)))


def _second_model(stage: Stage) -> None:
    other = stage.bundle / "models/other"
    other.mkdir()
    (other / "config.pbtxt").write_text("backend: 'python'")


def _without(stage: Stage, path: str) -> None:
    (stage.bundle / path).unlink()
    relist(stage.bundle)


FOLDERS: dict[str, tuple[Build, str, str]] = {
    "an altered file": (
        lambda s: (s.bundle / CONFIG).write_bytes((s.bundle / CONFIG).read_bytes()[:-1] + b"#"), "BundleInvalid", "altered"),  # noqa: E501
    "a truncated file": (lambda s: os.truncate(s.bundle / CONFIG, 10), "BundleInvalid", "has 10 bytes"),
    "an emptied file": (lambda s: os.truncate(s.bundle / CONFIG, 0), "BundleInvalid", "has 0 bytes"),
    "a file of 4 TiB of nothing": (_sparse_giant, "BundleInvalid", "bytes; the manifest says"),
    "a missing file": (lambda s: (s.bundle / CONFIG).unlink(), "BundleInvalid", "missing"),
    "an unlisted file": (lambda s: (s.bundle / "models/small/1/model.py").touch(), "BundleInvalid", "not listed"),
    "an unlisted pickle": (_pickle, "BundleInvalid", "not listed"),
    "an unlisted hidden file": (lambda s: (s.bundle / ".hidden").touch(), "BundleInvalid", "not listed"),
    "an unlisted second model": (_second_model, "BundleInvalid", "not listed"),
    "a link to a file outside": (
        lambda s: _swap(s, lambda p: p.symlink_to(s.outside / "secret")), "BundleInvalid", "is a link"),
    "a link to a file inside": (
        lambda s: _swap(s, lambda p: p.symlink_to(s.bundle / "README.md")), "BundleInvalid", "is a link"),
    "a link to itself": (lambda s: _swap(s, lambda p: p.symlink_to(p)), "BundleInvalid", "is a link"),
    "a dangling link": (lambda s: _swap(s, lambda p: p.symlink_to("nowhere")), "BundleInvalid", "is a link"),
    "a linked folder": (_folder_link, "BundleInvalid", "is a link"),
    "a link that goes round": (lambda s: (s.bundle / "loop").symlink_to(s.bundle), "BundleInvalid", "is a link"),
    "a linked manifest": (
        lambda s: _swap(s, lambda p: p.symlink_to(s.outside / "secret"), "manifest.json"), "BundleInvalid", "is a link"),  # noqa: E501
    "a hard link": (
        lambda s: _swap(s, lambda p: os.link(s.outside / "secret", p)), "BundleInvalid", "2 hard links"),
    "a hard link of the same content": (
        lambda s: os.link(s.bundle / CONFIG, s.outside / "kept"), "BundleInvalid", "2 hard links"),
    "a pipe": (lambda s: _swap(s, os.mkfifo), "BundleInvalid", "not a regular file"),
    "a pipe for a manifest": (lambda s: _swap(s, os.mkfifo, "manifest.json"), "BundleInvalid", "not a regular file"),
    "a folder for a manifest": (lambda s: _swap(s, os.mkdir, "manifest.json"), "BundleInvalid", "not a regular file"),
    "a folder for a file": (lambda s: _swap(s, os.mkdir), "BundleInvalid", "missing"),
    "a socket": (_socket, "BundleInvalid", "not a regular file"),
    "a device": (lambda s: (s.bundle / "zero").symlink_to("/dev/zero"), "BundleInvalid", "is a link"),
    "300 nested folders": (_deep, "BundleInvalid", "16 folders deep"),
    "a name that is not UTF-8": (_named(b"\xff\xfe"), "BundleInvalid", "control"),
    "a name with a line break": (_named(b"a\nerror: fine"), "BundleInvalid", "control"),
    "a name with a terminal escape": (_named(b"\x1b[2Jx"), "BundleInvalid", "control"),
    "a name that reads backwards": (_named("x\u202egpj.exe".encode()), "BundleInvalid", "control"),
    "a name with a backslash": (_named(b"..\\..\\evil"), "BundleInvalid", "backslash"),
    "a name that ends with a space": (_named(b"manifest.json "), "BundleInvalid", "space"),
    "a manifest in other letters": (_named(b"MANIFEST.JSON"), "BundleInvalid", "manifest itself"),
    "no manifest": (lambda s: (s.bundle / "manifest.json").unlink(), "ArtifactNotFound", "no manifest.json"),
    "a config that is not listed": (lambda s: _without(s, CONFIG), "BundleInvalid", "is not listed"),
}  # fmt: skip


def _after(name: str, change: Callable[[Stage], object]) -> Build:
    """Run ``change`` when the function ``module.name`` has returned for the first time."""

    def build(stage: Stage) -> None:
        import importlib

        module = importlib.import_module(name.rpartition(".")[0])
        function = getattr(module, name.rpartition(".")[2])
        done: list[bool] = []

        def wrapped(*arguments: object, **options: object) -> object:
            result = function(*arguments, **options)
            if not done:
                done.append(True)
                change(stage)
            return result

        stage.monkeypatch.setattr(name, wrapped)

    return build


def _rewrite(stage: Stage) -> None:
    data = bytearray((stage.bundle / CONFIG).read_bytes())
    data[0] ^= 1
    (stage.bundle / CONFIG).write_bytes(data)


LISTED, CHECKED = "model_packager.folder.list_files", "model_packager.transfer.check_listing"
RACES: dict[str, tuple[str, Build, str, str]] = {
    "altered between listing and upload": ("push", _after(CHECKED, _rewrite), "BundleInvalid", "changed while"),
    "replaced by a pipe between listing and upload": (
        "push", _after(CHECKED, lambda s: _swap(s, os.mkfifo)), "BundleInvalid", "not a regular file"),
    "replaced by a link between listing and upload": (
        "push", _after(CHECKED, lambda s: _swap(s, lambda p: p.symlink_to(s.outside / "secret"))),
        "BundleInvalid", "cannot be read"),
    "removed between listing and upload": (
        "push", _after(CHECKED, lambda s: (s.bundle / CONFIG).unlink()), "BundleInvalid", "No such file"),
    "altered between listing and hash": ("verify", _after(LISTED, _rewrite), "BundleInvalid", "altered"),
    "replaced by a link between listing and hash": (
        "verify", _after(LISTED, lambda s: _swap(s, lambda p: p.symlink_to(s.outside / "secret"))),
        "BundleInvalid", "cannot be read"),
    "replaced by a pipe between listing and hash": (
        "verify", _after(LISTED, lambda s: _swap(s, os.mkfifo)), "BundleInvalid", "not a regular file"),
    "replaced by a hard link between listing and hash": (
        "verify", _after(LISTED, lambda s: _swap(s, lambda p: os.link(s.outside / "secret", p))),
        "BundleInvalid", "2 hard links"),
    "removed between listing and hash": (
        "verify", _after(LISTED, lambda s: (s.bundle / CONFIG).unlink()), "BundleInvalid", "cannot be read"),
}  # fmt: skip
