"""ModelDeployment, tidegate.dev/v1alpha1: what a user writes. The CRD is generated from these classes.

Only fields that do something are here; the API server refuses every other one.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tidegate.api import rules
from tidegate.api.autoscaling import Autoscaling
from tidegate.api.rollout import Rollout
from tidegate.api.types import ApiModel, Duration, Format, Quantity

GROUP = "tidegate.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"

Digest = Annotated[
    str, Format(r"^sha256:[0-9a-f]{64}$", "write sha256: and 64 hexadecimal digits in lower case", max_length=71)
]
_BUCKETS = (
    r"(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
    r"|gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
    r"|az://[a-z0-9](-?[a-z0-9]){2,62})"
    # Folders of a bucket, none of them made of dots alone.
    r"(/\.*[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*)*"
)
_REGISTRIES = (
    r"oci://[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?"
    r"(/[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*)*"
)
_BUNDLE = r"/[a-z0-9]([-a-z0-9]*[a-z0-9])?(:[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?|@sha256:[0-9a-f]{64})"
BundleUri = Annotated[
    str,
    Format(
        f"^({_BUCKETS}|{_REGISTRIES}){_BUNDLE}$",
        "write s3://<bucket>[/<prefix>]/<name>:<version> or s3://<bucket>[/<prefix>]/<name>@sha256:<64 hexadecimal "
        "digits>, such as s3://models/digits:3, or the same with gs://<bucket>, az://<container> or "
        "oci://<registry>[:<port>]; the name has lower-case letters, digits and '-', the version also '.' and '_', "
        "and other stores are not supported",
        max_length=1024,
    ),
]
ImageName = Annotated[
    str,
    Format(
        r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$",
        "write an image as <registry>/<repository>:<tag> or @sha256:<digest>, such as "
        "nvcr.io/nvidia/tritonserver:26.10-py3",
        max_length=512,
    ),
]
Flag = Annotated[
    str,
    Format(
        r"^--[a-z][a-z-]*(=.*)?$", "write one flag with its value in one item, such as --log-verbose=1", max_length=1024
    ),
]
ObjectName = Annotated[
    str,
    Format(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "write the name of an object: lower-case letters, digits, '-' and '.', such as models-read",
        max_length=253,
    ),
]
SecretKey = Annotated[
    str,
    Format(
        r"^\.?[-_A-Za-z0-9][-._A-Za-z0-9]*$",
        "write a key of the Secret: letters, digits, '-', '_' and '.', such as cosign.pub",
        max_length=253,
    ),
]
LabelKey = Annotated[str, StringConstraints(max_length=253)]
LabelValue = Annotated[
    str,
    Format(
        r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        "write letters, digits, '-', '_' and '.', at most 63, such as vision",
        max_length=63,
    ),
]
HeaderName = Annotated[
    str,
    Format(
        r"^[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?$",
        "write the name of a header: letters, digits, '-' and '_', such as x-user-id",
        max_length=128,
    ),
]
Namespace = Annotated[
    str,
    Format(
        r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        "write the name of a namespace: lower-case letters, digits and '-', at most 63, such as infra",
        max_length=63,
    ),
]
Hostname = Annotated[
    str,
    Format(
        r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$",
        "write one hostname without wildcards, in lower case, such as digits.models.example.com",
        max_length=253,
    ),
]
FreeObject = Annotated[dict[str, Any], Field(max_length=16)]


class SecretReference(ApiModel):
    """A Secret in the namespace of the ModelDeployment."""

    name: ObjectName = Field(description="Name of the Secret. Example: models-read.")


class SecretKeyReference(ApiModel):
    """One key of a Secret in the namespace of the ModelDeployment."""

    name: ObjectName = Field(description="Name of the Secret. Example: signing.")
    key: SecretKey = Field(description="Key in the Secret. Example: cosign.pub.")

    def __str__(self) -> str:
        return f"{self.name}/{self.key}"


class Model(ApiModel):
    """Which bundle runs."""

    uri: BundleUri = Field(
        description="Address of the bundle: <store>/<name>:<version>, or <store>/<name>@sha256:<digest>, where <store> "
        "is s3://<bucket>[/<prefix>], gs://<bucket>[/<prefix>], az://<container>[/<prefix>] or "
        "oci://<registry>[:<port>][/<path>]. Example: s3://models/digits:3."
    )
    digest: Digest | None = Field(
        default=None,
        description="Digest that the bundle must have. When absent, the version is resolved once and the digest is "
        "pinned in status. Example: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.",
    )
    credentials_secret_ref: SecretReference | None = Field(
        default=None,
        description="Secret with the store's credentials and endpoint, read only by the pods of this model. Keys, each "
        "optional, for s3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL; "
        "for gs: GOOGLE_SERVICE_ACCOUNT_KEY; for az: AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, "
        "AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_TENANT_ID, AZURE_STORAGE_CLIENT_ID, AZURE_STORAGE_CLIENT_SECRET, "
        "AZURE_STORAGE_ENDPOINT; for oci: OCI_USERNAME, OCI_PASSWORD, .dockerconfigjson, MODEL_PACKAGER_PLAIN_HTTP. "
        "When absent, the identity of the pod's service account is used. Example: {name: models-read}.",
    )
    allow_breaking: bool = Field(
        default=False,
        description="True lets a bundle take over whose contract breaks clients of the one that serves: an input or "
        "output that is gone, renamed or of another type, a smaller maximum batch. Default: false. Example: true.",
    )


class Signature(ApiModel):
    """A signature that the bundle must have."""

    public_key_secret_ref: SecretKeyReference = Field(
        description="Key of a Secret with one or more public keys in PEM; a valid signature by one of them is enough. "
        "Example: {name: signing, key: cosign.pub}."
    )


class Verification(ApiModel):
    """What is checked of a bundle besides its digest."""

    signature: Signature = Field(
        description="The bundle must be signed: this is checked before its address is resolved, and again by every "
        "pod before it fetches a file."
    )


class TemplateMetadata(ApiModel):
    """Labels and annotations added to the model's pods."""

    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict,
        max_length=64,
        description="Labels added to the pods; keys under tidegate.dev/ and app.kubernetes.io/ are reserved. "
        "Example: {team: vision}.",
    )
    annotations: dict[LabelKey, Annotated[str, StringConstraints(max_length=4096)]] = Field(
        default_factory=dict,
        max_length=64,
        description="Annotations added to the pods; keys under tidegate.dev/ are reserved. "
        "Example: {example.com/owner: vision}.",
    )


