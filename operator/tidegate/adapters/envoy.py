"""The routers' own view of what they serve, by their read-only port."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from tidegate.adapters.bounded import Bounds, get_json
from tidegate.adapters.envoystats import counters, read_traffic
from tidegate.domain.checks.windows import Traffic
from tidegate.domain.observed import PodView
from tidegate.domain.routing import RouterReport, Table
from tidegate.resources.router import VIEWS_PORT

TIMEOUT = urllib3.Timeout(connect=0.5, read=2.0)
BOUNDS = Bounds(seconds=5.0, size=16 * 1024 * 1024)
VERSIONS = "/stats?type=TextReadouts&format=json&filter=version_text"
ENDPOINTS = "/clusters?format=json"
PARALLEL = 16
UNREADABLE = (HTTPError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""What asking a router and reading its answer may raise, whatever it answers."""


class EnvoyTelemetry:
    """Asks every router at once; a slow one delays nobody else for longer than the time-out."""

    def __init__(self) -> None:
        self._http = urllib3.PoolManager(num_pools=64, maxsize=4, retries=False, timeout=TIMEOUT)
        self._threads = ThreadPoolExecutor(max_workers=PARALLEL, thread_name_prefix="routers")

    def reports(
        self, routers: Sequence[PodView], table: Table, revisions: Sequence[str] = ()
    ) -> tuple[RouterReport, ...]:
        """One report a router that has an address, with the counts of ``revisions``."""
        asked = [pod for pod in routers if pod.address]
        return tuple(self._threads.map(lambda pod: self._report(pod, table, revisions), asked))

    def _report(self, pod: PodView, table: Table, revisions: Sequence[str]) -> RouterReport:
        try:
            versions = read_versions(self._get(pod, VERSIONS))
            endpoints = read_endpoints(self._get(pod, ENDPOINTS))
        except UNREADABLE:
            return RouterReport(pod=pod.name, reachable=False)
        return RouterReport(
            pod=pod.name,
            listeners=versions.get("listener_manager.lds.version_text", ""),
            clusters=versions.get("cluster_manager.cds.version_text", ""),
            routes={name: versions.get(f"http.{name}.rds.{name}.version_text", "") for name in table.routes},
            endpoints=endpoints,
            traffic=self._traffic(pod, revisions),
        )

    def _traffic(self, pod: PodView, revisions: Sequence[str]) -> Mapping[str, Traffic]:
        """What the router counted; nothing when it does not say, which makes its routes no less true."""
        if not revisions:
            return {}
        try:
            return read_traffic(self._get(pod, counters(revisions)), revisions)
        except UNREADABLE:
            return {}

    def _get(self, pod: PodView, path: str) -> Any:
        return get_json(self._http, f"http://{pod.address}:{VIEWS_PORT}{path}", BOUNDS)


def read_versions(stats: Mapping[str, Any]) -> dict[str, str]:
    """Version texts by name of the statistic."""
    return {s["name"]: str(s["value"]) for s in stats["stats"] if "name" in s}


def read_endpoints(clusters: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Addresses by cluster. A count would not do: it was right while the addresses were still the old ones."""
    found = {}
    for cluster in clusters.get("cluster_statuses", []):
        hosts = (h["address"]["socket_address"]["address"] for h in cluster.get("host_statuses", []))
        found[str(cluster["name"])] = frozenset(str(host) for host in hosts)
    return found
