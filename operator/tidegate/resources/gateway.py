"""What a Gateway needs of one model: an HTTPRoute, a GRPCRoute, and a Service for each revision behind them.

The Services are not the headless ones that the operator's own routers resolve: a backend without a cluster IP is
optional for implementations of the Gateway API, and the cluster IP of a Service can never be changed.
"""

from tidegate.api.v1alpha1 import Gateway
from tidegate.domain import names
from tidegate.domain.gateway import attachment, referred
from tidegate.domain.labels import COMPONENT, MODEL, REVISION, ROUTE
from tidegate.domain.observed import Subject
from tidegate.domain.routing import Backend, Route
from tidegate.resources.envoy import PIN
from tidegate.resources.meta import Manifest, metadata
from tidegate.resources.triton import GRPC, HTTP, serving_ports

INFERENCE = "inference.GRPCInferenceService"
INFERENCE_METHODS = (
    "ServerLive",
    "ServerReady",
    "ServerMetadata",
    "ModelReady",
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
    "ModelInfer",
    "ModelStreamInfer",
)
GRPC_METHODS = (
    *((INFERENCE, method) for method in INFERENCE_METHODS),
    *(("grpc.health.v1.Health", method) for method in ("Check", "Watch")),
)
"""What clients may call. Repository, shared memory, trace and log control of Triton are not among it."""
HTTP_PATHS = (("Exact", "/v2"), ("PathPrefix", "/v2/health"), ("PathPrefix", "/v2/models"))
"""The same for HTTP, as far as exact paths and prefixes can say it."""


def backend_service(subject: Subject, revision: str) -> Manifest:
    """The ready pods of one revision, for the Gateway."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(subject, names.backend(revision), "front", revision),
        "spec": {
            "type": "ClusterIP",
            "selector": {MODEL: subject.name, REVISION: revision, COMPONENT: "server"},
            "ports": serving_ports(),
        },
    }


def http_route(subject: Subject, route: Route, gateway: Gateway) -> Manifest:
    """The split of HTTP requests, and before it the rules for those that name a revision."""
    matches: list[Manifest] = [{"path": {"type": kind, "value": path}} for kind, path in HTTP_PATHS]
    timeouts = {"timeouts": {"request": f"{route.timeout_seconds}s"}}
    rules = [rule | timeouts for rule in _rules(route, matches, HTTP)]
    return _object(subject, "HTTPRoute", route, gateway, rules)


def grpc_route(subject: Subject, route: Route, gateway: Gateway) -> Manifest:
    """The same split of gRPC requests. The API knows no time-out for them."""
    matches: list[Manifest] = [
        {"method": {"type": "Exact", "service": service, "method": method}} for service, method in GRPC_METHODS
    ]
    return _object(subject, "GRPCRoute", route, gateway, _rules(route, matches, GRPC))


def _object(subject: Subject, kind: str, route: Route, gateway: Gateway, rules: list[Manifest]) -> Manifest:
    meta = metadata(subject, names.route(subject.name, kind), "front")
    meta["annotations"] = {ROUTE: route.model_dump_json(by_alias=True)}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": meta,
        "spec": attachment(gateway, kind) | {"rules": rules},
    }


def _rules(route: Route, matches: list[Manifest], port: int) -> list[Manifest]:
    """More specific rules win, so that a request with the header never comes to the split."""
    pinned = [_pinned(backend, matches, port) for backend in route.backends if backend.role]
    shares = [_reference(b, port) | {"weight": b.weight, "filters": _answered_by(b)} for b in referred(route)]
    return [*pinned, {"matches": matches, "backendRefs": shares}]


def _pinned(backend: Backend, matches: list[Manifest], port: int) -> Manifest:
    """Requests that name the revision or its role."""
    header = {"type": "Exact", "name": PIN}
    named = [m | {"headers": [header | {"value": name}]} for name in (backend.revision, backend.role) for m in matches]
    reference = _reference(backend, port) | {"weight": 1, "filters": _answered_by(backend)}
    return {"matches": named, "backendRefs": [reference]}


def _reference(backend: Backend, port: int) -> Manifest:
    return {"group": "", "kind": "Service", "name": names.backend(backend.revision), "port": port}


def _answered_by(backend: Backend) -> list[Manifest]:
    """What every answer says of who gave it."""
    told = {PIN: backend.revision} | ({"x-model-digest": backend.digest} if backend.digest else {})
    headers = [{"name": name, "value": value} for name, value in told.items()]
    return [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": headers}}]
