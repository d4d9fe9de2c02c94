"""The routers' counters of one revision's requests: what is asked for, and what it means.

What counts is the answer that a client got, not each try: Envoy counts a try that was repeated apart. Its HTTP
counters say nothing about gRPC, where the status is 200 whatever happened, so gRPC is read from the ``grpc_stats``
filter, which counts final answers by gRPC status, those of the router itself (time-out, no pod) among them.

Requests that name a revision are counted by their route as well, and taken off here: the checks compare what chance
gave to each revision, and a person who tries the canary by name is not chance.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tidegate.domain.checks.windows import Bucket, Histogram, Traffic, add
from tidegate.domain.routing import grpc_cluster, holding, http_cluster, waiting_room
from tidegate.domain.scaling.load import Load

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
    chosen = rf"^(cluster|vhost\.[^.]+\.route)\.({names})-(http\.{http}|grpc\.{grpc})$"
    return f"/stats?format=json&histogram_buckets=detailed&filter={quote(chosen, safe='')}"


def read_traffic(stats: Mapping[str, Any], revisions: Sequence[str]) -> dict[str, Traffic]:
    """What was counted for each revision. A counter that is absent has not counted yet: Envoy makes it when it does."""
    counts = {_place(s["name"]): int(s["value"]) for s in stats["stats"] if "name" in s}
    times = {_place(h["name"]): _histogram(h["totals"]) for h in _histograms(stats["stats"])}
    return {revision: add(_parts(revision, counts, times)) for revision in revisions}


def _place(name: str) -> tuple[str, str]:
    """The name of a statistic without its first part, and whose it is: ``cluster``, or ``vhost`` for a route's own."""
    owner, _, rest = name.partition(".")
    return owner, rest if owner == "cluster" else rest.partition(".route.")[2]


def _parts(
    revision: str, counts: Mapping[tuple[str, str], int], times: Mapping[tuple[str, str], Histogram]
) -> Iterator[Traffic]:
    for cluster, (requests, errors) in ((http_cluster(revision), HTTP_NAMES), (grpc_cluster(revision), GRPC_NAMES)):
        whole, pinned = (
            Traffic(
                requests=counts.get((owner, f"{cluster}.{requests}"), 0),
                errors=sum(counts.get((owner, f"{cluster}.{name}"), 0) for name in errors),
                latency=times.get((owner, f"{cluster}.{TIME}"), Histogram()),
            )
            for owner in ("cluster", "vhost")
        )
        yield _without(whole, pinned)


def _without(whole: Traffic, pinned: Traffic) -> Traffic:
    """What is left, never below 0: the two are read one after the other, while requests go on."""
    off = {(bucket.lower, bucket.upper): bucket.count for bucket in pinned.latency.buckets}
    left = ((b.lower, b.upper, b.count - off.get((b.lower, b.upper), 0)) for b in whole.latency.buckets)
    return Traffic(
        requests=max(whole.requests - pinned.requests, 0),
        errors=max(whole.errors - pinned.errors, 0),
        latency=Histogram(tuple(Bucket(low, high, count) for low, high, count in left if count > 0)),
    )


def _histograms(stats: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for item in stats:
        if "histograms" in item:
            yield from item["histograms"]["details"]


def _histogram(totals: Sequence[Mapping[str, Any]]) -> Histogram:
    """Buckets since the router started. It measures whole milliseconds: 6 stands for 6 to 7, not for 6 to 6.1."""
    buckets = ((float(b["lower_bound"]), float(b["width"]), int(b["count"])) for b in totals)
    return Histogram(tuple(Bucket(low, low + max(width, 1.0), count) for low, width, count in buckets))


def load_counters(model: str, revisions: Sequence[str]) -> str:
    """Path of what scaling needs to know of a model: answers, requests under way, and those that are held."""
    names = "|".join(revisions) or "-"
    own = rf"cluster\.({names})-(http|grpc)(-or-hold)?\.upstream_rq_(completed|active|5xx|time)"
    held = rf"cluster\.{model}-hold-(http|grpc)\.upstream_rq_active"
    return f"/stats?format=json&histogram_buckets=detailed&filter={quote(f'^({own}|{held})$', safe='')}"


def read_loads(stats: Mapping[str, Any], model: str, revisions: Sequence[str]) -> dict[str, Load]:
    """The load of each revision; what a model's requests wait for is told with the first one."""
    counts = {_place(s["name"]): int(s["value"]) for s in stats["stats"] if "name" in s}
    times = {_place(h["name"]): _histogram(h["totals"]) for h in _histograms(stats["stats"])}

    def sum_of(clusters: Sequence[str], name: str) -> int:
        return sum(counts.get(("cluster", f"{cluster}.{name}"), 0) for cluster in clusters)

    found = {}
    waiting = sum_of([waiting_room(model, protocol) for protocol in ("http", "grpc")], "upstream_rq_active")
    for revision in revisions:
        clusters = (http_cluster(revision), grpc_cluster(revision))
        both = (*clusters, *map(holding, clusters))
        # The time of a request that was held says how long a pod takes to start, and nothing of the pods.
        answered = Traffic(
            requests=sum_of(both, "upstream_rq_completed"),
            errors=sum_of(both, "upstream_rq_5xx"),
            latency=add(
                Traffic(latency=times[place]) for c in clusters if (place := ("cluster", f"{c}.{TIME}")) in times
            ).latency,
        )
        found[revision] = Load(answered, sum_of(clusters, "upstream_rq_active"), waiting)
        waiting = 0
    return found
