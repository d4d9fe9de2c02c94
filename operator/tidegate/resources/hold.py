"""Requests that wait for a pod: three stock parts of Envoy, and nothing of our own in the path.

While a model is held its route leads to an aggregate cluster: the revision's pods, or while there are none a listener
of the router itself, which answers 503 with a mark after a second. The route tries again for as long as its time-out
lets it, and the first try after a pod is ready gets through.
"""

from typing import Any

from tidegate.domain.routing import Route, Table, grpc_cluster, holding, http_cluster, waiting_room

Json = dict[str, Any]
TYPE = "type.googleapis.com/envoy."
PORT = 10999
MARK = "x-tidegate-hold"
LIMIT = 4096
"""Requests of one model that a router holds at once; further ones get 503."""


def listeners(table: Table) -> list[Json]:
    """The listener that lets requests wait a second; none while no model can be held."""
    if not any(route.can_hold for route in table.routes.values()):
        return []
    manager = TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    fault = {
        "@type": TYPE + "extensions.filters.http.fault.v3.HTTPFault",
        "delay": {"fixed_delay": "1s", "percentage": {"numerator": 100}},
    }
    router = {"@type": TYPE + "extensions.filters.http.router.v3.Router"}
    answer = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 503, "body": {"inline_string": "No pod is ready yet.\n"}},
        "response_headers_to_add": [{"header": {"key": MARK, "value": "1"}}],
    }
    config = {"name": "hold", "virtual_hosts": [{"name": "hold", "domains": ["*"], "routes": [answer]}]}
    filters = [
        {"name": "envoy.filters.http.fault", "typed_config": fault},
        {"name": "envoy.filters.http.router", "typed_config": router},
    ]
    connection = {"@type": manager, "stat_prefix": "hold", "codec_type": "AUTO", "http_filters": filters}
    chain = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": connection | {"route_config": config},
    }
    return [
        {
            "@type": TYPE + "config.listener.v3.Listener",
            "name": "tidegate-router-hold",
            "address": _address(),
            "filter_chains": [{"filters": [chain]}],
        }
    ]


def _address() -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": PORT}}


def clusters(table: Table) -> list[Json]:
    """For each model that can be held, where its requests wait, and the way to its pods or there."""
    found = []
    for route in table.routes.values():
        if not route.can_hold:
            continue
        for protocol, cluster_of in (("http", http_cluster), ("grpc", grpc_cluster)):
            room = waiting_room(route.model, protocol)
            found.append(_room(room, grpc=protocol == "grpc"))
            found += [_either(cluster_of(backend.revision), room) for backend in route.backends]
    return found


def _limits() -> Json:
    # Every request that is held is a retry: the default of 3 at once would refuse all others.
    names = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [dict.fromkeys(names, LIMIT)]}


def _room(name: str, *, grpc: bool) -> Json:
    options = "extensions.upstreams.http.v3.HttpProtocolOptions"
    protocol: Json = {"http2_protocol_options": {}} if grpc else {"http_protocol_options": {}}
    endpoint = {"endpoint": {"address": _address()}}
    return {
        "@type": TYPE + "config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": _limits(),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            f"envoy.{options}": {"@type": TYPE + options, "explicit_http_config": protocol}
        },
    }


def _either(cluster: str, room: str) -> Json:
    config = {"@type": TYPE + "extensions.clusters.aggregate.v3.ClusterConfig", "clusters": [cluster, room]}
    return {
        "@type": TYPE + "config.cluster.v3.Cluster",
        "name": holding(cluster),
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "circuit_breakers": _limits(),
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": config},
    }


def retries(route: Route, usual: Json) -> Json:
    """The retry policy: while requests are held, a second for each try, up to the route's time-out."""
    if not route.hold:
        return usual
    return {
        "retry_on": f"{usual['retry_on']},retriable-headers",
        "retriable_headers": [{"name": MARK, "present_match": True}],
        "num_retries": route.timeout_seconds + 10,
        "retry_back_off": usual["retry_back_off"],
    }
