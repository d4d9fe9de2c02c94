"""Image archives: equal input gives equal bytes, and a file that is no archive is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster.archive import archive_of, full_name, read_archive, write_pause_image
from devcluster.errors import DevclusterError


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("a", "docker.io/library/a:latest"),
        ("a/b:1", "docker.io/a/b:1"),
        ("localhost/a:1", "localhost/a:1"),
        ("registry:5000/a", "registry:5000/a:latest"),
        ("ghcr.io/a/b:2", "ghcr.io/a/b:2"),
    ],
)
def test_names_are_completed_as_container_tools_do(short: str, full: str) -> None:
    assert full_name(short) == full


def test_the_pause_image_is_readable_and_reproducible(tmp_path: Path) -> None:
    program = tmp_path / "init"
    program.write_bytes(b"program")
    for name in ("one.tar", "two.tar"):
        write_pause_image(tmp_path / name, "localhost/pause:1", program)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    (image,) = read_archive(tmp_path / "one.tar")
    assert image.name == "localhost/pause:1"
    assert image.config_digest.startswith("sha256:")


def test_a_file_that_is_no_archive_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("no archive")
    with pytest.raises(DevclusterError, match=r"x\.tar is no docker-archive"):
        read_archive(tmp_path / "x.tar")


def test_a_missing_archive_is_named() -> None:
    with pytest.raises(DevclusterError, match=r"there is no file out/missing\.tar"), archive_of("out/missing.tar"):
        raise AssertionError("an archive was yielded")
