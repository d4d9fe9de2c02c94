"""What Triton servers have counted: how long requests queued and computed, and in how many batches."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import urllib3
from prometheus_client.parser import text_string_to_metric_families
from urllib3.exceptions import HTTPError

from tidegate.adapters.bounded import Bounds, get_text
from tidegate.domain.observed import PodView
from tidegate.domain.scaling.load import Served
from tidegate.resources.triton import METRICS

TIMEOUT = urllib3.Timeout(connect=0.5, read=1.0)
BOUNDS = Bounds(seconds=2.0, size=4 * 1024 * 1024)
PARALLEL = 32
QUEUE = "nv_inference_queue_duration_us"
COMPUTE = (
    "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_compute_output_duration_us",
)
BATCHES = "nv_inference_exec_count"
MICROSECONDS = 1e-6


class TritonTelemetry:
    """Asks every server at once. One that is slow or says nothing sensible is left out: the others count for it."""

    def __init__(self) -> None:
        self._http = urllib3.PoolManager(num_pools=256, maxsize=1, retries=False, timeout=TIMEOUT)
        self._threads = ThreadPoolExecutor(max_workers=PARALLEL, thread_name_prefix="servers")

    def served(self, servers: Sequence[PodView]) -> dict[str, Served]:
        """What each server with an address has counted, by the name of its pod."""
        asked = [pod for pod in servers if pod.address]
        found = zip(asked, self._threads.map(self._ask, asked), strict=True)
        return {pod.name: counted for pod, counted in found if counted is not None}

    def _ask(self, pod: PodView) -> Served | None:
        try:
            return read_metrics(get_text(self._http, f"http://{pod.address}:{METRICS}/metrics", BOUNDS))
        except (HTTPError, OSError, ValueError, KeyError):
            return None


def read_metrics(text: str) -> Served:
    """The counts in Triton's metrics, over all models of the server. Raises ValueError or KeyError for other text."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removesuffix("_total")
            sums[name] = sums.get(name, 0.0) + sample.value
    return Served(
        queue_seconds=sums[QUEUE] * MICROSECONDS,
        compute_seconds=sum(sums[name] for name in COMPUTE) * MICROSECONDS,
        executions=sums[BATCHES],
    )
