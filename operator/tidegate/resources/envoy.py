"""From a table of routes to Envoy's listeners, clusters and routes.

Routes are files of their own (RDS): a new split then reaches open connections at their next request, where routes
inside a listener left them on the old split for seconds. Any change here must raise ``routing.RENDERING``.
"""

import json
from typing import Any

from tidegate.domain.names import ROUTER
from tidegate.domain.routing import (
    Backend,
    Route,
    Table,
    clusters_version,
    grpc_cluster,
    holding,
    http_cluster,
    listeners_version,
    route_version,
)
from tidegate.resources import hold, tap
from tidegate.resources.triton import GRPC, HTTP

Json = dict[str, Any]
FOLDER = "/etc/tidegate"
READY_PORT = 9903
VIEWS, READY = f"{ROUTER}-views", f"{ROUTER}-ready"
"""The router's own listeners. No model may have a name that begins like this, or one would shut out the other."""
TYPE = "type.googleapis.com/envoy."
HTTP_PATHS = (
    r"/v2(/health/(live|ready))?",
    r"/v2/models/[^/]+(/versions/[^/]+)?(/(infer|ready|config|stats|generate|generate_stream))?",
)
GRPC_METHODS = (
    r"/inference\.GRPCInferenceService/"
    r"(ServerLive|ServerReady|ServerMetadata|Model(Ready|Metadata|Config|Statistics|Infer|StreamInfer))",
    r"/grpc\.health\.v1\.Health/(Check|Watch)",
)
"""What clients may call. Repository, shared memory, trace and log control of Triton are not among it."""
PIN = "x-tidegate-revision"
"""Header of a request that wants one revision, by its name or as ``stable`` or ``canary``."""
GRPC_COUNTS = "envoy.filters.http.grpc_stats"
RETRY_ON = "connect-failure,refused-stream,reset-before-request,reset,unavailable"
FAILS_IN_A_ROW = 100
BODY_LIMIT = 8 * 1024 * 1024
"""Largest request that can be sent again to another pod, in bytes. Larger ones go through, but are sent once: a router
keeps what it may have to send again in memory.
"""


def rds_file(model: str) -> str:
    """Name of the file with one model's route."""
    return f"rds-{model}.json"


def _source(path: str) -> Json:
    """A file that is replaced by the renaming of its folder's link, as the kubelet does it.

    The file is named behind that link: its own link in the folder comes a moment later, and a listener whose route's
    file is not there yet would be refused, and not looked at again before the next change.
    """
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": f"{FOLDER}/..data/{path}", "watched_directory": {"path": FOLDER}},
    }


def bootstrap() -> Json:
    """What a router starts with: where its files are, and a read-only view of its own state for the operator."""
    views = ("/ready", "/stats", "/config_dump", "/clusters", "/listeners", "/server_info")
    methods = [{"name": ":method", "string_match": {"exact": "GET"}}]
    routes = [{"match": {"prefix": v, "headers": methods}, "route": {"cluster": "admin"}} for v in views]
    return {
        "admin": {"address": _address("127.0.0.1", 9901)},
        # The lists of allowed paths are longer than what Envoy takes by default.
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    "static_layer": {
                        "re2.max_program_size.error_level": 1000,
                        "re2.max_program_size.warn_level": 1000,
                    },
                }
            ]
        },
        # Latencies appear in the counters once a flush; a look at them is due every 2 s, and 5 s is Envoy's own pace.
        "stats_flush_interval": "1s",
        "dynamic_resources": {"lds_config": _source("lds.json"), "cds_config": _source("cds.json")},
        "static_resources": {
            "clusters": [
                {
                    "name": "admin",
                    "connect_timeout": "1s",
                    "type": "STATIC",
                    "load_assignment": _assignment("admin", "127.0.0.1", 9901),
                }
            ],
            "listeners": [
                {
                    "name": VIEWS,
                    "address": _address("0.0.0.0", 9902),
                    "filter_chains": [
                        {"filters": [_manager(VIEWS, {"route_config": _config(VIEWS, routes)}, _filters())]}
                    ],
                }
            ],
        },
    }


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _assignment(cluster: str, host: str, port: int) -> Json:
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [endpoint]}]}


