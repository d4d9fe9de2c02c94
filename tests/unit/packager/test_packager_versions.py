"""What a semantic version promises: the rule, the version it is held to, and what a publisher is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_bundles import rewrite_manifest

from model_packager.commands import bundles as commands
from model_packager.compatibility import Change, ContractDiff
from model_packager.console import OutputFormat, Reporter
from model_packager.errors import ContractBroken, FetchFailed
from model_packager.folder import read_manifest
from model_packager.manifest import MANIFEST_NAME, parse_root
from model_packager.stores import open_store
from model_packager.stores.objects import ObjectStore
from model_packager.transfer import push
from model_packager.versions import check_promise, predecessor, version_problem

NONE = ContractDiff(())
MORE = ContractDiff((Change("OutputAdded", "more", "the output 'more' is new"),))
LESS = ContractDiff((*MORE.changes, Change("OutputRemoved", "scores", "the output 'scores' is gone or renamed")))

STEPS = [
    ("1.2.3", "1.2.4", NONE, None),
    ("1.2.3", "1.2.4", MORE, "1.3.0"),
    ("1.2.3", "1.3.0", MORE, None),
    ("1.2.3", "1.3.0-rc1", MORE, None),
    ("1.2.3", "2.0.0", MORE, None),
    ("1.2.3", "1.3.0", LESS, "2.0.0"),
    ("1.2.3", "1.9.9", LESS, "2.0.0"),
    ("1.2.3", "2.0.0", LESS, None),
    ("1.2.3", "2.0.0-rc1", LESS, None),
    ("0.2.3", "0.2.4", MORE, None),
    ("0.2.3", "0.2.4", LESS, "0.3.0"),
    ("0.2.3", "0.3.0", LESS, None),
    ("1.10.0", "1.9.0", LESS, None),  # a step back promises nothing
    ("1.2.3", "1.2.3-rc1", LESS, None),
    ("3", "4", LESS, None),
    ("1.2", "1.3", LESS, None),
    ("01.2.3", "1.2.4", LESS, None),
]


@pytest.mark.parametrize(("old", "new", "found", "needed"), STEPS)
def test_a_version_says_whether_clients_may_take_it(
    old: str, new: str, found: ContractDiff, needed: str | None
) -> None:
    problem = version_problem(old, new, found)
    assert (problem is None) == (needed is None)
    assert needed is None or f"needs the version {needed} or higher" in str(problem)


@pytest.mark.parametrize(
    ("published", "version", "expected"),
    [
        ([], "1.0.0", None),
        (["1.0.0", "1.9.0", "1.10.0", "2.0.0"], "1.11.0", "1.10.0"),
        (["1.0.0", "1.1.0-rc1"], "1.1.0", "1.0.0"),
        (["1.0.0", "1.1.0"], "1.1.0-rc2", "1.0.0"),
        (["1", "latest", "2.0.0"], "3.0.0", "2.0.0"),
        (["1.0.0"], "2", None),
        (["1.0.0"], "1.0.0", None),
    ],
)
def test_a_version_is_held_to_the_release_before_it(published: list[str], version: str, expected: str | None) -> None:
    assert predecessor(published, version) == expected


def _version(bundle: Path, version: str, max_batch_size: int) -> Path:
    manifest = read_manifest(bundle)
    contract = manifest.contract.model_copy(update={"max_batch_size": max_batch_size})
    changed = manifest.model_copy(update={"contract": contract})
    (bundle / MANIFEST_NAME).write_bytes(changed.canonical_bytes())
    return rewrite_manifest(bundle, version)


def test_a_publisher_is_told_of_a_promise_that_the_version_breaks(bundle: Path, tmp_path: Path) -> None:
    root = parse_root(f"file://{tmp_path}/store")
    store = open_store(root, create=True)
    push(_version(bundle, "1.2.0", 32), root, store)
    with pytest.raises(ContractBroken, match=r"1\.3\.0 breaks clients of 1\.2\.0 .*needs the version 2\.0\.0"):
        check_promise(read_manifest(_version(bundle, "1.3.0", 16)), root, store)
    with pytest.raises(ContractBroken, match=r"1\.2\.1 adds to 1\.2\.0 .*needs the version 1\.3\.0"):
        check_promise(read_manifest(_version(bundle, "1.2.1", 64)), root, store)
    with pytest.raises(ContractBroken, match="push it with --allow-breaking"):
        commands.push(_version(bundle, "1.3.0", 16), str(root), None, Reporter(OutputFormat.text))
    assert store.read_pointer("small", "1.3.0") is None
    commands.push(bundle, str(root), None, Reporter(OutputFormat.text), allow_breaking=True)
    assert store.read_pointer("small", "1.3.0") == read_manifest(bundle).digest()


def test_a_version_may_change_what_its_number_allows(bundle: Path, tmp_path: Path) -> None:
    root = parse_root(f"file://{tmp_path}/store")
    store = open_store(root, create=True)
    push(_version(bundle, "1.2.0", 32), root, store)
    for version, size in (("1.2.1", 32), ("1.3.0", 64), ("2.0.0", 16), ("7", 1)):
        check_promise(read_manifest(_version(bundle, version, size)), root, store)


def test_a_publisher_who_may_not_list_is_told_that_nothing_was_checked(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(store: ObjectStore, name: str) -> list[str]:
        raise FetchFailed("The store refused access.")

    monkeypatch.setattr(ObjectStore, "list_versions", refuse)
    commands.push(_version(bundle, "1.2.0", 32), f"file://{tmp_path}/store", None, Reporter(OutputFormat.text))
    assert "note: what version 1.2.0 promises was not checked: The store refused access." in capsys.readouterr().err
