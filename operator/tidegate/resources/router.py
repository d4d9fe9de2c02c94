"""A router of a namespace: Envoy pods and their configuration. Models that are too many for one share several."""

import json

from tidegate.domain import names
from tidegate.domain.observed import TABLE_KEY, Owner
from tidegate.domain.routing import FIRST_PORT, Table
from tidegate.resources.envoy import FOLDER, READY_PORT, bootstrap, files
from tidegate.resources.meta import Manifest, container_security, pod_security, router_selector, shared_metadata
from tidegate.resources.settings import Settings

VIEWS_PORT = 9902
LEAVE_SECONDS = 12
LONGEST_SECONDS = 300
"""How long a router may wait for its last request, unless a model has a longer time-out. A namespace that is deleted
takes up to half as long: Kubernetes looks no sooner whether its pods have ended."""
EXIT_SLACK = 15
ROUTER_UID = 10001
LEAVE = r"""
ask() {
  exec 3<>/dev/tcp/127.0.0.1/9901
  printf '%s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' "$1" >&3
  cat <&3
  exec 3>&-
}
active() {
  ask 'GET /stats?filter=^http[.].*[.]downstream_rq_active$' | {
    total=0
    while read -r name count; do
      case $name in http.tidegate-router-*) ;; http.*) total=$((total + count)) ;; esac
    done
    echo "$total"
  }
}
ask 'POST /healthcheck/fail'
sleep "$1"
while [ "$(active)" -gt 1 ]; do sleep 1; done
"""
"""Before it stops, a router asks every client to move to another connection, and goes on answering meanwhile; then it
waits for the requests that it still has. One of those that Envoy counts is the question itself. The one argument is how
many seconds clients have to move."""


def config_map(
    namespace: str, shard: int, owners: tuple[Owner, ...], table: Table, settings: Settings, version: str | None
) -> Manifest:
    """The table and what is rendered from it. ``version`` is the resourceVersion that was read: no write is lost."""
    meta = shared_metadata(namespace, shard, owners)
    if version:
        meta["resourceVersion"] = version
    data = files(table, namespace, settings.cluster_domain) | {TABLE_KEY: table.model_dump_json(by_alias=True)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def _container(settings: Settings) -> Manifest:
    return {
        "name": "envoy",
        "image": settings.router_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["envoy"],
        "args": [
            "--config-yaml",
            json.dumps(bootstrap(), sort_keys=True),
            "--service-node",
            "$(POD_NAME)",
            "--service-cluster",
            names.ROUTER,
            "--concurrency",
            "2",
            "--drain-time-s",
            "10",
            "--drain-strategy",
            "immediate",
            "--disable-hot-restart",
            "--reject-unknown-dynamic-fields",
            "--log-level",
            "warning",
        ],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [
            {"name": "views", "containerPort": VIEWS_PORT},
            {"name": "ready", "containerPort": READY_PORT},
        ],
        "resources": {"requests": dict(settings.router_requests), "limits": dict(settings.router_limits)},
        # The listener comes with the dynamic configuration: Envoy's own answer is good even without any. A router that
        # ends is known without the probe, so it is in no hurry to fail: on a node without processor time it would take
        # all routers out of the Service at once. Clients are refused then, and those that connect in the moment in
        # which the first is put back are never answered: kube-proxy lifts the refusal before it knows the address.
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": READY_PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "livenessProbe": {
            "httpGet": {"path": "/server_info", "port": VIEWS_PORT},
            "initialDelaySeconds": 5,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
        },
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/bash", "-c", LEAVE, "leave", str(LEAVE_SECONDS)]}}},
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "config", "mountPath": FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _patience(table: Table) -> int:
    """Seconds in which every request ends by itself. The usual ones are one value: a router restarts for another."""
    return max([LONGEST_SECONDS, *(route.timeout_seconds for route in table.routes.values())])


def deployment(namespace: str, shard: int, owners: tuple[Owner, ...], table: Table, settings: Settings) -> Manifest:
    """The router's pods, spread over nodes; a new one takes over before an old one leaves."""
    selector = router_selector(shard)
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": shared_metadata(namespace, shard, owners),
        "spec": {
            "replicas": settings.router_replicas,
            "revisionHistoryLimit": 2,
            "minReadySeconds": 2,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": selector},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": LEAVE_SECONDS + _patience(table) + EXIT_SLACK,
                    "securityContext": pod_security(ROUTER_UID),
                    "topologySpreadConstraints": [spread],
                    "containers": [_container(settings)],
                    "volumes": [
                        {"name": "config", "configMap": {"name": names.router(shard)}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
                    ],
                },
            },
        },
    }


def disruption_budget(namespace: str, shard: int, owners: tuple[Owner, ...]) -> Manifest:
    """A drain takes one router pod at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": shared_metadata(namespace, shard, owners),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": router_selector(shard)}},
    }


def network_policy(namespace: str, shard: int, owners: tuple[Owner, ...], settings: Settings) -> Manifest:
    """Clients reach the models' listeners; only the operator reads a router's state."""
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.operator_namespace}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": shared_metadata(namespace, shard, owners),
        "spec": {
            "podSelector": {"matchLabels": router_selector(shard)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"ports": [{"port": FIRST_PORT, "endPort": 65535, "protocol": "TCP"}]},
                {"from": [operator], "ports": [{"port": VIEWS_PORT, "protocol": "TCP"}]},
            ],
        },
    }