def _config(name: str, routes: list[Json]) -> Json:
    return {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]}


def _filters(*before: Json) -> list[Json]:
    """The filters that a request passes; the router comes last."""
    router = {"@type": TYPE + "extensions.filters.http.router.v3.Router"}
    return [*before, {"name": "envoy.filters.http.router", "typed_config": router}]


def _grpc_counts() -> Json:
    """Counts of final gRPC answers by their status, for each cluster: their HTTP status is 200 whatever happened."""
    config = {"@type": TYPE + "extensions.filters.http.grpc_stats.v3.FilterConfig", "stats_for_all_methods": False}
    return {"name": GRPC_COUNTS, "typed_config": config}


def _manager(prefix: str, routing: Json, filters: list[Json], log: list[Json] | None = None) -> Json:
    manager = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": TYPE + manager,
            "stat_prefix": prefix,
            "codec_type": "AUTO",
            "generate_request_id": True,
            "preserve_external_request_id": True,
            "stream_idle_timeout": "0s",
            "http_filters": filters,
            **({"access_log": log} if log else {}),
            **routing,
        },
    }


def _access_log(model: str) -> list[Json]:
    fields = {
        "time": "%START_TIME%",
        "model": model,
        "revision": "%RESP(x-tidegate-revision)%",
        "digest": "%RESP(x-model-digest)%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "protocol": "%PROTOCOL%",
        "code": "%RESPONSE_CODE%",
        "grpc": "%GRPC_STATUS%",
        "flags": "%RESPONSE_FLAGS%",
        "durationMs": "%DURATION%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "upstream": "%UPSTREAM_HOST%",
        "requestId": "%REQ(x-request-id)%",
        "traceparent": "%REQ(traceparent)%",
    }
    stream = TYPE + "extensions.access_loggers.stream.v3.StdoutAccessLog"
    return [
        {
            "name": "envoy.access_loggers.stdout",
            "typed_config": {"@type": stream, "log_format": {"json_format": fields}},
        }
    ]


def listeners(table: Table) -> Json:
    """LDS: one listener a model, and the one that says that this file was read."""
    answer = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    ready = {
        "@type": TYPE + "config.listener.v3.Listener",
        "name": READY,
        "address": _address("0.0.0.0", READY_PORT),
        "filter_chains": [{"filters": [_manager(READY, {"route_config": _config(READY, answer)}, _filters())]}],
    }
    return {
        "version_info": listeners_version(table),
        "resources": [ready, *hold.listeners(table), *(_listener(route) for route in table.routes.values())],
    }


def _listener(route: Route) -> Json:
    routing = {"rds": {"route_config_name": route.model, "config_source": _source(rds_file(route.model))}}
    manager = _manager(route.model, routing, _filters(_grpc_counts(), tap.http_filter()), _access_log(route.model))
    return {
        "@type": TYPE + "config.listener.v3.Listener",
        "name": route.model,
        "address": _address("0.0.0.0", route.port),
        "filter_chains": [{"filters": [manager]}],
    }


