"""Publishers that race, that are killed, and bundles that are larger than memory should be: on real servers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from registry_server import RegistryServer
from store_actions import publish, race
from store_bundles import variant, with_large_file

from model_packager import transfer
from model_packager.folder import read_manifest, verify_folder
from model_packager.manifest import parse_reference, parse_root
from model_packager.stores import open_store

MEBI = 1024 * 1024
LARGE = 600 * MEBI
MAX_RESIDENT = 300 * MEBI
# Runs the command line and then reports its largest resident memory, in bytes. Not ru_maxrss, which a new process
# inherits from the test runner.
MEASURED = """
import re, sys
from pathlib import Path
from model_packager.cli import main
try:
    main()
finally:
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    print("resident", int(peak.group(1)) * 1024, file=sys.stderr)
"""


@pytest.fixture
def bucket(s3_environment: Any) -> Iterator[Path]:
    folder = s3_environment.bucket(f"crashes-{uuid.uuid4().hex[:8]}")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("round_", range(3))
def test_of_eight_publishers_of_different_content_exactly_one_wins(
    bundle: Path, bucket: Path, tmp_path: Path, round_: int
) -> None:
    winners = race([variant(bundle, tmp_path / f"{i}", f"card {i}") for i in range(8)], f"s3://{bucket.name}")
    assert len(winners) == 1
    assert json.loads((bucket / "models/wide/1").read_bytes()) == {"digest": winners[0]}


def test_eight_publishers_of_equal_content_all_succeed(bundle: Path, bucket: Path) -> None:
    assert race([bundle] * 8, f"s3://{bucket.name}") == [read_manifest(bundle).digest()] * 8


def _blobs(bucket: Path) -> set[str]:
    folder = bucket / "blobs/sha256"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "before the first file is there": lambda bucket: (bucket / "blobs").exists() or (bucket / ".sgwtmp").exists(),
    "after the first file": lambda bucket: len(_blobs(bucket)) >= 1,
    "after some files": lambda bucket: len(_blobs(bucket)) >= 4,
    "after most files": lambda bucket: len(_blobs(bucket)) >= 10,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_publish_shows_nothing_and_the_next_one_sends_only_what_is_missing(
    bundle: Path, bucket: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = f"s3://{bucket.name}"
    process = subprocess.Popen([sys.executable, "-m", "model_packager.cli", "push", bundle, root])
    deadline = time.monotonic() + 60
    while not MOMENTS[moment](bucket) and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.kill()
    assert process.wait(10) == -9, "the publish was done before it could be killed"
    assert not (bucket / "models").exists()
    assert open_store(parse_root(root)).list_versions("wide") == []

    there = _blobs(bucket)
    uploaded: list[str] = []
    real_put = obstore.put

    def counted(store: Any, path: str, *arguments: Any, **options: Any) -> Any:
        uploaded.append(path)
        return real_put(store, path, *arguments, **options)

    monkeypatch.setattr(obstore, "put", counted)
    publish(bundle, root)
    manifest = read_manifest(bundle)
    everything = {file.sha256 for file in manifest.files} | {manifest.digest().removeprefix("sha256:")}
    assert sorted(uploaded) == sorted([f"blobs/sha256/{blob}" for blob in everything - there] + ["models/wide/1"])


def _resident(*arguments: str | Path) -> int:
    command = [sys.executable, "-c", MEASURED, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1])


@pytest.fixture(scope="module")
def large_bundle(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = with_large_file(bundle, tmp_path_factory.mktemp("large") / "bundle", LARGE)
    yield folder
    shutil.rmtree(folder)


def test_a_large_bundle_is_moved_through_s3_in_bounded_memory(large_bundle: Path, bucket: Path, tmp_path: Path) -> None:
    root = f"s3://{bucket.name}"
    assert _resident("push", large_bundle, root) < MAX_RESIDENT
    assert _resident("pull", f"{root}/wide:1", "--to", tmp_path / "bundle") < MAX_RESIDENT
    assert verify_folder(tmp_path / "bundle").digest() == read_manifest(large_bundle).digest()
    shutil.rmtree(tmp_path / "bundle")


def test_a_large_bundle_is_moved_through_a_registry_in_bounded_memory(
    large_bundle: Path, registry: RegistryServer, tmp_path: Path
) -> None:
    root = f"oci://{registry.address}/large"
    assert _resident("push", large_bundle, root) < MAX_RESIDENT
    assert _resident("pull", f"{root}/wide:1", "--to", tmp_path / "bundle") < MAX_RESIDENT
    assert verify_folder(tmp_path / "bundle").digest() == read_manifest(large_bundle).digest()
    shutil.rmtree(tmp_path / "bundle")
    shutil.rmtree(registry.data)


def test_a_killed_pull_leaves_no_bundle_and_the_next_one_is_whole(bundle: Path, bucket: Path, tmp_path: Path) -> None:
    root = f"s3://{bucket.name}"
    uri = publish(bundle, root)
    target = tmp_path / "place" / "bundle"
    process = subprocess.Popen([sys.executable, "-m", "model_packager.cli", "pull", uri, "--to", target])
    deadline = time.monotonic() + 60
    while not any(os.walk(tmp_path / "place")) and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.kill()
    process.wait(10)
    assert not target.exists() or verify_folder(target)
    assert _resident("pull", uri, "--to", target)
    assert verify_folder(target).digest() == transfer.resolve(parse_reference(uri), open_store(parse_root(root)))
