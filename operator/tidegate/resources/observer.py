"""The observer of a namespace: one pod that compares sampled answers, and what it may reach."""

import json

from tidegate.domain.labels import COMPONENT, MANAGED, MANAGER
from tidegate.domain.names import OBSERVER
from tidegate.domain.observed import WATCHING_KEY, Owner
from tidegate.domain.watching import Watched, Watching, watching_version
from tidegate.resources.meta import NAME_LABEL, Manifest, container_security, owner_reference, pod_security
from tidegate.resources.settings import Settings
from tidegate.resources.triton import GRPC, HTTP

SELECTOR = {COMPONENT: "observer"}
TAP_PORT, VIEWS_PORT = 18080, 18081
OBSERVER_UID = 10001
FOLDER = "/etc/tidegate-observer"
PLAN_KEY = "plan.json"
MEMORY = 64 * 1024 * 1024
"""Bytes of exchanges that the observer holds at once. Its container's limit leaves room for decoding them."""
LEAVE_SECONDS = 5


def plan(watching: Watching, namespace: str, cluster_domain: str) -> Manifest:
    """The observer's file: what is watched, with the names under which the ready pods of each revision are found."""
    models = [_model(watched, namespace, cluster_domain) for watched in watching.models.values()]
    return {"version": watching_version(watching), "models": models}


def _model(watched: Watched, namespace: str, cluster_domain: str) -> Manifest:
    return {
        "name": watched.model,
        "outputs": [output.to_wire() for output in watched.outputs],
        "maxBatchSize": watched.max_batch_size,
        "maxReplaysPerSecond": watched.max_replays_per_second,
        "revisions": [
            {"name": name, "host": f"{name}.{namespace}.svc.{cluster_domain}.", "httpPort": HTTP, "grpcPort": GRPC}
            for name in watched.revisions
        ],
    }


def config_map(
    namespace: str, owners: tuple[Owner, ...], watching: Watching, settings: Settings, version: str | None
) -> Manifest:
    """What is watched, and the file made of it. ``version`` is the resourceVersion that was read: no write is lost."""
    meta = _metadata(namespace, owners)
    if version:
        meta["resourceVersion"] = version
    text = json.dumps(plan(watching, namespace, settings.cluster_domain), sort_keys=True, separators=(",", ":"))
    data = {PLAN_KEY: text, WATCHING_KEY: watching.model_dump_json(by_alias=True)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def _metadata(namespace: str, owners: tuple[Owner, ...]) -> Manifest:
    """The observer belongs to every ModelDeployment of the namespace, and goes with the last."""
    return {
        "name": OBSERVER,
        "namespace": namespace,
        "labels": SELECTOR | {MANAGED: MANAGER, NAME_LABEL: OBSERVER},
        "ownerReferences": [owner_reference(o.name, o.uid, controller=False) for o in owners],
    }


def service(namespace: str, owners: tuple[Owner, ...]) -> Manifest:
    """The name under which routers find the observer's ready pods."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(namespace, owners),
        "spec": {
            "clusterIP": "None",
            "selector": dict(SELECTOR),
            "ports": [
                {
                    "name": "tap",
                    "port": TAP_PORT,
                    "targetPort": TAP_PORT,
                    "protocol": "TCP",
                    "appProtocol": "kubernetes.io/h2c",
                },
                {"name": "views", "port": VIEWS_PORT, "targetPort": VIEWS_PORT, "protocol": "TCP"},
            ],
        },
    }


def _container(settings: Settings) -> Manifest:
    probe = {"httpGet": {"path": "/healthz", "port": VIEWS_PORT}, "timeoutSeconds": 5}
    return {
        "name": "observer",
        "image": settings.observer_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": [
            "run",
            "--plan",
            f"{FOLDER}/{PLAN_KEY}",
            "--tap-port",
            str(TAP_PORT),
            "--views-port",
            str(VIEWS_PORT),
            "--memory",
            str(MEMORY),
        ],
        "ports": [{"name": "tap", "containerPort": TAP_PORT}, {"name": "views", "containerPort": VIEWS_PORT}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "readinessProbe": probe | {"periodSeconds": 2},
        "livenessProbe": probe | {"periodSeconds": 10, "initialDelaySeconds": 5},
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "plan", "mountPath": FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def deployment(namespace: str, owners: tuple[Owner, ...], settings: Settings) -> Manifest:
    """One observer. Nothing waits for it, so one is enough, and a new one may take over with a gap."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(namespace, owners),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": dict(SELECTOR)},
            "template": {
                "metadata": {"labels": dict(SELECTOR)},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": LEAVE_SECONDS,
                    "securityContext": pod_security(OBSERVER_UID),
                    "containers": [_container(settings)],
                    "volumes": [
                        {"name": "plan", "configMap": {"name": OBSERVER}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
                    ],
                },
            },
        },
    }


def network_policy(namespace: str, owners: tuple[Owner, ...], settings: Settings) -> Manifest:
    """Routers hand over, the operator and Prometheus read counts; it reaches model servers and DNS, and nobody else.

    It sees what clients send and what models answer, so there is nowhere it could send that to.
    """
    routers = {"podSelector": {"matchLabels": {COMPONENT: "router"}}}
    servers = {"podSelector": {"matchLabels": {COMPONENT: "server"}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(namespace, owners),
        "spec": {
            "podSelector": {"matchLabels": dict(SELECTOR)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [routers], "ports": [{"port": TAP_PORT, "protocol": "TCP"}]},
                {"from": [{"namespaceSelector": {}}], "ports": [{"port": VIEWS_PORT, "protocol": "TCP"}]},
            ],
            "egress": [
                {"to": [servers], "ports": [{"port": HTTP, "protocol": "TCP"}, {"port": GRPC, "protocol": "TCP"}]},
                {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
            ],
        },
    }
