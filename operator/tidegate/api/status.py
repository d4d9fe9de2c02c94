"""The status of a ModelDeployment: what the operator reports and the state it cannot observe.

What can be observed (pods, weights at the routers) is read again on every reconcile; only the fields of ``rollout``
and the pinned ``artifact`` are memory.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from tidegate.api.autoscaling import ScalingStatus
from tidegate.api.types import ApiModel

Text = Annotated[str, StringConstraints(max_length=1024)]
LongText = Annotated[str, StringConstraints(max_length=4096)]
Evidence = Annotated[dict[str, Any], Field(max_length=32)]
Handled = Annotated[dict[str, Text], Field(max_length=8)]
ContractEntry = Annotated[dict[str, Any], Field(max_length=16)]


class Phase(StrEnum):
    """One word for people; machines read the conditions."""

    PENDING = "Pending"
    RESOLVING = "Resolving"
    STARTING = "Starting"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    ABORTED = "Aborted"
    BAKING = "Baking"
    READY = "Ready"
    DEGRADED = "Degraded"
    SUSPENDED = "Suspended"
    FAILED = "Failed"


class Reason(StrEnum):
    """Every reason a condition or an event can carry."""

    # Neutral and good news
    READY = "Ready"
    AVAILABLE = "Available"
    VERIFIED = "Verified"
    ROUTED = "Routed"
    COMPLETE = "Complete"
    RESOLVING = "Resolving"
    STARTING = "Starting"
    ROUTING = "Routing"
    HOLDING = "Holding"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    BAKING = "Baking"
    BAKED = "Baked"
    WAITING = "WaitingForPromotion"
    STEP_COMPLETED = "StepCompleted"
    SKIPPED = "StepSkipped"
    RETRIED = "Retried"
    REQUESTED = "Requested"
    REQUEST_REFUSED = "RequestRefused"
    PASS = "Pass"
    INCONCLUSIVE = "Inconclusive"
    NO_DATA = "NoData"
    ANALYSIS_INCONCLUSIVE = "AnalysisInconclusive"
    PLANNED = "Planned"
    CAPACITY_THERE = "CapacityThere"
    CAPACITY_SHORT = "CapacityShort"
    SUPERSEDED = "Superseded"
    STEP_STARTED = "StepStarted"
    ROLLOUT_STARTED = "RolloutStarted"
    PAUSED = "Paused"
    RESUMED = "Resumed"
    SUSPENDED = "Suspended"
    NOT_APPLICABLE = "NotApplicable"
    SCALED_TO_ZERO = "ScaledToZero"
    SCALED = "Scaled"
    SCALING = "Scaling"
    AT_MAXIMUM = "AtMaximum"
    # Named causes
    ANALYSIS_FAILED = "AnalysisFailed"
    CANARY_CRASHED = "CanaryCrashed"
    FETCH_FAILED = "FetchFailed"
    ARTIFACT_NOT_FOUND = "ArtifactNotFound"
    DIGEST_MISMATCH = "DigestMismatch"
    BUNDLE_INVALID = "BundleInvalid"
    SIGNATURE_MISSING = "SignatureMissing"
    SIGNATURE_INVALID = "SignatureInvalid"
    PUBLIC_KEY_INVALID = "PublicKeyInvalid"
    MODEL_LOAD_FAILED = "ModelLoadFailed"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    OUT_OF_MEMORY = "OutOfMemory"
    POD_REFUSED = "PodRefused"
    CONTAINER_CONFIG = "ContainerConfigInvalid"
    ROUTER_NOT_READY = "RouterNotReady"
    NAME_CONFLICT = "NameConflict"
    ROUTE_REFUSED = "RouteRefused"
    GATEWAY_API_MISSING = "GatewayAPIMissing"
    PROGRESS_DEADLINE = "ProgressDeadlineExceeded"
    PARITY_FAILED = "ParityFailed"
    CONTRACT_BREAKING = "ContractBreaking"


class Condition(ApiModel):
    """metav1.Condition."""

    type: Annotated[str, StringConstraints(max_length=316)] = Field(description="Type of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: int | None = Field(default=None, description="Generation the condition was computed for.")
    last_transition_time: datetime = Field(description="When the status last changed.")
    reason: Text = Field(description="Why, in one CamelCase word of a closed set.")
    message: LongText = Field(default="", description="Why, for people, with what to do.")


class Comparison(ApiModel):
    """How a bundle's contract compares with that of the bundle that served when it was resolved."""

    stable: Text = Field(description="Digest of the bundle that served.")
    verdict: Literal["Compatible", "Additive", "Breaking"] = Field(
        description="Compatible: the same promise. Additive: more than was promised. Breaking: less, or another."
    )
    message: LongText = Field(default="", description="The first changes, for people.")


