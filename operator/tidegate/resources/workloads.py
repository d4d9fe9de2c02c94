"""The objects of one revision: its memory, its pods and the name that finds them."""

from tidegate.domain.labels import COMPONENT as COMPONENT_LABEL
from tidegate.domain.labels import DIGEST, MODEL, REVISION, ROLE
from tidegate.domain.observed import Subject
from tidegate.domain.plan import Workload
from tidegate.domain.revision import StoredRevision
from tidegate.resources.meta import Manifest, metadata
from tidegate.resources.triton import COMPONENT, METRICS, pod_template, serving_ports


def controller_revision(subject: Subject, stored: StoredRevision) -> Manifest:
    """What a revision is, kept in the cluster: it cannot be changed, and outlives the spec that asked for it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata(subject, stored.name, COMPONENT, stored.name),
        "revision": stored.number,
        "data": stored.revision.to_wire(),
    }


def deployment(subject: Subject, load: Workload) -> Manifest:
    """The pods. The template never changes for a revision, so only a change of size ever rolls."""
    name = load.revision.name
    meta = metadata(subject, name, COMPONENT, name)
    meta["labels"][ROLE] = load.role
    meta["annotations"] = {DIGEST: load.revision.revision.digest}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": load.replicas,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": {MODEL: subject.name, REVISION: name, COMPONENT_LABEL: COMPONENT}},
            "template": pod_template(subject, load.revision),
        },
    }


def headless_service(subject: Subject, load: Workload) -> Manifest:
    """The name under which the routers find the ready pods of a revision."""
    name = load.revision.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(subject, name, COMPONENT, name),
        "spec": {
            "clusterIP": "None",
            "selector": {MODEL: subject.name, REVISION: name, COMPONENT_LABEL: COMPONENT},
            "ports": [
                *serving_ports(),
                {"name": "metrics", "port": METRICS, "targetPort": METRICS, "protocol": "TCP"},
            ],
        },
    }
