"""First process of a cluster: prepares its namespaces, starts what is asked for, and takes everything along at its end.

Run as ``python -m devcluster.host.supervisor FOLDER [--isolated]``. It restarts nothing: a component that ends is
written to the status file with its exit code, and people are told. With ``--isolated`` it is process 1 of a PID
namespace, so the kernel ends every process of the cluster, containers included, the moment it ends.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from devcluster.host.components import Component, ComponentStatus, save_status
from devcluster.host.isolation import isolate
from devcluster.host.layout import Layout

_POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _start(component: Component, layout: Layout) -> ComponentStatus:
    with layout.log(component.name).open("ab") as log:
        process = subprocess.Popen(
            component.argv,
            env={**os.environ, **component.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,
            start_new_session=True,
        )
    return ComponentStatus(component.name, process.pid)


def _reap() -> dict[int, int]:
    """Collect every ended child, adopted ones too: exit code (or minus the signal) by pid."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def supervise(layout: Layout) -> None:
    """Serve requests from the components folder until this process is ended."""
    known: dict[str, ComponentStatus] = {}
    save_status(layout.status, known)
    while True:
        changed = False
        for path in sorted(layout.components.glob("*.json")):
            if path.stem not in known:
                known[path.stem] = _try_start(path, layout)
                changed = True
        ended = _reap()
        for name, status in known.items():
            if status.running and status.pid in ended:
                known[name] = ComponentStatus(name, status.pid, ended[status.pid])
                changed = True
        if changed:
            save_status(layout.status, known)
        time.sleep(_POLL_SECONDS)


def _try_start(path: Path, layout: Layout) -> ComponentStatus:
    try:
        return _start(Component.read(path), layout)
    except OSError as error:
        layout.log(path.stem).write_text(f"cannot start: {error}\n")
        return ComponentStatus(path.stem, 0, exit_code=127)


def main() -> None:
    root = Path(sys.argv[1])
    layout = Layout(root.name, root)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if "--isolated" in sys.argv[2:]:
        isolate(layout)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal of `up` is not meant for the cluster
    supervise(layout)


if __name__ == "__main__":
    main()
