"""Pulling: a folder with a manifest is always whole, whatever was there and whenever the pull was killed."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_packager import placing, transfer
from model_packager.errors import BundleInvalid, FetchFailed, InvalidUsage
from model_packager.folder import read_manifest, verify_folder
from model_packager.manifest import Manifest, parse_root
from model_packager.placing import STAGING_NAME, pull
from model_packager.stores import Store, open_store


@pytest.fixture
def store(bundle: Path, tmp_path: Path) -> Store:
    root = parse_root(f"file://{tmp_path}/store")
    found = open_store(root, create=True)
    transfer.push(bundle, root, found)
    return found


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    return read_manifest(bundle)


class Killed(BaseException):
    """Stands for a signal: nothing may handle it."""


def test_a_new_folder_is_made_with_its_parents(manifest: Manifest, store: Store, tmp_path: Path) -> None:
    assert pull(manifest, store, tmp_path / "a/b/c")
    assert verify_folder(tmp_path / "a/b/c") == manifest
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["c"]


def test_an_empty_mount_point_is_filled_in_place(manifest: Manifest, store: Store, tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    before = (tmp_path / "mount").stat().st_ino
    assert pull(manifest, store, tmp_path / "mount")
    assert verify_folder(tmp_path / "mount") == manifest
    assert (tmp_path / "mount").stat().st_ino == before


def test_an_equal_bundle_is_left_alone(manifest: Manifest, store: Store, tmp_path: Path) -> None:
    pull(manifest, store, tmp_path / "to")
    before = (tmp_path / "to/manifest.json").stat().st_mtime_ns
    assert not pull(manifest, store, tmp_path / "to")
    assert (tmp_path / "to/manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("prepare", [lambda to: None, lambda to: to.mkdir()], ids=["new", "mount"])
def test_files_are_readable_by_the_server_whatever_the_umask(
    manifest: Manifest, store: Store, tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    prepare(tmp_path / "to")
    before = os.umask(0o077)
    try:
        pull(manifest, store, tmp_path / "to")
    finally:
        os.umask(before)
    for path in (tmp_path / "to").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda to: to.mkdir() or (to / "mine").touch(), "already holds 'mine'"),
        (lambda to: to.touch(), "is not a folder"),
        (lambda to: to.symlink_to(to.parent), "is not a folder"),
    ],
    ids=["foreign files", "a file", "a link"],
)
def test_what_is_there_is_never_overwritten(
    manifest: Manifest, store: Store, tmp_path: Path, prepare: Callable[[Path], object], words: str
) -> None:
    prepare(tmp_path / "to")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidUsage, match=words):
        pull(manifest, store, tmp_path / "to")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_altered_copy_is_not_taken_for_the_bundle(manifest: Manifest, store: Store, tmp_path: Path) -> None:
    pull(manifest, store, tmp_path / "to")
    (tmp_path / "to/README.md").write_text("changed")
    with pytest.raises(InvalidUsage, match="is not this bundle"):
        pull(manifest, store, tmp_path / "to")


def _kill_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Die at the n-th move of a finished file, as SIGKILL would: no cleanup runs."""
    moves: Iterator[int] = iter(range(1_000))
    rename = Path.rename

    def dying(self: Path, target: Path) -> Path:
        if next(moves) == call:
            raise Killed
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dying)
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **options: None)


@pytest.mark.parametrize("call", range(4))
def test_a_pull_that_was_killed_while_placing_is_finished_by_the_next(
    manifest: Manifest, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    (tmp_path / "mount").mkdir()
    with monkeypatch.context() as patch:
        _kill_at(patch, call)
        with pytest.raises(Killed):
            pull(manifest, store, tmp_path / "mount")
    assert not (tmp_path / "mount/manifest.json").exists()
    assert pull(manifest, store, tmp_path / "mount")
    assert verify_folder(tmp_path / "mount") == manifest


def test_a_pull_that_was_killed_after_placing_is_complete(manifest: Manifest, store: Store, tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    pull(manifest, store, tmp_path / "mount")
    (tmp_path / "mount" / STAGING_NAME).mkdir()
    assert not pull(manifest, store, tmp_path / "mount")
    assert verify_folder(tmp_path / "mount") == manifest


def test_a_pull_that_finds_the_work_done_by_another_accepts_it(
    manifest: Manifest, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = placing._download

    def while_another_pulls(*args: object) -> None:
        monkeypatch.setattr(placing, "_download", download)
        assert pull(manifest, store, tmp_path / "to")
        download(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(placing, "_download", while_another_pulls)
    assert not pull(manifest, store, tmp_path / "to")
    assert verify_folder(tmp_path / "to") == manifest


@pytest.mark.parametrize("keep", [0, 1], ids=["nothing", "one byte"])
def test_a_store_that_gives_too_little_is_noticed_whatever_it_claims(
    manifest: Manifest, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    read = store.read_blob
    monkeypatch.setattr(store, "read_blob", lambda digest, start, end: read(digest, start, end)[:keep])
    with pytest.raises(BundleInvalid, match="its sha256 differs"):
        pull(manifest, store, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_disk_that_is_too_small_is_named_before_the_download(
    manifest: Manifest, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage())
    with pytest.raises(FetchFailed, match="10 are free"):
        pull(manifest, store, tmp_path / "to")
    assert not (tmp_path / "to").exists()


class _Usage:
    free = 10


def test_a_folder_that_cannot_be_written_is_named(manifest: Manifest, store: Store, tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="could not be written to /proc"):
        pull(manifest, store, Path("/proc/no-such/to"))
