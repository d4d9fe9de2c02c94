"""The end of a process that a test started."""

import subprocess
from typing import Any

SECONDS = 10


def end(process: subprocess.Popen[Any]) -> None:
    """Tell it to stop, and kill it if it does not in ten seconds."""
    process.terminate()
    try:
        process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(SECONDS)
