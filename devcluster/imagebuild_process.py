"""Run a long build step into a log file, and keep saying how far it is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.process import bound, last_lines
from devcluster.progress import HEARTBEAT_SECONDS, Progress

_STEP = re.compile(r"STEP \d+/\d+: .*|^#\d+ \[.*\d+/\d+\] .*", re.MULTILINE)
_SHOWN = 90


def run_logged(
    command: Sequence[str | Path],
    *,
    what: str,
    log: Path,
    timeout: float,
    progress: Progress,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run ``command`` with its output appended to ``log``; a line at least every 15 s names the step it is at.

    The command dies with this process, however this process ends. Raises DevclusterError with the log's last lines
    where the command fails or takes longer than ``timeout`` seconds.
    """
    words = [str(word) for word in command]
    begun = time.monotonic()
    with log.open("ab") as output:
        try:
            # Without its own process group a step that ignores the end of its parent would outlive it.
            process = subprocess.Popen(
                bound(words), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=env, process_group=0,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise DevclusterError(f"the program '{words[0]}' is not installed") from error
    try:
        _wait(process, what, log, begun, timeout, progress)
    except BaseException:
        _end(process)
        raise
    if process.returncode != 0:
        raise DevclusterError(f"{what} failed; the last lines of {log}:\n{last_lines(log, 15)}")


def current_step(log_text: str) -> str:
    """Return the last build step that a log of buildah or Docker names, shortened; empty where it names none."""
    steps = _STEP.findall(log_text)
    return " ".join(steps[-1].split())[:_SHOWN] if steps else ""


def _wait(
    process: subprocess.Popen[bytes], what: str, log: Path, begun: float, timeout: float, progress: Progress
) -> None:
    while True:
        left = timeout - (time.monotonic() - begun)
        if left <= 0:
            raise DevclusterError(f"{what} did not end within {timeout:.0f} s; the log is {log}")
        try:
            process.wait(timeout=min(HEARTBEAT_SECONDS, left))
            return
        except subprocess.TimeoutExpired:
            step = current_step(last_lines(log, 200))
            progress.say(f"{what}: {step or 'at work'} ({time.monotonic() - begun:.0f} s)")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
