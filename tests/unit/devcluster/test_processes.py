"""Promises of how devcluster and the tests start other programs: nothing outlives who wanted it, one at a time."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devcluster.errors import DevclusterError
from devcluster.process import bound, file_lock

OWNER = """
import subprocess, time
from devcluster.process import bound
print(subprocess.Popen(bound(["sleep", "600"])).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_bound_process_ends_with_its_owner_however_that_ends(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        descriptor = os.pidfd_open(int(owner.stdout.readline()))
        owner.send_signal(number)
        ended, _, _ = select.select([descriptor], [], [], 10)
    os.close(descriptor)
    assert ended, "the process outlived its owner"


def test_a_bound_process_keeps_its_arguments_and_its_exit_code() -> None:
    found = subprocess.run(
        bound(["sh", "-c", 'echo "$1"; exit 7', "x", "--pdeathsig"]), capture_output=True, check=False
    )
    assert (found.returncode, found.stdout) == (7, b"--pdeathsig\n")


def test_who_comes_second_waits_or_is_told_what_to_do(tmp_path: Path) -> None:
    with (
        file_lock(tmp_path / "lock"),
        pytest.raises(DevclusterError, match="come back later"),
        file_lock(tmp_path / "lock", "come back later"),
    ):
        pass
    with file_lock(tmp_path / "lock", "come back later"):
        assert (tmp_path / "lock").exists()
