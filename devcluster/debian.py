"""Install the Debian packages that the host driver and the image builds run on."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from devcluster.errors import DevclusterError

_LOCK = Path(tempfile.gettempdir()) / f"tidegate-apt.{os.getuid()}.lock"
_INSTALL_SECONDS = 900


def missing_packages(names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that dpkg does not report as fully installed, in the given order."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return []
    result = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    installed = {line.split()[0] for line in result.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in installed]


def ensure_debian_packages(names: Iterable[str]) -> list[str]:
    """Install what is missing of ``names`` and return what was installed; callers in other processes wait their turn.

    Raises DevclusterError where apt-get is absent, the caller is not root, or the installation fails.
    """
    if shutil.which("dpkg-query") is None:
        raise DevclusterError("this needs a Debian-based system (no dpkg-query found): use --driver kind or existing")
    wanted = list(names)
    if not missing_packages(wanted):
        return []
    if os.geteuid() != 0:
        raise DevclusterError(
            f"Debian packages are missing: {' '.join(missing_packages(wanted))}; "
            "install them with apt-get, or run this as root"
        )
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = missing_packages(wanted)  # another process may have installed them while this one waited
        if missing:
            _apt_get("update", "-qq")
            _apt_get("install", "-y", "-qq", "--no-install-recommends", *missing)
    return missing


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments]
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DevclusterError(f"{' '.join(command)} took longer than {_INSTALL_SECONDS} s") from error
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).strip().splitlines()[-5:])
        raise DevclusterError(f"{' '.join(command)} failed:\n{tail}")