class MeasuredRate(ApiModel):
    """What the bundle's profile says of its speed."""

    device: Text = Field(description="Kind of the device that it was measured on. Example: CPU.")
    requests_per_second: float = Field(
        gt=0, description="Requests that one copy of the model answers at its best batch."
    )


class Artifact(ApiModel):
    """The bundle behind spec.model, resolved once and pinned."""

    uri: Text = Field(description="The address that was resolved.")
    digest: Text = Field(description="Digest of the bundle.")
    name: Text = Field(description="Name of the model in the bundle, and in the inference protocol.")
    version: Text = Field(default="", description="Version of the bundle.")
    size_bytes: int | None = Field(default=None, description="Size of the bundle's files, in bytes.")
    verified_by: Text | None = Field(
        default=None,
        description="Secret and key, as <name>/<key>, whose public keys the signature was checked with; absent when "
        "no signature was asked for.",
    )
    compared: Comparison | None = Field(
        default=None, description="Its contract beside that of the stable revision; absent when there was none."
    )
    inputs: list[ContractEntry] | None = Field(default=None, max_length=64, description="Inputs of the contract.")
    max_batch_size: int | None = Field(
        default=None, description="Largest batch of the contract; 0 means that the first dimension is no batch."
    )
    outputs: list[ContractEntry] | None = Field(default=None, max_length=64, description="Outputs of the contract.")
    profile: MeasuredRate | None = Field(
        default=None,
        description="Its speed as it was measured at export; absent when it was not. Autoscaling begins there.",
    )


class RevisionStatus(ApiModel):
    """One revision that has pods."""

    revision: Text = Field(description="Name of the revision.")
    digest: Text = Field(description="Digest of its bundle.")
    version: Text = Field(default="", description="Version of its bundle.")
    uri: Text = Field(default="", description="Address its bundle came from.")
    weight: int = Field(
        default=0,
        description="Share of requests, in percent, that the routers were told; with router: "
        "Service the share of connections that the ready pods make.",
    )
    replicas: int = Field(default=0, description="Pods wanted.")
    ready_replicas: int = Field(default=0, description="Pods ready.")


class Aborted(ApiModel):
    """Why a rollout was given up, and when."""

    reason: Text = Field(description="Named cause.")
    message: LongText = Field(description="What happened and what to do.")
    time: datetime = Field(description="When the rollout was given up.")


class BudgetStatus(ApiModel):
    """How a rollout gets its pods."""

    mode: Literal["Surge", "InPlace", "Recreate", "Wait"] = Field(
        description="Surge starts pods beside those that serve, InPlace replaces them one by one, Recreate ends them "
        "first, Wait waits for room."
    )
    extra: int | None = Field(default=None, description="Pods beyond spec.replicas; absent: as many as the steps need.")
    message: LongText = Field(default="", description="Why, with what was seen of the cluster's room.")
    tried: bool | None = Field(default=None, description="True when pods in place of old ones found no room.")


class CheckStatus(ApiModel):
    """What one check said at its last look."""

    check: Text = Field(description="Name of the check.")
    verdict: Text = Field(description="Pass, Fail, Inconclusive or NoData.")
    value: float | None = Field(default=None, description="What was measured, in the unit that the message names.")
    limit: float | None = Field(default=None, description="What it is held against.")
    samples: int = Field(default=0, description="Requests, comparisons or values behind it.")
    message: LongText = Field(default="", description="The evidence in words.")


class RolloutStatus(ApiModel):
    """Progress of the current rollout."""

    revision: Text = Field(description="Revision that takes over.")
    step: int = Field(default=0, description="Index of the current step, from 0; equal to steps while promoting.")
    steps: int = Field(default=0, description="Number of steps.")
    weight: int = Field(default=0, description="Weight of the current step, in percent; 0 while pods start.")
    started_at: datetime = Field(description="When the rollout began.")
    progressed_at: datetime = Field(description="When it last moved forward; the progress deadline counts from here.")
    step_started_at: datetime | None = Field(default=None, description="When every router had the step's weight.")
    message: LongText = Field(default="", description="What the rollout is doing or waiting for.")
    known_good: bool | None = Field(
        default=None, description="True when the revision had all traffic before, so that the steps are left out."
    )
    plan: BudgetStatus | None = Field(default=None, description="How the rollout gets its pods.")
    verdict: Text | None = Field(default=None, description="What the checks said at the last look of this step.")
    extended: bool | None = Field(
        default=None, description="True when the hold is over and the step goes on because the checks have not passed."
    )
    evidence: Evidence | None = Field(
        default=None, description="What the checks remember between looks; not meant for reading."
    )
    aborted: Aborted | None = Field(default=None, description="Why it was given up; absent while it goes on.")