class TemplatePodSpec(ApiModel):
    """The part of a pod's spec that users choose; the operator owns the rest."""

    node_selector: dict[LabelKey, LabelValue] | None = Field(
        default=None, max_length=32, description="Labels a node must have. Example: {gpu: l4}."
    )
    tolerations: list[FreeObject] | None = Field(
        default=None,
        max_length=32,
        description="Taints the pods tolerate, as in a pod. Example: [{key: nvidia.com/gpu, operator: Exists}].",
    )
    affinity: FreeObject | None = Field(
        default=None, description="Affinity, as in a pod. Example: {podAntiAffinity: {...}}."
    )
    topology_spread_constraints: list[FreeObject] | None = Field(
        default=None, max_length=16, description="Spread over topology domains, as in a pod. Example: [{maxSkew: 1}]."
    )
    service_account_name: ObjectName | None = Field(
        default=None,
        description="Service account of the model's pods, for stores that know workload identity. Its token is not "
        "mounted. Default: default. Example: models-read.",
    )
    image_pull_secrets: list[SecretReference] | None = Field(
        default=None, max_length=16, description="Secrets to pull images with. Example: [{name: registry}]."
    )
    priority_class_name: ObjectName | None = Field(
        default=None, description="Priority class of the pods. Example: serving-high."
    )
    runtime_class_name: ObjectName | None = Field(
        default=None, description="Runtime class of the pods. Example: nvidia."
    )
    scheduler_name: ObjectName | None = Field(
        default=None, description="Scheduler of the pods. Default: the cluster's. Example: default-scheduler."
    )


class Template(ApiModel):
    """Overlay on the model's pods."""

    metadata: TemplateMetadata = Field(default_factory=TemplateMetadata, description="Labels and annotations.")
    spec: TemplatePodSpec = Field(default_factory=TemplatePodSpec, description="Where and as whom the pods run.")


class Resources(ApiModel):
    """Resources of one Triton container."""

    requests: dict[LabelKey, Quantity] = Field(
        default_factory=dict, max_length=16, description="Reserved amounts. Example: {cpu: 500m, memory: 1Gi}."
    )
    limits: dict[LabelKey, Quantity] = Field(
        default_factory=dict, max_length=16, description="Upper limits. Example: {nvidia.com/gpu: 1}."
    )


class Server(ApiModel):
    """The Triton server that runs the bundle."""

    image: ImageName = Field(
        default="nvcr.io/nvidia/tritonserver:26.10-py3",
        description="Triton's image. Default: nvcr.io/nvidia/tritonserver:26.10-py3. Example: tidegate/triton-cpu:dev.",
    )
    accelerator: Literal["GPU", "CPU"] = Field(
        default="GPU",
        description="Which of the bundle's configurations runs, configs/gpu.pbtxt or configs/cpu.pbtxt. GPU adds a "
        "limit of nvidia.com/gpu: 1 when resources name no accelerator. Default: GPU. Example: CPU.",
    )
    resources: Resources = Field(default_factory=Resources, description="Resources of each Triton container.")
    args: list[Flag] = Field(
        default_factory=list,
        max_length=64,
        description="More flags for tritonserver. Flags the operator sets itself (repository, ports, model control, "
        "exit time-out) are refused. Example: [--log-verbose=1].",
    )
    template: Template = Field(default_factory=Template, description="Overlay on the pods: metadata and scheduling.")


