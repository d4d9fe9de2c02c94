"""The pod template of a revision: a pure function of the revision, so that no upgrade of the operator restarts a pod.

Changing what this module returns for a revision restarts every model in every cluster. The golden test holds it.
"""

from tidegate.domain.diagnose import FETCH_CONTAINER, SERVER_CONTAINER
from tidegate.domain.labels import DIGEST
from tidegate.domain.observed import Subject
from tidegate.domain.revision import Revision, StoredRevision
from tidegate.resources.meta import Manifest, container_security, labels, pod_security
from tidegate.resources.packager import packager

HTTP, GRPC, METRICS = 8000, 8001, 8002
TRITON_UID = 1000
EXIT_TIMEOUT = 10
LAST_REQUEST = 20
"""Seconds after which nobody sends a request to a pod that is told to go: half of the usual drain time."""
UNLOAD_SLACK = 10
LOAD_BUDGET = 1800
"""Seconds a model may take to load before its container is restarted."""
COMPONENT = "server"
REPOSITORY = "/bundle/models"


def exit_timeout(revision: Revision) -> int:
    """Seconds in which Triton, told to stop, may finish what it has.

    It stops once that is nothing and no HTTP connection is open: the routers close theirs, other clients may not.
    """
    return max(EXIT_TIMEOUT, revision.longest_request_seconds - LAST_REQUEST)


def flags(revision: Revision) -> list[str]:
    """Flags of tritonserver: the repository is fixed at start, and a model that does not load ends the process."""
    return [
        f"--model-repository={REPOSITORY}",
        f"--model-config-name={revision.server.accelerator.lower()}",
        "--model-control-mode=none",
        "--exit-on-error=true",
        "--strict-readiness=true",
        "--disable-auto-complete-config",
        f"--http-port={HTTP}",
        f"--grpc-port={GRPC}",
        f"--metrics-port={METRICS}",
        f"--exit-timeout-secs={exit_timeout(revision)}",
        *revision.server.args,
    ]


def serving_ports(http: int = HTTP, grpc: int = GRPC) -> list[Manifest]:
    """Ports of a Service that answers both protocols, and where they lead to."""
    return [
        {"name": "http", "port": HTTP, "targetPort": http, "protocol": "TCP"},
        {"name": "grpc", "port": GRPC, "targetPort": grpc, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
    ]


def _probe(path: str, **settings: int) -> Manifest:
    return {"httpGet": {"path": path, "port": HTTP}, **settings}


def _server(revision: Revision) -> Manifest:
    """Triton. Readiness asks for the model, not the server: the server's answer is false while anything loads."""
    ready = f"/v2/models/{revision.model_name}/versions/1/ready"
    return {
        "name": SERVER_CONTAINER,
        "image": revision.server.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["tritonserver"],
        "args": flags(revision),
        "env": [{"name": "TRITON_SERVER_CPU_ONLY", "value": "1"}] if revision.server.accelerator == "CPU" else [],
        "ports": [
            {"name": "http", "containerPort": HTTP},
            {"name": "grpc", "containerPort": GRPC},
            {"name": "metrics", "containerPort": METRICS},
        ],
        "resources": revision.resources,
        "startupProbe": _probe("/v2/health/live", periodSeconds=1, failureThreshold=LOAD_BUDGET),
        "readinessProbe": _probe(
            ready, periodSeconds=1, failureThreshold=3, timeoutSeconds=revision.pins.ready_timeout_seconds
        ),
        "livenessProbe": _probe("/v2/health/live", periodSeconds=10, failureThreshold=3, timeoutSeconds=5),
        "lifecycle": {"preStop": {"sleep": {"seconds": revision.pins.drain_seconds}}},
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "bundle", "mountPath": "/bundle", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }


def _fetch(revision: Revision) -> Manifest:
    """Fetches the bundle by digest and verifies every file before Triton sees any."""
    return packager(
        name=FETCH_CONTAINER,
        image=revision.pins.packager_image,
        pull_policy="IfNotPresent",
        verb="pull",
        uri=revision.bundle_uri,
        options=["--digest", revision.digest, "--to", "/bundle"],
        credentials=revision.credentials,
        public_key=revision.public_key,
        mounts=[{"name": "bundle", "mountPath": "/bundle"}],
    )


def pod_template(subject: Subject, stored: StoredRevision) -> Manifest:
    """The pod template of a revision."""
    revision = stored.revision
    overlay = revision.server.template
    pod: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Triton as process 1 loses a SIGTERM that comes before its models are loaded.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": revision.pins.drain_seconds + exit_timeout(revision) + UNLOAD_SLACK,
        "securityContext": pod_security(TRITON_UID),
        "initContainers": [_fetch(revision)],
        "containers": [_server(revision)],
        "volumes": [
            {"name": "bundle", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ],
    }
    return {
        "metadata": {
            "labels": {**overlay.metadata.labels, **labels(subject, COMPONENT, stored.name)},
            "annotations": {**overlay.metadata.annotations, DIGEST: revision.digest},
        },
        "spec": pod | overlay.spec.to_wire(),
    }
