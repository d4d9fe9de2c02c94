"""Where devcluster keeps binaries (cache) and clusters (state), after the XDG base directory rules."""

from __future__ import annotations

import os
import re
from pathlib import Path

from devcluster.errors import DevclusterError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")


def cache_home() -> Path:
    """Folder for what can be made again: built programs and images."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "tidegate"


def state_home() -> Path:
    """Folder that holds one folder a cluster; its lock files lie beside them."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "tidegate" / "devcluster"


def state_folder(name: str) -> Path:
    """Folder of the cluster ``name``; refuses names that are no DNS label of at most 30 characters."""
    if not _NAME.fullmatch(name):
        raise DevclusterError(
            f"'{name}' cannot name a cluster: use 1 to 30 lower-case letters, digits and '-', not at the ends"
        )
    return state_home() / name


def _xdg(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    # The specification says that a relative path in these variables is to be ignored.
    return Path(value) if value.startswith("/") else Path.home() / fallback
