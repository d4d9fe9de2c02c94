"""The routers' counters of one revision's requests: what is asked for, and what it means.

What counts is the answer that a client got, not each try: Envoy counts a try that was repeated apart. Its HTTP
counters say nothing about gRPC, where the status is 200 whatever happened, so gRPC is read from the ``grpc_stats``
filter, which counts final answers by gRPC status, those of the router itself (time-out, no pod) among them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tidegate.domain.checks.windows import Bucket, Histogram, Traffic, add
from tidegate.domain.routing import grpc_cluster, http_cluster

GRPC_FAILURES = (2, 4, 12, 13, 14, 15)
"""UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: those that would be a 5xx of HTTP."""
TIME = "upstream_rq_time"
"""From the end of the request to the end of the answer, repeated tries included; requests that timed out are absent."""
HTTP_NAMES = ("upstream_rq_completed", ("upstream_rq_5xx",))
GRPC_NAMES = ("grpc.total", tuple(f"grpc.{status}" for status in GRPC_FAILURES))


def counters(revisions: Sequence[str]) -> str:
    """Path of the counters of ``revisions``, and of nothing else: a router has hundreds for each cluster."""
    names = "|".join(revisions)
    http = r"upstream_rq_(completed|5xx|time)"
    grpc = rf"(grpc\.(total|{'|'.join(map(str, GRPC_FAILURES))})|{TIME})"
    chosen = rf"^cluster\.({names})-(http\.{http}|grpc\.{grpc})$"
    return f"/stats?format=json&histogram_buckets=detailed&filter={quote(chosen, safe='')}"


def read_traffic(stats: Mapping[str, Any], revisions: Sequence[str]) -> dict[str, Traffic]:
    """What was counted for each revision. A counter that is absent has not counted yet: Envoy makes it when it does."""
    counts = {str(s["name"]): int(s["value"]) for s in stats["stats"] if "name" in s}
    times = {str(h["name"]): _histogram(h["totals"]) for h in _histograms(stats["stats"])}
    return {revision: add(_parts(revision, counts, times)) for revision in revisions}


def _parts(revision: str, counts: Mapping[str, int], times: Mapping[str, Histogram]) -> Iterator[Traffic]:
    for cluster, (requests, errors) in ((http_cluster(revision), HTTP_NAMES), (grpc_cluster(revision), GRPC_NAMES)):
        prefix = f"cluster.{cluster}."
        yield Traffic(
            requests=counts.get(prefix + requests, 0),
            errors=sum(counts.get(prefix + name, 0) for name in errors),
            latency=times.get(prefix + TIME, Histogram()),
        )


def _histograms(stats: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for item in stats:
        if "histograms" in item:
            yield from item["histograms"]["details"]


def _histogram(totals: Sequence[Mapping[str, Any]]) -> Histogram:
    """Buckets since the router started. It measures whole milliseconds: 6 stands for 6 to 7, not for 6 to 6.1."""
    buckets = ((float(b["lower_bound"]), float(b["width"]), int(b["count"])) for b in totals)
    return Histogram(tuple(Bucket(low, low + max(width, 1.0), count) for low, width, count in buckets))
