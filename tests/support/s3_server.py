"""A real S3 server on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devcluster.gotools import ensure_tools
from devcluster.process import bound
from devcluster.progress import Progress

ACCESS_KEY = "stores-test"
SECRET_KEY = "stores-test-secret"


@dataclass
class S3Server:
    """A running server. ``data`` is its folder: each folder below is a bucket, each file an object."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a client gets."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
        }

    def bucket(self, name: str) -> Path:
        folder = self.data / name
        folder.mkdir()
        return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the S3 server ended with code {process.returncode}"
        try:
            with urllib.request.urlopen(f"{url}/", timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers; that it refuses an unsigned request is its job
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the S3 server did not answer in 30 s")


@contextmanager
def running_s3(data: Path) -> Iterator[S3Server]:
    """Start a server that keeps its objects in ``data``."""
    binary = ensure_tools(["versitygw"], Progress())["versitygw"]
    port = _free_port()
    environment = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY, "PATH": os.environ["PATH"]}
    command = [str(binary), "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(data)]
    process = subprocess.Popen(bound(command), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(url, process)
        yield S3Server(url, data, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
