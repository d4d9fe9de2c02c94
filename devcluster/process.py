"""Run other programs with a time limit and errors that a user can act on; locks between devcluster processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from devcluster.errors import DevclusterError


def run(
    command: Sequence[str | Path],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run ``command`` to its end and return its standard output.

    Raises DevclusterError with the last lines of its output where it fails, is absent, or exceeds ``timeout`` seconds.
    """
    words = [str(word) for word in command]
    shown = " ".join(words[:6]) + (" ..." if len(words) > 6 else "")
    try:
        result = subprocess.run(
            words, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DevclusterError(f"'{shown}' did not end within {timeout:.0f} s") from error
    except FileNotFoundError as error:
        raise DevclusterError(f"the program '{words[0]}' is not installed") from error
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).strip().splitlines()[-12:])
        raise DevclusterError(f"'{shown}' failed with exit code {result.returncode}:\n{tail}")
    return result.stdout


# The kernel tells of no end that came before it was asked to.
_IF_STILL_WANTED = 'test "$PPID" = "$0" && exec "$@"'


def bound(command: Sequence[str | Path]) -> list[str]:
    """``command`` as one that the kernel ends together with the thread that starts it, however that ends.

    Where there is no ``setpriv`` (util-linux) it is the command itself.
    """
    words = [str(word) for word in command]
    setpriv = shutil.which("setpriv")
    if not setpriv:
        return words
    return [setpriv, "--pdeathsig", "KILL", "--", "/bin/sh", "-c", _IF_STILL_WANTED, str(os.getpid()), *words]


def wait_until(check: Callable[[], bool], *, seconds: float, what: str, interval: float = 0.1) -> None:
    """Call ``check`` until it is true; raise DevclusterError naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise DevclusterError(f"{what}: not within {seconds:.0f} s")
        time.sleep(interval)


@contextmanager
def file_lock(path: Path, busy: str = "") -> Iterator[None]:
    """Hold an exclusive lock on ``path``; the kernel drops it when the process ends, however it ends.

    While another process holds it this one waits, or raises DevclusterError with ``busy`` where that says something.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            raise DevclusterError(busy) from error
        yield


def write_atomic(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace ``path`` by ``text`` in one step, so that a reader or a killed writer never sees half a file."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)


def last_lines(path: Path, count: int = 12) -> str:
    """Return the last ``count`` lines of a log, or a remark where there is none."""
    if not path.exists():
        return f"(no log at {path})"
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - 32_768))
        return "\n".join(handle.read().decode(errors="replace").splitlines()[-count:])
