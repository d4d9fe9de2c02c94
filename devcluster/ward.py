"""Takes a cluster down when the process that wanted it has ended without doing so, however it ended."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster.drivers import find

END_SECONDS = 10.0


@contextmanager
def warded(name: str) -> Iterator[None]:
    """While this process is inside, the cluster ``name`` does not outlive it, even where it is killed.

    The ward is a process in a session of its own, so that a signal to all processes of a terminal does not end it.
    """
    ward = subprocess.Popen(
        [sys.executable, "-m", "devcluster.ward", name, str(os.getpid())],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        ward.terminate()
        ward.wait(END_SECONDS)


def watch(name: str, pid: int) -> None:
    """Wait for the end of the process ``pid``, the parent of this one, and take the cluster down."""
    with contextlib.suppress(ProcessLookupError):
        owner = os.pidfd_open(pid)
        # A number that was given anew is not the parent.
        if os.getppid() == pid:
            select.select([owner], [], [])
    find(name).down()


if __name__ == "__main__":
    watch(sys.argv[1], int(sys.argv[2]))
