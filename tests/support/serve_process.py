"""``model-packager serve`` as a process, and stand-ins for the programs that it starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from model_packager.folder import describe
from model_packager.manifest import MANIFEST_NAME
from model_packager.manifest import Manifest as BundleManifest

SECONDS = 60
"""Longest wait for anything that a test waits for."""

# A server that notes how it was started; MODE says what it does then.
TRITON = """#!{python}
import http.server, json, os, signal, subprocess, sys

open({notes!r}, "a").write(json.dumps({{"argv": sys.argv, "env": dict(os.environ)}}) + "\\n")
mode = os.environ.get("MODE", "")
if mode == "fails":
    print("E1121 08:00:01.2 1 lifecycle.cc:1] \\"failed to load 'small' version 1: Internal: opset 99 is\\nunknown\\"")
    print("I1121 08:00:01.3 1 server.cc:620]\\n+------+\\n| Model |\\n+------+")
    sys.exit(1)
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:] if "=" in word)


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = mode != "never" and self.path == "/v2/models/small/versions/1/ready"
        self.send_response(200 if ready else 400)
        self.end_headers()

    def log_message(self, *_):
        pass


if mode == "stubborn":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", {notes!r}])
    signal.signal(signal.SIGTERM, lambda *_: print("told to stop", flush=True))
print("listening", flush=True)
address = (given.get("http-address", "0.0.0.0"), int(given["http-port"]))
http.server.HTTPServer(address, Answer).serve_forever()
"""

# A docker that has no image yet, and whose container is the server above on the port that is published.
DOCKER = """#!{python}
import json, os, sys

open({notes!r}, "a").write(json.dumps({{"argv": sys.argv, "env": dict(os.environ)}}) + "\\n")
if sys.argv[1] == "image":
    sys.exit(1)
if sys.argv[1] == "pull":
    sys.exit("pull access denied" if "missing" in sys.argv[2] else 0)
if sys.argv[1] == "run":
    outside = next(word for word in sys.argv if word.endswith(":8000")).split(":")[1]
    os.execv({triton!r}, [{triton!r}, f"--http-port={{outside}}"])
"""


def write_programs(folder: Path, notes: Path, *, docker: bool = False) -> Path:
    """A folder for PATH with a ``tritonserver``, or with only a ``docker``; both note their arguments."""
    folder.mkdir()
    triton = folder.with_name(f"{folder.name}-triton") if docker else folder / "tritonserver"
    programs = {triton: TRITON}
    if docker:
        programs[folder / "docker"] = DOCKER
    for path, text in programs.items():
        path.write_text(text.format(python=sys.executable, notes=str(notes), triton=str(triton)))
        path.chmod(0o755)
    return folder


def free_ports(count: int = 3) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def port_options(ports: list[int]) -> list[str]:
    """The three ports as options."""
    return [f"--{kind}-port={port}" for kind, port in zip(("http", "grpc", "metrics"), ports, strict=True)]


# A run of the tests under nohup ignores hang-ups and would hand that down to the command. No preexec_fn: this process
# has threads of gRPC, and its code that runs at a fork ends the child now and then.
_HEARS_HANGUPS = ["/usr/bin/env", "--default-signal=HUP"]


class Serve:
    """A running command; what it prints is kept in files."""

    def __init__(self, folder: Path, path: str, *arguments: str, **environment: str) -> None:
        self._out, self._log = folder / "serve.out", folder / "serve.log"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        command = [*_HEARS_HANGUPS, sys.executable, "-m", "model_packager.cli", "serve", *arguments]
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=log,
                env={**os.environ, "PATH": path, "TMPDIR": str(self.temporary), **environment},
            )  # fmt: skip

    @property
    def log(self) -> str:
        """Standard error so far."""
        return self._log.read_text()

    @property
    def out(self) -> str:
        """Standard output so far."""
        return self._out.read_text()

    def announcement(self) -> str:
        """Standard output as soon as there is any: it is written in one piece when the model is ready."""
        self._wait(lambda: self.out.endswith("\n"))
        return self.out

    def wait_for_log(self, words: str) -> None:
        """Until standard error has ``words``."""
        self._wait(lambda: words in self.log)

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal if one is given, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def _wait(self, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not there():
            assert time.monotonic() < deadline, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.05)


def processes_with(words: str) -> list[int]:
    """Numbers of all processes that have ``words`` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words in line and path.parent.name != str(os.getpid()):
            found.append(int(path.parent.name))
    return found


def forge(bundle: Path, path: str, content: bytes) -> None:
    """Replace a file and list it as if it had been exported so: a bundle that verifies and is wrong."""
    (bundle / path).write_bytes(content)
    manifest = BundleManifest.model_validate_json((bundle / MANIFEST_NAME).read_bytes())
    files = tuple(describe(bundle, file.path) if file.path == path else file for file in manifest.files)
    (bundle / MANIFEST_NAME).write_bytes(manifest.model_copy(update={"files": files}).canonical_bytes())
