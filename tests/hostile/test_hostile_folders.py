"""Bundle folders that are not exactly what their manifest says, before and while they are read."""

from __future__ import annotations

import pytest
from hostile_folders import FOLDERS, RACES
from hostile_stage import Stage, refused


@pytest.mark.parametrize("command", ["verify", "push"])
@pytest.mark.parametrize("what", FOLDERS)
def test_a_hostile_folder_is_refused_with_a_reason(
    stage: Stage, what: str, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    build, reason, words = FOLDERS[what]
    build(stage)
    refused(stage, [command, "{bundle}", *(["{store}"] if command == "push" else [])], reason, words, capfd)


@pytest.mark.parametrize("what", RACES)
def test_a_file_that_changes_while_it_is_read_is_refused(
    stage: Stage, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    command, build, reason, words = RACES[what]
    for blob in (stage.store / "blobs/sha256").iterdir():
        blob.unlink()  # so that there is something to upload
    (stage.store / "models/small/1").unlink()
    arguments = [command, "{bundle}", *(["{store}"] if command == "push" else [])]
    refused(stage, arguments, reason, words, capfd, during=build)
    assert not (stage.store / "models/small/1").exists(), "the version was published"
