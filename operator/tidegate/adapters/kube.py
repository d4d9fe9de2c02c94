"""The API server: fresh reads by label, server-side apply as the one way to write, deletes of exactly what was read.

Reads are not cached: they cost a few requests a reconcile and can never be older than the operator's own writes.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from tidegate.adapters.api import ApiServer
from tidegate.adapters.capacity import read_capacity
from tidegate.adapters.errors import Conflict, Forbidden, Invalid, NotFound, Remains, Unavailable
from tidegate.api.status import ModelDeploymentStatus
from tidegate.api.v1alpha1 import API_VERSION, GROUP, KIND, PLURAL, VERSION, ModelDeploymentSpec
from tidegate.domain import names
from tidegate.domain.capacity import CapacityFacts
from tidegate.domain.diagnose import log_wanted
from tidegate.domain.direct import SLICE
from tidegate.domain.labels import COMPONENT, CONFIG, MANAGER, MODEL, SHARD
from tidegate.domain.observed import ROUTE_KINDS, Observed, Owner, PodView, Raw, Subject, belongs, route_in, shard_label
from tidegate.domain.plan import Event, Poke
from tidegate.domain.revision import Pins
from tidegate.ports import Found

LOGS = 2
"""How many failed servers are asked for their log in one look."""
MODELS = f"/apis/{GROUP}/{VERSION}"
PATHS = {
    "Pod": ("/api/v1", "pods"),
    "Service": ("/api/v1", "services"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "ControllerRevision": ("/apis/apps/v1", "controllerrevisions"),
    "Job": ("/apis/batch/v1", "jobs"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    KIND: (MODELS, PLURAL),
}
SLICES = ("/apis/discovery.k8s.io/v1", "endpointslices")
ROUTES = "/apis/gateway.networking.k8s.io/v1"
GATEWAY_PATHS = {"HTTPRoute": (ROUTES, "httproutes"), "GRPCRoute": (ROUTES, "grpcroutes")}
"""Kinds that a cluster may lack, and that only an operator installed for them may touch."""
EVERY_PATH = PATHS | GATEWAY_PATHS | {SLICE: SLICES}
NOT_INSTALLED = (
    "spec.traffic.router is GatewayAPI, and this operator was installed without it: install it with "
    "gatewayAPI.enabled=true."
)
NO_ROUTES = (
    "The HTTPRoutes and GRPCRoutes (gateway.networking.k8s.io/v1) of spec.traffic.router: GatewayAPI cannot be read: "
    "install the CustomResourceDefinitions of the Gateway API, standard channel, and the operator's role for them."
)
OWN_KINDS = (
    "ControllerRevision",
    "Deployment",
    "Job",
    "NetworkPolicy",
    "Pod",
    "PodDisruptionBudget",
    "Service",
)
NAMED_KINDS = ("Service", "PodDisruptionBudget", "NetworkPolicy")
"""Kinds of which the subject has one under its own name."""
OBSERVER_KINDS = ("ConfigMap", "Deployment", "NetworkPolicy", "Pod", "Service")
ROUTER_KINDS = ("ConfigMap", "Deployment", "NetworkPolicy", "Pod", "PodDisruptionBudget")
API_VERSIONS = {kind: group.removeprefix("/apis/").removeprefix("/api/") for kind, (group, _) in EVERY_PATH.items()}


class KubeCluster:
    """The API server, by the official client."""

    def __init__(self, api: ApiServer, pins: Pins, identity: str, *, gateway_api: bool = False) -> None:
        """``identity`` names this operator's process in events.

        ``gateway_api`` lets it read and write routes of the Gateway API.
        """
        self._gateway_api = gateway_api
        self._api = api
        self._pins = pins
        self._identity = identity

    def find(self, namespace: str, name: str) -> Found | None:
        """The ModelDeployment; None when it does not exist or is on its way out."""
        try:
            raw = self._api.request("GET", self._path(KIND, namespace, name))
        except NotFound:
            return None
        meta = raw["metadata"]
        if "deletionTimestamp" in meta:
            return None
        try:
            spec = ModelDeploymentSpec.model_validate(raw["spec"])
        except ValidationError as error:
            raise Invalid(f"ModelDeployment {namespace}/{name} {_first(error)}") from error
        return Found(
            subject=Subject(name=name, namespace=namespace, uid=meta["uid"], generation=meta["generation"]),
            resource_version=meta["resourceVersion"],
            spec=spec,
            status=_status(raw.get("status")),
            raw=raw,
        )

    def observe(self, subject: Subject) -> Observed:
        """A fresh snapshot, without the routers' reports.

        Raises Remains while objects of a deleted ModelDeployment of the same name are there.
        """
        labelled = [o for kind in OWN_KINDS for o in self._list(kind, subject.namespace, f"{MODEL}={subject.name}")]
        routes, trouble = self._routes(subject)
        labelled += routes
        # Pods belong to their Deployments and Jobs.
        own = [o for o in labelled if o["kind"] == "Pod" or belongs(o, subject)]
        own_names = {(o["kind"], o["metadata"]["name"]): o for o in own}
        needed = dict.fromkeys(NAMED_KINDS, subject.name)
        needed |= {} if trouble else {kind: names.route(subject.name, kind) for kind in ROUTE_KINDS}
        unseen = [held for held in needed.items() if held not in own_names]
        foreign = {kind: found for kind, name in unseen if (found := self._get(kind, subject.namespace, name))}
        if late := [o for o in (*labelled, *foreign.values()) if _predecessors(o, subject)]:
            raise Remains(f"{late[0]['kind']} {late[0]['metadata']['name']} of a deleted {subject.name} is still there")
        own += self._slices(own_names.get(("Service", subject.name)))
        models = self._list(KIND, subject.namespace, "")
        owners = sorted(
            (m["metadata"]["name"], m["metadata"]["uid"]) for m in models if "deletionTimestamp" not in m["metadata"]
        )
        observed = Observed(
            subject=subject,
            pins=self._pins,
            owners=tuple(Owner(name, uid) for name, uid in owners),
            objects=tuple(own),
            service=own_names.get(("Service", subject.name)) or foreign.pop("Service", None),
            foreign=tuple(foreign.values()),
            logs=self._logs(subject, own),
            trouble=trouble,
            observer=tuple(
                o for kind in OBSERVER_KINDS for o in self._list(kind, subject.namespace, f"{COMPONENT}=observer")
            ),
        )
        return self._with_router(observed)

    def _routes(self, subject: Subject) -> tuple[list[Raw], str]:
        """The model's routes of the Gateway API, or why they cannot be read."""
        if not self._gateway_api:
            return [], NOT_INSTALLED
        selector = f"{MODEL}={subject.name}"
        try:
            return [o for kind in ROUTE_KINDS for o in self._list(kind, subject.namespace, selector)], ""
        except (NotFound, Forbidden):
            return [], NO_ROUTES

    def _slices(self, service: Raw | None) -> Iterable[Raw]:
        """The pods that the model's Service leads to, where no router stands between."""
        if service is None or route_in(service) is None:
            return []
        meta = service["metadata"]
        return self._list(SLICE, meta["namespace"], f"kubernetes.io/service-name={meta['name']}")

    def _with_router(self, observed: Observed) -> Observed:
        """The snapshot with the router that the model's Service leads to, if it has the model's route; else with all.

        The table of one router may have 1 MiB, and a namespace many routers.
        """
        namespace, service = observed.subject.namespace, observed.service
        shard = shard_label(service) if service else None
        if shard is not None:
            found = replace(observed, router=self._routers(namespace, f"{COMPONENT}=router,{SHARD}={shard}"))
            if observed.subject.name in found.table().routes:
                return found
        return replace(observed, router=self._routers(namespace, f"{COMPONENT}=router"))

    def _routers(self, namespace: str, selector: str) -> tuple[Raw, ...]:
        return tuple(o for kind in ROUTER_KINDS for o in self._list(kind, namespace, selector))

    def capacity(self, namespace: str) -> CapacityFacts:
        """What is known of the room for pods of a namespace."""
        return read_capacity(self._api, namespace)

    def apply(self, manifest: dict[str, Any], *, force: bool) -> None:
        """Server-side apply, as the owner of every field in ``manifest``.

        Without ``force`` an object that somebody else made is left as it is (Conflict).
        """
        meta = manifest["metadata"]
        self._api.request(
            "PATCH",
            self._path(manifest["kind"], meta["namespace"], meta["name"]),
            query=[("fieldManager", MANAGER), ("force", "true" if force else "false")],
            content_type="application/apply-patch+yaml",
            body=manifest,
        )

    def delete(self, existing: Raw) -> None:
        """Delete exactly this object. That it is gone already is as good."""
        meta = existing["metadata"]
        body = {"propagationPolicy": "Background", "preconditions": {"uid": meta["uid"]}}
        try:
            self._api.request(
                "DELETE",
                self._path(existing["kind"], meta["namespace"], meta["name"]),
                content_type="application/json",
                body=body,
            )
        except (NotFound, Conflict):
            return

    def poke(self, namespace: str, poke: Poke) -> None:
        """Annotate a router pod, which makes its kubelet refresh the pod's ConfigMap at once."""
        try:
            self._api.request(
                "PATCH",
                self._path("Pod", namespace, poke.pod),
                query=[("fieldManager", MANAGER)],
                content_type="application/merge-patch+json",
                body={"metadata": {"annotations": {CONFIG: poke.mark}}},
            )
        except NotFound:
            return

    def write_status(self, found: Found, status: ModelDeploymentStatus) -> None:
        """Write status, unless the object changed since it was read (Conflict).

        All of it is replaced: what is left of a status that was restored or edited would be taken for our memory, and
        server-side apply would leave it there.
        """
        body = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": found.resource_version},
            {"op": "add", "path": "/status", "value": status.to_wire()},
        ]
        self._api.request(
            "PATCH",
            self._path(KIND, found.subject.namespace, found.subject.name) + "/status",
            query=[("fieldManager", MANAGER)],
            content_type="application/json-patch+json",
            body=body,
        )

    def record(self, found: Found, event: Event, now: datetime) -> None:
        """Write one event about a ModelDeployment."""
        subject = found.subject
        stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{subject.name[:50].rstrip('-')}.", "namespace": subject.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": subject.name,
                "namespace": subject.namespace,
                "uid": subject.uid,
                "resourceVersion": found.resource_version,
            },
            "type": event.kind,
            "reason": str(event.reason),
            "message": event.message[:1000],
            "action": str(event.reason),
            "eventTime": stamp,
            "firstTimestamp": stamp[:19] + "Z",
            "lastTimestamp": stamp[:19] + "Z",
            "count": 1,
            "source": {"component": MANAGER},
            "reportingComponent": f"{GROUP}/operator",
            "reportingInstance": self._identity[:128],
        }
        path = f"/api/v1/namespaces/{subject.namespace}/events"
        self._api.request("POST", path, content_type="application/json", body=body)

    def _logs(self, subject: Subject, objects: list[Raw]) -> dict[str, str]:
        """Ends of the logs of servers that ended badly. A log that is gone is no reason to fail."""
        found = {}
        pods = (PodView(o) for o in objects if o["kind"] == "Pod")
        for pod, container in [(p, c) for p in pods if (c := log_wanted(p))][:LOGS]:
            query = [
                ("container", container["name"]),
                ("previous", "true" if "running" in container["state"] else "false"),
                ("tailLines", "200"),
                ("limitBytes", "65536"),
            ]
            try:
                found[pod.name] = self._api.text(self._path("Pod", subject.namespace, pod.name) + "/log", query)
            except (NotFound, Invalid, Unavailable, Forbidden):
                continue
        return found

    def _get(self, kind: str, namespace: str, name: str) -> Raw | None:
        try:
            return {"kind": kind, **self._api.request("GET", self._path(kind, namespace, name))}
        except NotFound:
            return None

    def _list(self, kind: str, namespace: str, selector: str) -> Iterable[Raw]:
        query = [("labelSelector", selector)] if selector else []
        found = self._api.request("GET", self._path(kind, namespace), query=query)
        # Items of a list carry no kind of their own.
        return [{"apiVersion": API_VERSIONS[kind], "kind": kind, **item} for item in found["items"]]

    @staticmethod
    def _path(kind: str, namespace: str, name: str = "") -> str:
        group, plural = EVERY_PATH[kind]
        return f"{group}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def _predecessors(item: Raw, subject: Subject) -> bool:
    """True for what belonged to another ModelDeployment of the same name, and is about to be removed."""
    owners = [o for o in item["metadata"].get("ownerReferences", ()) if o.get("controller")]
    return any((o["kind"], o["name"]) == (KIND, subject.name) and o["uid"] != subject.uid for o in owners)


def _first(error: ValidationError) -> str:
    """The first of what is wrong with a spec that a CustomResourceDefinition of another version let through."""
    found = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in ("spec", *found["loc"]))
    return f"cannot be read: {place}: {found['msg']}"


def _status(raw: Any) -> ModelDeploymentStatus:
    """The status as written last; one that cannot be read is found out anew."""
    try:
        return ModelDeploymentStatus.model_validate(raw or {})
    except ValidationError:
        return ModelDeploymentStatus()
