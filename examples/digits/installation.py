"""A cluster with Tidegate in it: what the demo and the end-to-end tests start from."""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import devcluster
from devcluster.driver import Cluster
from devcluster.errors import DevclusterError
from devcluster.gotools import ensure_tools
from devcluster.gotools import kubectl as kubectl_path
from devcluster.images import ImageRef, build
from devcluster.kube import Kubectl
from devcluster.process import bound, run
from devcluster.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "tidegate-system"
IMAGES = ("operator", "packager", "observer", "envoy", "triton-cpu", "store")


@dataclass(frozen=True)
class Platform:
    """A cluster, a way to talk to it, and the images that were loaded into it."""

    cluster: Cluster
    kubectl: Kubectl
    images: dict[str, ImageRef]

    def tag(self, image: str) -> str:
        """Tag of one of the images."""
        return self.images[image].reference.rsplit(":", 1)[1]


def start(name: str, progress: Progress, *, chart_values: dict[str, str] | None = None) -> Platform:
    """A cluster with the operator running in it. Whatever of it is there already is kept."""
    with progress.step("cluster"):
        cluster = devcluster.up(name, progress=progress)
    with progress.step("images"):
        images = build(IMAGES, progress)
    platform = Platform(cluster, Kubectl(cluster.kubeconfig), images)
    for image in images.values():
        cluster.load_image(str(image.archive_path))
    with progress.step("operator, by its Helm chart"):
        install(platform, progress, chart_values or {})
    return platform


def install(platform: Platform, progress: Progress, values: dict[str, str]) -> None:
    """Install or upgrade the chart, and wait until the operator runs."""
    helm = ensure_tools(["helm"], progress)["helm"]
    settings = {
        "image.tag": platform.tag("operator"),
        "packager.image.tag": platform.tag("packager"),
        "observer.image.tag": platform.tag("observer"),
        "router.image.repository": "tidegate/envoy",
        "router.image.tag": platform.tag("envoy"),
    } | values
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command: list[str | Path] = [helm, "upgrade", "--install", "tidegate", ROOT / "charts" / "tidegate", *sets]
    where: list[str | Path] = ["--namespace", SYSTEM, "--create-namespace", "--kubeconfig", platform.cluster.kubeconfig]
    run([*command, *where, "--wait", "--timeout", "3m"], timeout=240)


def samples(platform: Platform) -> str:
    """The sample manifests with the images that were built, as YAML."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "samples"
        shutil.copytree(ROOT / "manifests" / "samples", copy)
        tags = {"tidegate/triton-cpu": platform.tag("triton-cpu"), "tidegate/store": platform.tag("store")}
        lines = [f"  - name: {name}\n    newTag: {tag}\n" for name, tag in tags.items()]
        with (copy / "kustomization.yaml").open("a") as file:
            file.write("images:\n" + "".join(lines))
        return platform.kubectl("kustomize", str(copy))


def condition(platform: Platform, namespace: str, model: str, kind: str = "Ready") -> dict[str, str]:
    """One condition of a ModelDeployment, empty while it has none, and only if it is about the newest spec."""
    found = json.loads(platform.kubectl("-n", namespace, "get", "md", model, "-o", "json"))
    status = found.get("status", {})
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return {}
    return next((c for c in status.get("conditions", []) if c["type"] == kind), {})


def wait_ready(
    platform: Platform, namespace: str, model: str, *, seconds: float, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Wait until the newest spec serves. Raises DevclusterError with the last reason when it does not in time."""
    deadline, last = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        ready = condition(platform, namespace, model)
        if ready.get("status") == "True":
            return
        said = f"{ready['reason']}: {ready['message']}" if ready else "the operator has not looked at it yet"
        if said != last:
            tell(said)
            last = said
        time.sleep(0.5)
    raise DevclusterError(f"{namespace}/{model} was not ready within {seconds:.0f} s; last said {last}")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def reach(platform: Platform, namespace: str, service: str, port: int) -> Iterator[str]:
    """``host:port`` under which a Service answers from here: its own address where there is a way, else a forward."""
    address = platform.kubectl("-n", namespace, "get", "svc", service, "-o", "jsonpath={.spec.clusterIP}")
    if _answers(address, port):
        yield f"{address}:{port}"
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        local = free.getsockname()[1]
    forward = ["port-forward", "-n", namespace, f"svc/{service}", f"{local}:{port}"]
    process = subprocess.Popen(
        bound([kubectl_path(), "--kubeconfig", platform.cluster.kubeconfig, *forward]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 15
        while not _answers("127.0.0.1", local):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DevclusterError(f"cannot reach Service {namespace}/{service} on port {port}")
            time.sleep(0.1)
        yield f"127.0.0.1:{local}"
    finally:
        process.terminate()
        process.wait(timeout=10)
