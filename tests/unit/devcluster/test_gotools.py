"""Programs are built from committed, pinned modules and rebuilt exactly when something about them changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster.errors import DevclusterError
from devcluster.gotools import GO_MODULES, GoModule, build_flags, content_hash, ensure_tools, module_version
from devcluster.progress import Progress


@pytest.fixture
def module_folder(tmp_path: Path) -> Path:
    (tmp_path / "go.mod").write_text("module x\n\nrequire k8s.io/kubernetes v1.2.3\n")
    (tmp_path / "go.sum").write_text("sum\n")
    return tmp_path


def test_the_hash_is_stable_for_equal_content(module_folder: Path) -> None:
    assert content_hash(module_folder, ["-a"], "go1") == content_hash(module_folder, ["-a"], "go1")


@pytest.mark.parametrize("file", ["go.mod", "go.sum"])
def test_a_changed_module_file_changes_the_hash(module_folder: Path, file: str) -> None:
    before = content_hash(module_folder, ["-a"], "go1")
    (module_folder / file).write_text("other\n")
    assert content_hash(module_folder, ["-a"], "go1") != before


@pytest.mark.parametrize(("flags", "version"), [(["-b"], "go1"), (["-a"], "go2"), (["-a", "go1"], "")])
def test_changed_flags_or_go_version_change_the_hash(module_folder: Path, flags: list[str], version: str) -> None:
    assert content_hash(module_folder, flags, version) != content_hash(module_folder, ["-a"], "go1")


@pytest.mark.parametrize("module", GO_MODULES, ids=lambda module: module.folder)
def test_every_module_is_committed_with_its_sums_and_lists_its_programs(module: GoModule) -> None:
    text = (module.path() / "go.mod").read_text()
    assert (module.path() / "go.sum").stat().st_size > 0
    for package in module.packages.values():
        assert package in text


def test_kubernetes_programs_know_their_version() -> None:
    module = next(module for module in GO_MODULES if module.folder == "k8s")
    version = module_version(module.path(), "k8s.io/kubernetes")
    assert f"gitVersion={version}" in " ".join(build_flags(module))


def test_an_unknown_tool_is_refused_with_the_known_names() -> None:
    with pytest.raises(DevclusterError, match="unknown tool nosuch; known are etcd"):
        ensure_tools(["nosuch"], Progress(quiet=True))