class Gateway(ApiModel):
    """The Gateway that the model's routes are attached to, and where they meet its listeners.

    A Gateway accepts an HTTPRoute or a GRPCRoute for one hostname of one listener, never both.
    """

    name: ObjectName = Field(description="Name of the Gateway. Example: models.")
    namespace: Namespace | None = Field(
        default=None, description="Namespace of the Gateway. When absent, that of the ModelDeployment. Example: infra."
    )
    section_name: ObjectName | None = Field(
        default=None,
        description="Listener of the HTTPRoute. When absent, every listener that takes it. Example: http.",
    )
    grpc_section_name: ObjectName | None = Field(
        default=None,
        description="Listener of the GRPCRoute. When absent, every listener that takes it. Example: grpc.",
    )
    hostname: Hostname | None = Field(
        default=None,
        description="Hostname of the HTTPRoute. When absent, every one, so that no other model fits on the listener. "
        "Example: digits.models.example.com.",
    )
    grpc_hostname: Hostname | None = Field(
        default=None,
        description="Hostname of the GRPCRoute. When absent, every one, so that no other model fits on the listener. "
        "Example: digits-grpc.models.example.com.",
    )


class Traffic(ApiModel):
    """How requests reach the model."""

    router: Literal["Envoy", "GatewayAPI", "Service"] = Field(
        default="Envoy",
        description="Who routes. Envoy: the operator's own routers. GatewayAPI: a Gateway that is there, by an "
        "HTTPRoute and a GRPCRoute; the operator must be installed with gatewayAPI.enabled. Service: kube-proxy, to "
        "the pods themselves; shares come from numbers of pods, and nothing is counted. It cannot be changed. Default: "
        "Envoy. Example: GatewayAPI.",
    )
    gateway: Gateway | None = Field(
        default=None,
        description="The Gateway of router: GatewayAPI. Example: {name: models, hostname: digits.models.example.com, "
        "grpcHostname: digits-grpc.models.example.com}.",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=30),
        description="Longest time for one request, 1s to 1h. A GRPCRoute has no time-out: with router: GatewayAPI it "
        "holds for HTTP alone. A Service ends no request: with router: Service only the default is taken, and does "
        "nothing. Default: 30s. Example: 5s.",
    )
    affinity: Literal["None", "ClientAddress", "Header"] = Field(
        default="None",
        description="How the revision of a request is chosen during a rollout. None: by chance, each request for "
        "itself. ClientAddress and Header: a client stays on its revision, and on the new one when its weight rises. "
        "ClientAddress goes by the last address in x-forwarded-for where there is one, else by that of the connection; "
        "a request without the header goes by chance. With router: Service ClientAddress keeps a client on its pod. "
        "Default: None. Example: Header.",
    )
    affinity_header: HeaderName | None = Field(
        default=None,
        description="Header whose value tells clients apart, with affinity: Header. Example: x-user-id.",
    )


class ModelDeploymentSpec(ApiModel):
    """What should run."""

    model: Model = Field(description="Which bundle runs; editing it starts a rollout.")
    verification: Verification | None = Field(
        default=None,
        description="What is checked of the bundle besides its digest, which is always checked; editing it starts a "
        "rollout.",
    )
    server: Server = Field(default_factory=Server, description="The Triton server; editing it starts a rollout.")
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1,
        description="Number of Triton pods; target of the scale subresource. With autoscaling only the size to begin "
        "with. Default: 1. Example: 2.",
    )
    autoscaling: Autoscaling | None = Field(
        default=None,
        description="Sizes the model by the latency that is promised to clients; replicas then has no other owner. "
        "When absent, replicas holds, and an HPA or KEDA may own it. Example: {maxReplicas: 8, objective: "
        "{milliseconds: 50}}.",
    )
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision takes over.")
    traffic: Traffic = Field(default_factory=Traffic, description="How requests reach the model.")
    suspend: bool = Field(
        default=False,
        description="True stops every pod of the model and frees its accelerators; requests get 503 until it is "
        "false again. Default: false. Example: true.",
    )
    paused: bool = Field(
        default=False,
        description="True keeps a rollout at its current weight; serving goes on. Default: false. Example: true.",
    )
    revision_history_limit: Annotated[int, Field(ge=0, le=50)] = Field(
        default=5, description="How many former revisions status remembers. Default: 5. Example: 10."
    )

    @property
    def public_key(self) -> SecretKeyReference | None:
        """Where the public keys are of which one must have signed the bundle; None when no signature is asked for."""
        return self.verification.signature.public_key_secret_ref if self.verification else None

    @model_validator(mode="after")
    def _obeys_the_rules(self) -> Self:
        """Check what the API server checks with CEL, for specs that never saw an API server."""
        broken = rules.violations({"spec": self.to_wire()})
        if broken:
            raise ValueError("; ".join(broken))
        return self
