"""Promises about the cache of built images: whole files only, and not more of them than needed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from devcluster import imagebuild_cache as cache
from devcluster import images
from devcluster.errors import DevclusterError
from devcluster.imagebuild_process import current_step, run_logged
from devcluster.imagebuild_spec import ImageSpec
from devcluster.progress import Progress


def make_archive(folder: Path, name: str, digest: str, age: int) -> Path:
    path = cache.archive_path(folder, name, digest)
    path.write_text("x")
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_the_three_last_used_archives_of_an_image_are_kept(tmp_path: Path) -> None:
    archives = [make_archive(tmp_path, "envoy", f"{age:012x}", age) for age in range(5)]
    used_again = archives[4]
    assert cache.find(tmp_path, "envoy", f"{4:012x}") == used_again
    assert set(cache.prune(tmp_path, "envoy")) == {archives[2], archives[3]}
    assert set(tmp_path.iterdir()) == {archives[0], archives[1], used_again}


def test_pruning_one_image_leaves_an_image_with_a_longer_name_alone(tmp_path: Path) -> None:
    others = [make_archive(tmp_path, "triton-cpu", f"{age:012x}", age) for age in range(5)]
    make_archive(tmp_path, "triton", "0" * 12, 9)
    assert cache.prune(tmp_path, "triton", kept=0) == [tmp_path / f"triton-{'0' * 12}.tar"]
    assert all(path.exists() for path in others)


def test_an_archive_appears_only_when_its_build_ended_well(tmp_path: Path) -> None:
    path = cache.archive_path(tmp_path, "envoy", "a" * 12)

    def fail_halfway() -> None:
        with cache.publishing(path) as draft:
            draft.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []
    with cache.publishing(path) as draft:
        draft.write_text("whole")
        assert cache.find(tmp_path, "envoy", "a" * 12) is None
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_build_that_writes_nothing_is_a_failure(tmp_path: Path) -> None:
    path = cache.archive_path(tmp_path, "envoy", "a" * 12)
    with pytest.raises(DevclusterError, match="ended without an archive"), cache.publishing(path):
        pass


def test_what_a_killed_build_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    kept = make_archive(tmp_path, "envoy", "a" * 12, 0)
    context = cache.work_folder(tmp_path, "envoy") / "context"
    context.mkdir(parents=True)
    (tmp_path / f".work-envoy-{'b' * 12}.tar").write_text("half")
    cache.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]


class FakeEngine:
    """Stands in for Docker and buildah: writes the staged files' names as the archive."""

    built: list[str]

    def __init__(self) -> None:
        self.built = []

    def identity(self, spec: ImageSpec) -> list[str]:
        return ["fake"]

    def prepare(self) -> None:
        return

    def build(self, job: images.Job) -> None:
        self.built.append(job.reference)
        names = sorted(path.name for path in job.context.rglob("*") if path.is_file())
        job.archive.write_text("\n".join(names))


def test_an_unchanged_image_is_built_once_and_then_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(images, "docker_answers", lambda: True)
    monkeypatch.setattr(images, "DockerEngine", lambda _progress: engine)
    first = images.build(["envoy"], Progress(quiet=True))
    second = images.build(["envoy"], Progress(quiet=True))
    assert first == second
    reference = first["envoy"].reference
    assert engine.built == [reference]
    assert reference.startswith("tidegate/envoy:dev-")
    digest = reference.removeprefix("tidegate/envoy:dev-")
    assert len(digest) == 12
    assert first["envoy"].archive_path == tmp_path / "tidegate" / "images" / f"envoy-{digest}.tar"
    assert first["envoy"].archive_path.read_text() == "Dockerfile\nrequirements.txt"


def test_a_failed_step_is_told_with_the_last_lines_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "envoy.log"
    command = [sys.executable, "-c", "print('no space left'); raise SystemExit(3)"]
    with pytest.raises(DevclusterError, match=r"image envoy failed; the last lines of .*envoy\.log:\nno space left"):
        run_logged(command, what="image envoy", log=log, timeout=60, progress=Progress(quiet=True))


def test_a_step_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
    log = tmp_path / "envoy.log"
    with pytest.raises(DevclusterError, match="image envoy did not end within 2 s"):
        run_logged(command, what="image envoy", log=log, timeout=2, progress=Progress(quiet=True))
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


@pytest.mark.parametrize(
    ("log", "step"),
    [
        ("[1/2] STEP 3/7: RUN pip install\nCollecting numpy\n", "STEP 3/7: RUN pip install"),
        ("#7 [build 2/5] RUN pip install\n#7 1.2 Collecting numpy\n", "#7 [build 2/5] RUN pip install"),
        ("Collecting numpy\n", ""),
    ],
)
def test_progress_names_the_step_of_either_engine(log: str, step: str) -> None:
    assert current_step(log) == step
