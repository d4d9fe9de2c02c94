"""Listing a store and moving aliases, as the command line does it, on a real S3 server and on folders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from store_bundles import variant

from model_packager import transfer
from model_packager.errors import AliasConflict
from model_packager.folder import read_manifest
from model_packager.manifest import parse_root
from model_packager.stores import open_store
from model_packager.stores.objects import ObjectStore


@pytest.fixture(params=["s3", "file"])
def root(request: pytest.FixtureRequest, s3_environment: Any, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path}/store"
        return
    folder = s3_environment.bucket(f"listing-{uuid.uuid4().hex[:8]}")
    yield f"s3://{folder.name}/team"
    shutil.rmtree(folder)


def _push(folder: Path, root: str) -> str:
    parsed = parse_root(root)
    transfer.push(folder, parsed, open_store(parsed, create=True))
    return read_manifest(folder).digest()


def _command(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "model_packager.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_store_is_listed_with_digests_sizes_and_aliases(bundle: Path, root: str, tmp_path: Path) -> None:
    first = _push(bundle, root)
    second = _push(variant(bundle, tmp_path / "second", "second", "2"), root)
    _command("alias", f"{root}/wide:1", "prod")
    _command("alias", f"{root}/wide@prod", "stable")
    moved = json.loads(_command("alias", f"{root}/wide:2", "prod", "--output", "json"))
    assert moved == {"uri": f"{root}/wide@prod", "digest": second, "version": "2", "previous": first}
    listed = json.loads(_command("list", root, "--output", "json"))
    size = read_manifest(bundle).size_bytes
    assert [model["name"] for model in listed["models"]] == ["wide"]
    versions = listed["models"][0]["versions"]
    assert versions[0] == {"version": "1", "digest": first, "sizeBytes": size, "aliases": ["stable"]}
    assert (versions[1]["version"], versions[1]["digest"], versions[1]["aliases"]) == ("2", second, ["prod"])
    assert f"wide:2  {second}" in _command("list", root, "wide")
    assert json.loads(_command("resolve", f"{root}/wide@prod"))["digest"] == second


def test_a_damaged_version_does_not_hide_the_others(bundle: Path, tmp_path: Path) -> None:
    root = f"file://{tmp_path}/store"
    digest = _push(bundle, root)
    (tmp_path / "store/models/wide/broken").write_text("{")
    versions = json.loads(_command("list", root, "--output", "json"))["models"][0]["versions"]
    assert versions[0]["digest"] == digest
    assert "is not a JSON object" in versions[1]["problem"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("list", "ROOT", "narrow"), 3, "no version of narrow"),
        (("alias", "ROOT/wide:9", "prod"), 3, "no version 9 of wide; it has 1"),
        (("alias", "ROOT/wide:1", "Prod"), 2, "alias 'Prod' is not valid"),
        (("alias", "ROOT/wide:1", "sha256"), 2, "not sha256"),
        (("resolve", "ROOT/wide@prod"), 3, "no alias prod of wide, nor any other alias"),
    ],
)
def test_what_cannot_be_listed_or_named_is_one_clear_sentence(
    bundle: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    root = f"file://{tmp_path}/store"
    _push(bundle, root)
    message = _command(*(argument.replace("ROOT", root) for argument in arguments), code=code)
    assert words in message
    assert message.count("\n") == 1


def test_an_alias_that_was_moved_meanwhile_is_not_overwritten(
    bundle: Path, s3_environment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = s3_environment.bucket(f"aliases-{uuid.uuid4().hex[:8]}")
    root = f"s3://{folder.name}"
    first = _push(bundle, root)
    others = [_push(variant(bundle, tmp_path / v, v, v), root) for v in ("2", "3")]
    store = open_store(parse_root(root))
    store.move_alias("wide", "prod", first)
    gate = threading.Barrier(2, timeout=30)
    real_read = ObjectStore._read
    looked = threading.local()

    def read_together(self: ObjectStore, path: str) -> Any:
        found = real_read(self, path)
        if not getattr(looked, "once", False):
            looked.once = True
            gate.wait()  # both have seen the alias where it was
        return found

    def move(digest: str) -> str | None:
        try:
            store.move_alias("wide", "prod", digest)
        except AliasConflict as lost:
            return str(lost)
        return None

    with monkeypatch.context() as patched, ThreadPoolExecutor(2) as pool:
        patched.setattr(ObjectStore, "_read", read_together)
        told = list(pool.map(move, others))
    winner = told.index(None)
    assert others[winner] in (told[1 - winner] or "")
    assert store.read_alias("wide", "prod") == others[winner]
