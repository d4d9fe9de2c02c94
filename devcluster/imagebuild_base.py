"""The base image of a build without Docker: Debian with Python, put together by mmdebstrap."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from devcluster import imagebuild_cache as cache
from devcluster.imagebuild_process import run_logged
from devcluster.progress import Progress

NAME = "base"
_SUITE = "bookworm"
# What the Dockerfiles find in the public default, python:3.11-slim-bookworm: venv and the shared library of Python.
_PACKAGES = ("python3", "python3-venv", "libpython3.11", "ca-certificates")
_EXCLUDED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*")
_CLEAN = (
    'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/var/log/*.log '
    '&& : > "$1"/etc/machine-id'
)
_BUILD_SECONDS = 1800


def _recipe() -> list[str]:
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(_PACKAGES)}",
        # Without it the package usrmerge comes along, and with it all of Perl.
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        f"--customize-hook={_CLEAN}",
        "--format=tar",
    ]


def base_hash() -> str:
    """Identity of the base image: its recipe, not the packages' versions of the day it was made."""
    return hashlib.sha256("\n".join([_SUITE, *_recipe()]).encode()).hexdigest()[:12]


def ensure_base(progress: Progress) -> Path:
    """Return the tar file of the base image's root file system, making it once; the build lock must be held.

    DEBIAN_MIRROR names another mirror than Debian's own. Raises DevclusterError where it cannot be made.
    """
    folder = cache.image_home()
    found = cache.find(folder, NAME, base_hash())
    if found is not None:
        return found
    path = cache.archive_path(folder, NAME, base_hash())
    log = folder / "logs" / f"{NAME}.log"
    log.write_text("")
    mirror = os.environ.get("DEBIAN_MIRROR", "")
    progress.say("making the base image (once; about two minutes)")
    with cache.publishing(path) as draft:
        command = [*_recipe(), _SUITE, str(draft), *([mirror] if mirror else [])]
        run_logged(command, what="image base", log=log, timeout=_BUILD_SECONDS, progress=progress)
    cache.prune(folder, NAME)
    return path
