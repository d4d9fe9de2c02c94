"""One real cluster for every test in this folder: containerd, kubelet, Triton, Envoy and an S3 store."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import e2e_models
import pytest
import yaml
from e2e_models import Bundle, Store
from e2e_world import STORE_NAMESPACE, Space, World

import devcluster
from devcluster.paths import state_home
from devcluster.process import file_lock
from devcluster.progress import Progress
from devcluster.ward import warded
from examples.digits.installation import Platform, reach, samples, start

ROOT = Path(__file__).resolve().parents[2]
CHART_VALUES = {
    # Pods and routers of a dozen namespaces share a node of two cores.
    "router.resources.requests.cpu": "10m",
    # The cluster's DNS does not cache its own domain, so routers learn of a leaving pod within two seconds: the
    # default of 40 s would only make every rollout and every deletion wait. One test runs with the default.
    "drainSeconds": "5",
    # Models of the operator's own routers need no kinds of the Gateway API for it, and one file of tests installs them.
    "gatewayAPI.enabled": "true",
}
KEEP = "TIDEGATE_E2E_KEEP"
"""Set it to keep the cluster after the run, to look around or to start the next run sooner."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test also pays for the cluster, and on a new machine for compiling it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1800))


class Shown(Progress):
    """Progress that pytest does not keep to itself."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__()
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        with self._lock, self._capture.global_and_fixture_disabled():
            super().say(text)


@pytest.fixture(scope="session")
def progress(request: pytest.FixtureRequest) -> Progress:
    """Says on standard error what the tests are doing."""
    return Shown(request.config)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Bundles by name and version; those of the adder, 1 to 3, are what most tests serve."""
    folder = tmp_path_factory.mktemp("bundles")
    made = [e2e_models.make(folder, "adder", str(n), float(n)) for n in (1, 2, 3)]
    made += [e2e_models.remake(made[0], version, change) for version, change in e2e_models.FAULTS.items()]
    made.append(e2e_models.make(folder, "adder", "renamed", 1.0, output="z"))
    made.append(e2e_models.make(folder, "doubter", "1", 100.0))
    made.append(e2e_models.make(folder, e2e_models.LONGEST, "1", 200.0))
    return {f"{b.name}:{b.version}": b for b in made}


def _store(platform: Platform) -> str:
    """The sample store in a namespace of its own."""
    documents = [d for d in yaml.safe_load_all(samples(platform)) if d["kind"] != "ModelDeployment"]
    for document in documents:
        document["metadata"]["name" if document["kind"] == "Namespace" else "namespace"] = STORE_NAMESPACE
    return yaml.safe_dump_all(documents)


@pytest.fixture(scope="session")
def world(progress: Progress, bundles: dict[str, Bundle]) -> Iterator[World]:
    """The cluster, with the bundles in its store. It goes with this process, unless it is to be kept."""
    name = f"e2e-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}"
    busy = f"another test run of this folder has the cluster {name}: wait for its end, or clone into another folder"
    whole = nullcontext() if os.environ.get(KEEP) else taken_down(name, progress)
    with file_lock(state_home() / ".locks" / f"+{name}", busy), whole:
        platform = start(name, progress, chart_values=CHART_VALUES)
        with progress.step("artifact store"):
            platform.kubectl("delete", "namespace", STORE_NAMESPACE, "--ignore-not-found", "--timeout=90s", timeout=100)
            platform.kubectl.apply(_store(platform))
            ready = ("-n", STORE_NAMESPACE, "rollout", "status", "deployment/store", "--timeout=120s")
            platform.kubectl(*ready, timeout=130)
        with reach(platform, STORE_NAMESPACE, "store", 7070) as endpoint:
            store = Store(endpoint)
            with progress.step("publishing the bundles"), ThreadPoolExecutor(2) as pool:
                list(pool.map(store.push, bundles.values()))
            yield World(platform, progress, store, bundles, dict(CHART_VALUES))


@contextmanager
def taken_down(name: str, progress: Progress) -> Iterator[None]:
    """The cluster is gone afterwards, also where this process is killed."""
    with warded(name):
        try:
            yield
        finally:
            with progress.step("taking the cluster down"):
                devcluster.find(name).down()


@pytest.fixture(scope="module")
def make_space(world: World) -> Iterator[Callable[[str], Space]]:
    """Makes namespaces that go when the module's tests are done."""
    spaces: list[Space] = []

    def make(name: str) -> Space:
        space = Space(world, f"e2e-{name}")
        spaces.append(space)
        space.create()
        return space

    yield make
    for space in spaces:
        space.remove()
