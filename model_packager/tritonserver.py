"""A Triton server for one model repository: the program of this machine, or a container of an image.

It gets the flags that it gets in a pod, so that what loads here loads there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from model_packager.errors import InvalidUsage, ServerMissing

DEFAULT_IMAGE: Final = "nvcr.io/nvidia/tritonserver:26.10-py3"
EXIT_TIMEOUT: Final = 10
"""Seconds that Triton gives to requests in flight when it is told to stop."""
HTTP, GRPC, METRICS = 8000, 8001, 8002
_MOUNTED: Final = "/models"
_ASK_SECONDS: Final = 20
_PULL_SECONDS: Final = 3600


class Accelerator(StrEnum):
    """Which configuration of the bundle is served."""

    cpu = "cpu"
    gpu = "gpu"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the server listens: an IPv4 address of this machine, and three ports of it."""

    host: str
    http: int
    grpc: int
    metrics: int

    @property
    def reachable(self) -> str:
        """The host to ask from this machine: a server on every address is asked on the loopback one."""
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start a server; ``remove`` ends what a signal to the started process may leave behind."""

    command: list[str]
    shown: str
    environment: dict[str, str] = field(default_factory=dict)
    remove: list[str] | None = None


def flags(repository: str, accelerator: Accelerator, http: int, grpc: int, metrics: int) -> list[str]:
    """Flags of tritonserver: the repository is fixed at start, and a model that does not load ends the process."""
    return [
        f"--model-repository={repository}",
        f"--model-config-name={accelerator}",
        "--model-control-mode=none",
        "--exit-on-error=true",
        "--strict-readiness=true",
        "--disable-auto-complete-config",
        f"--http-port={http}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
        f"--exit-timeout-secs={EXIT_TIMEOUT}",
    ]


def find(
    repository: Path,
    address: Address,
    accelerator: Accelerator,
    image: str | None,
    shm_size: str,
    say: Callable[[str], None],
) -> Launch:
    """The installed server if no image was asked for, else Docker, which fetches an image that it lacks.

    Raises ServerMissing, with what to install, if neither can be had.
    """
    repository = repository.resolve()
    installed = None if image else shutil.which("tritonserver")
    if installed:
        return _installed(installed, repository, address, accelerator)
    docker = shutil.which("docker")
    if docker is None:
        what = "The program docker, which --image needs, is not" if image else "Neither tritonserver nor docker is"
        raise ServerMissing(f"{what} on PATH; install Docker, or Triton with its ONNX Runtime backend.")
    if ":" in str(repository):
        raise InvalidUsage(f"Docker cannot mount {repository}, because of the colon in it; move the bundle.")
    _fetch_image(docker, image or DEFAULT_IMAGE, say)
    return _container(docker, image or DEFAULT_IMAGE, repository, address, accelerator, shm_size)


def _installed(program: str, repository: Path, address: Address, accelerator: Accelerator) -> Launch:
    listening = [f"--{what}-address={address.host}" for what in ("http", "grpc", "metrics")]
    ports = (address.http, address.grpc, address.metrics)
    return Launch(
        command=[program, *flags(str(repository), accelerator, *ports), *listening],
        shown=program,
        environment={"TRITON_SERVER_CPU_ONLY": "1"} if accelerator is Accelerator.cpu else {},
    )


def _container(
    docker: str, image: str, repository: Path, address: Address, accelerator: Accelerator, shm_size: str
) -> Launch:
    name = f"model-packager-{os.urandom(6).hex()}"
    pairs = ((address.http, HTTP), (address.grpc, GRPC), (address.metrics, METRICS))
    ports = [f"--publish={address.host}:{outside}:{inside}" for outside, inside in pairs]
    device = ["--env=TRITON_SERVER_CPU_ONLY=1"] if accelerator is Accelerator.cpu else ["--gpus=all"]
    return Launch(
        command=[
            # The server as process 1 would lose a SIGTERM that comes before its models are loaded.
            docker, "run", "--rm", "--init", f"--name={name}", *ports, f"--volume={repository}:{_MOUNTED}:ro",
            f"--shm-size={shm_size}", *device, image,
            "tritonserver", *flags(_MOUNTED, accelerator, HTTP, GRPC, METRICS),
        ],
        shown=f"{image} by docker",
        remove=[docker, "rm", "--force", name],
    )  # fmt: skip


def _fetch_image(docker: str, image: str, say: Callable[[str], None]) -> None:
    """Before the server is given time to become ready: an image is many gigabytes."""
    if _docker([docker, "image", "inspect", image], _ASK_SECONDS, quiet=True) == 0:
        return
    say(f"fetching the image {image}")
    if _docker([docker, "pull", image], _PULL_SECONDS) != 0:
        raise ServerMissing(
            f"Docker could not fetch the image {image}; see its message above, and name another one by --image."
        )


def _docker(command: list[str], seconds: float, *, quiet: bool = False) -> int:
    output = subprocess.DEVNULL if quiet else sys.stderr
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=seconds, check=False
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise ServerMissing(f"{' '.join(command)} did not end within {seconds:.0f} s; check Docker.") from error