class BakeStatus(ApiModel):
    """The time after a promotion in which the former revision stays warm."""

    revision: Text = Field(description="Revision that was promoted.")
    former: Text = Field(description="Revision that stays warm.")
    started_at: datetime = Field(description="When the promotion was complete.")
    verdict: Text | None = Field(default=None, description="What the checks said at the last look.")
    evidence: Evidence | None = Field(
        default=None, description="What the checks remember between looks; not meant for reading."
    )


class Override(ApiModel):
    """A former revision that runs instead of what spec asks for, until spec asks for something else."""

    revision: Text = Field(description="Revision that runs.")
    instead_of: Text = Field(description="Revision that spec asks for.")
    reason: Text = Field(description="Named cause.")
    message: LongText = Field(description="What happened and what to do.")
    time: datetime = Field(description="Since when.")


class FormerRevision(ApiModel):
    """A revision that served once, or serves now."""

    revision: Text = Field(description="Name of the revision.")
    digest: Text = Field(description="Digest of its bundle.")
    uri: Text = Field(description="Address its bundle came from.")
    promoted_at: datetime = Field(description="When it got all traffic.")


class StartupStatus(ApiModel):
    """How long pods of a revision took to start: the median of those that were seen, in seconds.

    ``fetch`` holds the check of every file, ``load`` the warm-up: Kubernetes does not tell them apart.
    """

    revision: Text = Field(description="Revision that was measured.")
    total_seconds: float = Field(description="From creation to ready.")
    schedule_seconds: float | None = Field(default=None, description="Waiting for a node.")
    pull_seconds: float | None = Field(default=None, description="Volumes, sandbox and images.")
    fetch_seconds: float | None = Field(default=None, description="Fetching and verifying the bundle.")
    load_seconds: float | None = Field(default=None, description="Loading and warming up the model.")


class Failure(ApiModel):
    """The last thing that went wrong, kept after recovery."""

    reason: Text = Field(description="Named cause.")
    message: LongText = Field(description="What happened and what to do.")
    revision: Text = Field(default="", description="Revision it concerned; empty before one exists.")
    time: datetime = Field(description="When this failure was first seen.")


class ModelDeploymentStatus(ApiModel):
    """What the operator reports."""

    observed_generation: int | None = Field(default=None, description="Generation of spec this status is about.")
    phase: Phase | None = Field(default=None, description="One word for people.")
    url: Text | None = Field(
        default=None,
        description="Address inside the cluster, HTTP; gRPC is on port 8001. Absent where a Gateway routes.",
    )
    port: int | None = Field(default=None, description="Port of the model's listener at the routers.")
    artifact: Artifact | None = Field(default=None, description="The bundle behind spec.model.")
    stable: RevisionStatus | None = Field(default=None, description="Revision with the (rest of the) traffic.")
    canary: RevisionStatus | None = Field(default=None, description="Revision that is taking over.")
    rollout: RolloutStatus | None = Field(default=None, description="Progress of the current rollout.")
    bake: BakeStatus | None = Field(default=None, description="The time after the last promotion.")
    override: Override | None = Field(default=None, description="What runs instead of what spec asks for, and why.")
    analysis: list[CheckStatus] = Field(
        default_factory=list, max_length=17, description="What each check said at its last look."
    )
    startup: StartupStatus | None = Field(
        default=None, description="How long the pods of the newest revision that became ready took to start."
    )
    handled: Handled | None = Field(
        default=None, description="Requests by people that were carried out or refused, by name, as they were written."
    )
    revisions: list[FormerRevision] = Field(
        default_factory=list, max_length=51, description="Revisions that got all traffic, newest first."
    )
    last_failure: Failure | None = Field(default=None, description="The last failure, kept after recovery.")
    scaling: ScalingStatus | None = Field(default=None, description="The last decision of spec.autoscaling.")
    replicas: int = Field(default=0, description="Pods of all revisions.")
    ready_replicas: int = Field(default=0, description="Ready pods of all revisions.")
    ready: Text | None = Field(default=None, description="Ready and wanted pods, for people.")
    selector: Text | None = Field(default=None, description="Label selector of the pods, for the scale subresource.")
    conditions: list[Condition] = Field(
        default_factory=list, max_length=16, description="Ready, Available, Progressing and others."
    )
