"""What a router needs to hand sampled exchanges to the observer, beside their path.

Envoy's external processing in observability mode sends and goes on: a dead, slow or frozen observer fails no request.
The filter is in every model's listener, switched off, and only the sampled twin of a route switches it on: so sampling
begins and ends with a route, which reaches open connections at once and ends none of them.
"""

from typing import Any

from tidegate.domain.names import OBSERVER
from tidegate.domain.routing import Route, Table, sampled
from tidegate.resources.observer import TAP_PORT

Json = dict[str, Any]
TYPE = "type.googleapis.com/envoy."
FILTER = "tap"
LARGEST = 1024 * 1024
"""Largest request over HTTP that is handed over, in bytes. What a frozen observer can make a router hold is 8 times
request and answer. A request over gRPC does not say how large it is: the observer ends the stream of a larger one.
"""
MAX_EXCHANGES = 8
"""Exchanges that one router hands over at the same time; more pass by unobserved."""
HTTP_INFER = r"/v2/models/[^/]+(/versions/[^/]+)?/infer"
GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"
PARTS = 10_000
"""A percent in the parts of which the sampled share is made.

Envoy draws one number a request for both, the share and the weights. In parts of a hundred, a sample of 5 % would be
the requests that drew 0 to 4, and these all go to the first revision; in parts of a million each remainder of a hundred
is as likely inside the sample as outside.
"""


def http_filter() -> Json:
    """The filter, off unless a route switches it on."""
    return {
        "name": FILTER,
        "disabled": True,
        "typed_config": {
            "@type": TYPE + "extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": OBSERVER}, "timeout": "5s"},
            "observability_mode": True,
            "failure_mode_allow": True,
            "processing_mode": {
                "request_body_mode": "STREAMED",
                "response_body_mode": "STREAMED",
                "response_trailer_mode": "SEND",
            },
            "response_attributes": ["xds.cluster_name"],
        },
    }


def with_twins(entry: Route, config: Json) -> Json:
    """A route configuration in which every split by weight has a twin that takes the sampled share of its inferences.

    A twin differs in nothing but that the exchange is handed over. Routes that a request chooses by itself have none:
    who asks by name is no random sample.
    """
    if not entry.sample_percent:
        return config
    hosts = [host | {"routes": _before_each(entry.sample_percent, host["routes"])} for host in config["virtual_hosts"]]
    return config | {"virtual_hosts": hosts}


def _before_each(percent: int, routes: list[Json]) -> list[Json]:
    found = []
    for route in routes:
        if "weighted_clusters" in route.get("route", {}):
            found.append(_twin(percent, route))
        found.append(route)
    return found


def _twin(percent: int, route: Json) -> Json:
    grpc = "grpc" in route["match"]
    match = {key: value for key, value in route["match"].items() if key not in ("safe_regex", "path", "prefix")}
    match |= {"path": GRPC_INFER} if grpc else {"safe_regex": {"regex": HTTP_INFER}}
    if not grpc:
        bound = {"name": "content-length", "range_match": {"start": 0, "end": LARGEST + 1}}
        match["headers"] = [*match.get("headers", ()), bound]
    share = {"numerator": percent * PARTS, "denominator": "MILLION"}
    match["runtime_fraction"] = {"default_value": share}
    on = {FILTER: {"@type": TYPE + "config.route.v3.FilterConfig", "config": {}}}
    return {**route, "match": match, "typed_per_filter_config": route.get("typed_per_filter_config", {}) | on}


def clusters(table: Table, namespace: str, cluster_domain: str) -> list[Json]:
    """The observer's pods, while any model is sampled."""
    if not sampled(table):
        return []
    options = "extensions.upstreams.http.v3.HttpProtocolOptions"
    host = f"{OBSERVER}.{namespace}.svc.{cluster_domain}."
    limits = {"max_requests": MAX_EXCHANGES, "max_pending_requests": MAX_EXCHANGES, "max_retries": 0}
    return [
        {
            "@type": TYPE + "config.cluster.v3.Cluster",
            "name": OBSERVER,
            "connect_timeout": "0.25s",
            "lb_policy": "LEAST_REQUEST",
            "cluster_type": {
                "name": "envoy.cluster.dns",
                "typed_config": {
                    "@type": TYPE + "extensions.clusters.dns.v3.DnsCluster",
                    "dns_lookup_family": "V4_ONLY",
                    "respect_dns_ttl": False,
                    "dns_refresh_rate": "5s",
                    "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "5s"},
                },
            },
            "load_assignment": {
                "cluster_name": OBSERVER,
                "endpoints": [
                    {
                        "lb_endpoints": [
                            {"endpoint": {"address": {"socket_address": {"address": host, "port_value": TAP_PORT}}}}
                        ]
                    }
                ],
            },
            "circuit_breakers": {"thresholds": [limits]},
            "typed_extension_protocol_options": {
                TYPE.removeprefix("type.googleapis.com/") + options: {
                    "@type": TYPE + options,
                    "explicit_http_config": {"http2_protocol_options": {}},
                }
            },
        }
    ]