def clusters(table: Table, namespace: str, cluster_domain: str) -> Json:
    """CDS: two clusters a revision, HTTP and gRPC, found by the name of its headless Service."""
    found = []
    for route in table.routes.values():
        for backend in route.backends:
            # The trailing dot keeps the resolver from trying its search list first.
            host = f"{backend.revision}.{namespace}.svc.{cluster_domain}."
            found.append(_cluster(http_cluster(backend.revision), host, HTTP, {"http_protocol_options": {}}))
            keepalive = {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
            found.append(_cluster(grpc_cluster(backend.revision), host, GRPC, {"http2_protocol_options": keepalive}))
    found += hold.clusters(table)
    found += tap.clusters(table, namespace, cluster_domain)
    return {"version_info": clusters_version(table), "resources": found}


def _cluster(name: str, host: str, port: int, protocol: Json) -> Json:
    options = "extensions.upstreams.http.v3.HttpProtocolOptions"
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 4096)
    return {
        "@type": TYPE + "config.cluster.v3.Cluster",
        "name": name,
        "connect_timeout": "1s",
        "load_balancing_policy": {"policies": [_least_busy()]},
        "cluster_type": {
            "name": "envoy.cluster.dns",
            "typed_config": {
                "@type": TYPE + "extensions.clusters.dns.v3.DnsCluster",
                "dns_lookup_family": "V4_ONLY",
                # Refreshed on our own clock: the record says 30 s, and a pod may be gone by then.
                "respect_dns_ttl": False,
                "dns_refresh_rate": "2s",
                "dns_jitter": "0.2s",
                "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "2s"},
            },
        },
        "load_assignment": _assignment(name, host, port),
        # The default budget of 3 concurrent retries failed most requests that a restart had caught.
        "circuit_breakers": {
            "thresholds": [limits | {"retry_budget": {"budget_percent": {"value": 50}, "min_retry_concurrency": 64}}]
        },
        "outlier_detection": _outliers(),
        "typed_extension_protocol_options": {
            TYPE.removeprefix("type.googleapis.com/") + options: {
                "@type": TYPE + options,
                "explicit_http_config": protocol,
                "common_http_protocol_options": {"idle_timeout": "60s"},
            }
        },
    }


def _least_busy() -> Json:
    """The pod with the fewest requests in flight of all, not of two chosen at random: a pod computes few requests at a
    time, so one that goes to a busy pod while another is free waits for a whole request."""
    kind = f"{TYPE}extensions.load_balancing_policies.least_request.v3.LeastRequest"
    config = {"@type": kind, "selection_method": "FULL_SCAN"}
    # Envoy goes by the type. A ConfigMap has little room for names.
    return {"typed_extension_config": {"name": "least", "typed_config": config}}


def _outliers() -> Json:
    """A pod that cannot be connected to rests for seconds, and so does one that fails many requests in a row: with the
    fewest in flight it would get nearly all. A model that fails on every pod is served on: more than half of the pods
    are never left out."""
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "interval": "1s",
        "base_ejection_time": "3s",
        "max_ejection_time": "10s",
        "max_ejection_percent": 100,
        "consecutive_5xx": FAILS_IN_A_ROW,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
    }


def route(entry: Route) -> Json:
    """RDS: one model's split, the same for HTTP and gRPC, and nothing but inference, metadata and health."""
    methods = "|".join(GRPC_METHODS)
    paths = "|".join(HTTP_PATHS)
    config = {
        "@type": TYPE + "config.route.v3.RouteConfiguration",
        "name": entry.model,
        # The files of one write are read one by one: a route may be there before its cluster is.
        "validate_clusters": False,
        "response_headers_to_add": [_header("x-tidegate-router", "%ENVIRONMENT(POD_NAME)%")],
        "virtual_hosts": [
            {
                "name": entry.model,
                "domains": ["*"],
                "request_body_buffer_limit": BODY_LIMIT,
                "retry_policy": hold.retries(entry, _retries()),
                "routes": [
                    *_routes(entry, {"safe_regex": {"regex": methods}, "grpc": {}}, grpc=True),
                    *_routes(entry, {"safe_regex": {"regex": paths}}, grpc=False),
                    _refusal({"prefix": "/"}, 404, "Tidegate serves inference, metadata and health under /v2 only."),
                ],
            }
        ],
    }
    return {"version_info": route_version(entry), "resources": [tap.with_twins(entry, config)]}


def _header(key: str, value: str) -> Json:
    return {"header": {"key": key, "value": value}}


