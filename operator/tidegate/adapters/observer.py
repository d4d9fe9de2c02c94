"""What the observers of a namespace have compared, by their port for views."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from tidegate.adapters.bounded import Bounds, get_json
from tidegate.domain.checks.comparisons import Comparisons, Pair
from tidegate.domain.observed import PodView
from tidegate.resources.observer import VIEWS_PORT

TIMEOUT = urllib3.Timeout(connect=0.5, read=2.0)
BOUNDS = Bounds(seconds=5.0, size=4 * 1024 * 1024)
SCHEMA = "tidegate.dev/observer/v1"
LARGEST = 1 << 53
PARALLEL = 4


class ObserverTelemetry:
    """Asks every observer at once. One that does not answer, or not in our terms, is left out: no data, no verdict."""

    def __init__(self) -> None:
        self._http = urllib3.PoolManager(num_pools=16, maxsize=PARALLEL, retries=False, timeout=TIMEOUT)
        self._threads = ThreadPoolExecutor(max_workers=PARALLEL, thread_name_prefix="observers")

    def comparisons(self, observers: Sequence[PodView]) -> dict[str, Comparisons]:
        """Everything counted since each observer started, by the name of its pod."""
        asked = [pod for pod in observers if pod.address]
        found = zip(asked, self._threads.map(self._ask, asked), strict=True)
        return {pod.name: counted for pod, counted in found if counted is not None}

    def _ask(self, pod: PodView) -> Comparisons | None:
        try:
            return read_windows(get_json(self._http, f"http://{pod.address}:{VIEWS_PORT}/v1/windows", BOUNDS))
        except (HTTPError, OSError, ValueError, KeyError, TypeError, RecursionError):
            return None


def read_windows(windows: Mapping[str, Any]) -> Comparisons:
    """The counts of ``GET /v1/windows``. Raises ValueError, KeyError or TypeError for anything else."""
    if windows["schema"] != SCHEMA:
        raise ValueError(f"the observer speaks {windows['schema']!a:.80}, not {SCHEMA}")
    pairs: dict[Pair, tuple[int, int]] = {}
    for entry in windows["pairs"]:
        compared, agreed = entry["compared"], entry["agreed"]
        if not (type(compared) is int and type(agreed) is int and 0 <= agreed <= compared < LARGEST):
            raise ValueError("an observer's counts are no counts")
        pairs[Pair(str(entry["model"]), str(entry["answered"]), str(entry["replayed"]))] = compared, agreed
    return Comparisons(run=str(windows["run"]), plan=str(windows["plan"]), pairs=pairs)
