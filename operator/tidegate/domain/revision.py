"""A revision: everything that decides what a model's pods look like, named by its content.

Two revisions with the same id run the same bundle in the same server. The pins are what the operator's own
installation contributes (its packager image, its drain time, its patience): they are kept with the revision when it is
first made, so that upgrading the operator changes no existing pod template.
"""

import hashlib
import json
from typing import Any

from pydantic import Field

from tidegate.api.status import Artifact, ContractEntry, MeasuredRate
from tidegate.api.types import ApiModel
from tidegate.api.v1alpha1 import ModelDeploymentSpec, SecretKeyReference, SecretReference, Server

ID_LENGTH = 8
GPU = "nvidia.com/gpu"
PACKAGER_RESOURCES = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
"""What the packager's containers ask for: part of every pod template."""


class Pins(ApiModel):
    """What the operator's installation contributes to a pod template."""

    packager_image: str
    drain_seconds: int = 40
    """How long a pod keeps serving after it is told to go: longer than the routers' DNS is stale."""
    ready_timeout_seconds: int = 2
    """How long a readiness probe waits; three in a row without an answer take a pod out of its Service. A revision that
    was made before this was kept has 2."""


class Revision(ApiModel):
    """One immutable revision of a ModelDeployment."""

    digest: str
    uri: str
    model_name: str
    version: str = ""
    server: Server
    credentials: SecretReference | None = None
    public_key: SecretKeyReference | None = None
    """The key that the bundle's signature was checked with, and that every pod checks it with again."""
    pins: Pins
    inputs: list[ContractEntry] | None = None
    outputs: list[ContractEntry] | None = None
    max_batch_size: int | None = None
    """The contract, where it is short enough to be known: what the observer compares by. It is no part of the id."""
    size_bytes: int | None = None
    longest_request_seconds: int = 30
    """``spec.traffic.timeout`` when the revision was made: its pods wait for requests that take as long. It is no part
    of the id, for another time-out is no other server."""
    profile: MeasuredRate | None = None

    @property
    def id(self) -> str:
        """First 8 hex digits of the hash of what makes this revision different from others.

        Where the bundle is belongs to it: pods that start later fetch from there, so a move to another store must reach
        them. The version's name does not: one bundle by two names is one revision.
        """
        identity: dict[str, Any] = {
            "bundle": self.bundle_uri,
            "server": self.server.to_wire(),
            "credentials": self.credentials.name if self.credentials else None,
        }
        if self.public_key:
            # Only where there is one: revisions without keep the id that they have.
            identity["publicKey"] = self.public_key.to_wire()
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]

    @property
    def profiled_rate(self) -> float | None:
        """Requests a second of one copy of the model, from the bundle; None where it was measured on another device."""
        fits = self.profile is not None and self.profile.device.upper() == self.server.accelerator
        return self.profile.requests_per_second if self.profile and fits else None

    @property
    def resources(self) -> dict[str, dict[str, str]]:
        """Requests and limits of a Triton container: a GPU server asks for one GPU when it names no device."""
        asked = self.server.resources
        limits = dict(asked.limits)
        if self.server.accelerator == "GPU" and not any("/" in key for key in limits):
            limits[GPU] = "1"
        return {"requests": dict(asked.requests), "limits": limits}

    @property
    def pod_needs(self) -> dict[str, Any]:
        """As much of its pods' spec as says where they find a place."""
        placement = self.server.template.spec.to_wire()
        return {
            "containers": [{"name": "triton", "resources": self.resources}],
            "initContainers": [{"name": "fetch", "resources": PACKAGER_RESOURCES}],
            **{key: placement[key] for key in ("nodeSelector", "affinity", "tolerations") if key in placement},
            **({"priorityClassName": placement["priorityClassName"]} if "priorityClassName" in placement else {}),
        }

    @property
    def bundle_uri(self) -> str:
        """Where the bundle is, by digest: what the pods fetch whatever happens to the version's pointer."""
        root = self.uri.rsplit("/", 1)[0]
        return f"{root}/{self.model_name}@{self.digest}"


class StoredRevision(ApiModel):
    """A revision with its name and the order in which it was made."""

    name: str
    number: int = Field(ge=1)
    revision: Revision


def revision_of(spec: ModelDeploymentSpec, artifact: Artifact, pins: Pins) -> Revision:
    """The revision that ``spec`` asks for, once its bundle is resolved."""
    return Revision(
        digest=artifact.digest,
        uri=spec.model.uri,
        model_name=artifact.name,
        version=artifact.version,
        server=spec.server,
        credentials=spec.model.credentials_secret_ref,
        public_key=spec.public_key,
        pins=pins,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        max_batch_size=artifact.max_batch_size,
        size_bytes=artifact.size_bytes,
        longest_request_seconds=int(spec.traffic.timeout.total_seconds()),
        profile=artifact.profile,
    )