def _refusal(match: Json, status: int, text: str) -> Json:
    return {"match": match, "direct_response": {"status": status, "body": {"inline_string": text + "\n"}}}


def _routes(entry: Route, match: Json, *, grpc: bool) -> list[Json]:
    """What becomes of the requests that ``match``: the revision they name, or the split."""
    asks = _refusal(
        match | {"headers": [{"name": PIN, "present_match": True}]},
        404,
        f"{entry.model} has no revision of the name in {PIN}: leave it out, or name stable, canary or a revision.",
    )
    pinned = [_pinned(entry, backend, match, grpc=grpc) for backend in entry.backends]
    return [*pinned, asks, {"match": match} | _action(entry, grpc=grpc)]


def _pinned(entry: Route, backend: Backend, match: Json, *, grpc: bool) -> Json:
    """Requests that name a revision, or its role. They are counted apart: who asks by name is no random sample."""
    names = (
        {"safe_regex": {"regex": f"{backend.revision}|{backend.role}"}} if backend.role else {"exact": backend.revision}
    )
    disabled = {"@type": TYPE + "config.route.v3.FilterConfig", "disabled": True}
    cluster = _cluster_of(backend, grpc=grpc)
    return {
        "match": match | {"headers": [{"name": PIN, "string_match": names}]},
        "route": {"cluster": cluster, "timeout": f"{entry.timeout_seconds}s"},
        "response_headers_to_add": _answered_by(backend),
        "stat_prefix": cluster,
        **({"typed_per_filter_config": {GRPC_COUNTS: disabled}} if grpc else {}),
    }


def _action(entry: Route, *, grpc: bool) -> Json:
    """The weighted split; 503 while no revision has a weight, because Envoy refuses a split of nothing."""
    shares = [_share(b, grpc=grpc, hold=entry.hold) for b in entry.shares()]
    if not shares:
        return {"direct_response": {"status": 503, "body": {"inline_string": f"{entry.model} is not ready yet.\n"}}}
    action: Json = {"weighted_clusters": {"clusters": shares}, "timeout": f"{entry.timeout_seconds}s"}
    if entry.affinity != "None":
        # The clusters do not balance by hash, so this decides on the revision and not on the pod.
        action["weighted_clusters"]["use_hash_policy"] = True
        action["hash_policy"] = [_client(entry)]
    return {"route": action}


def _client(entry: Route) -> Json:
    """What tells one client from another."""
    if entry.affinity == "Header":
        return {"header": {"header_name": entry.affinity_header}}
    return {"connection_properties": {"source_ip": True}}


def _retries() -> Json:
    """Another pod is asked when one hangs up: models answer the same question the same way."""
    previous = TYPE + "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "retry_on": RETRY_ON,
        "num_retries": 4,
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": previous}}
        ],
        "host_selection_retry_max_attempts": 5,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    }


def _share(backend: Backend, *, grpc: bool, hold: bool) -> Json:
    cluster = _cluster_of(backend, grpc=grpc)
    return {
        "name": holding(cluster) if hold else cluster,
        "weight": backend.weight,
        "response_headers_to_add": _answered_by(backend),
    }


def _cluster_of(backend: Backend, *, grpc: bool) -> str:
    return grpc_cluster(backend.revision) if grpc else http_cluster(backend.revision)


def _answered_by(backend: Backend) -> list[Json]:
    """What every answer says of who gave it."""
    return [_header(PIN, backend.revision), _header("x-model-digest", backend.digest)]


def files(table: Table, namespace: str, cluster_domain: str) -> dict[str, str]:
    """Every file of a router, by name. Never empty: an empty listener file would close every port."""
    found = {"lds.json": listeners(table), "cds.json": clusters(table, namespace, cluster_domain)}
    found |= {rds_file(name): route(entry) for name, entry in table.routes.items()}
    # Without spaces: a full router has to fit into the one MiB of a ConfigMap.
    return {name: json.dumps(content, sort_keys=True, separators=(",", ":")) for name, content in found.items()}
