"""``spec.autoscaling`` and ``status.scaling``: what a user asks for, and what is reported and remembered."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tidegate.api.types import ApiModel, Duration

Word = Annotated[str, StringConstraints(max_length=64)]
Text = Annotated[str, StringConstraints(max_length=1024)]
Numbers = Annotated[list[float], Field(max_length=256)]


class SelectPolicy(StrEnum):
    """Which of several policies counts, as in HPA v2."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class ScalingPolicy(ApiModel):
    """One bound on the rate of change, as in HPA v2."""

    type: Literal["Pods", "Percent"] = Field(
        description="Pods: value is a number of pods. Percent: value is percent of the pods at the start of the "
        "period. Example: Pods."
    )
    value: Annotated[int, Field(ge=1, le=100_000)] = Field(
        description="The largest change within the period, in pods or percent. Example: 4."
    )
    period_seconds: Annotated[int, Field(ge=1, le=1800)] = Field(
        description="Length of the period, in seconds, at most 1800. Example: 60."
    )


class ScalingRules(ApiModel):
    """Bounds of one direction, as in HPA v2. Without any, the policy alone decides."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        default=0,
        description="Down goes no lower than the highest recommendation of so many seconds, up no higher than the "
        "lowest; at most 3600. The policy itself keeps what demand may need again, so HPA's 300 for scaleDown is not "
        "needed here. Default: 0. Example: 300.",
    )
    select_policy: SelectPolicy = Field(
        default=SelectPolicy.MAX,
        description="Max: the policy that allows the most change counts. Min: the one that allows the least. "
        "Disabled: no change in this direction. Default: Max. Example: Min.",
    )
    policies: list[ScalingPolicy] | None = Field(
        default=None,
        max_length=8,
        description="Bounds on the rate of change. Default: none, any change at once. "
        "Example: [{type: Percent, value: 100, periodSeconds: 15}].",
    )


class Behavior(ApiModel):
    """Bounds on changes of the size, in the words of HPA v2."""

    scale_up: ScalingRules = Field(
        default_factory=ScalingRules,
        description="Bounds on growing. Default: none. "
        "Example: {policies: [{type: Pods, value: 4, periodSeconds: 15}]}.",
    )
    scale_down: ScalingRules = Field(
        default_factory=ScalingRules,
        description="Bounds on shrinking. Default: none. Example: {stabilizationWindowSeconds: 300}.",
    )


class Objective(ApiModel):
    """What is promised to clients: a percentile of the latency."""

    percentile: Annotated[float, Field(ge=50, le=99.9)] = Field(
        default=95.0,
        description="Percent of the requests that must be answered in time, from 50 to 99.9. It is also what a late "
        "request is worth: at 95, as much as 20 requests on time cost. Default: 95.0. Example: 99.",
    )
    milliseconds: Annotated[int, Field(ge=1, le=600_000)] = Field(
        description="In time means within so many milliseconds, measured at the routers, queues included. Example: 50."
    )


class Autoscaling(ApiModel):
    """Keeps a percentile of the latency under its limit at the lowest cost."""

    min_replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1,
        description="Fewest pods. 0 lets a model without requests go to zero; its next request waits at the router "
        "for a pod. Default: 1. Example: 2.",
    )
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(description="Most pods, whatever demand is. Example: 8.")
    objective: Objective = Field(description="The latency to keep. Example: {percentile: 95, milliseconds: 50}.")
    behavior: Behavior = Field(
        default_factory=Behavior,
        description="Bounds on changes of the size, as in HPA v2. Default: none. "
        "Example: {scaleDown: {stabilizationWindowSeconds: 300}}.",
    )
    idle_before_zero: Duration = Field(
        default=timedelta(minutes=5),
        description="How long no request may have come before the last pod goes, with minReplicas 0. Default: 5m. "
        "Example: 30m.",
    )
    interval: Duration = Field(
        default=timedelta(seconds=2),
        description="How often requests are counted and the size is decided, from 1s to 30s. A jump is noticed no "
        "earlier. Default: 2s. Example: 5s.",
    )


class ScalingInput(ApiModel):
    """One number that a decision rests on."""

    name: Word = Field(description="What it is. Example: forecast.")
    value: float = Field(description="How much; rates are requests a second, times seconds. Example: 42.5.")


class ScalingMemory(ApiModel):
    """What the policy learned, for the operator that comes next. Its meaning is the policy's own.

    ``version`` tells how to read it; one that an operator does not know is dropped, and it learns again.
    """

    version: int = Field(default=2, description="Form of this memory. Example: 2.")
    capacity: Numbers = Field(default_factory=list, description="What one replica serves, as learned.")
    demand: Numbers = Field(default_factory=list, description="Rates of different memory and their trend.")
    phases: Numbers = Field(default_factory=list, description="Times between abrupt changes, and the jumps after them.")
    phase: Numbers = Field(default_factory=list, description="Since when demand is as it is, and what it fell from.")
    prices: Numbers = Field(default_factory=list, description="What each law would have cost of late.")
    recommended: Numbers = Field(default_factory=list, description="Times and sizes that were recommended.")
    sizes: Numbers = Field(default_factory=list, description="Times and sizes that were set.")
    correction: float = Field(default=1.0, description="Factor on demand, learned from the measured percentile.")
    last_arrival: float = Field(default=0.0, description="When a request came last, in seconds since 1970.")


class ScalingStatus(ApiModel):
    """The last decision about the size."""

    desired: int = Field(description="Pods that there shall be, of all revisions. Example: 4.")
    reason: Word = Field(description="Why, in one CamelCase word of a closed set. Example: Demand.")
    message: Text = Field(default="", description="Why, for people.")
    inputs: list[ScalingInput] = Field(
        default_factory=list, max_length=32, description="The numbers behind it. Example: [{name: rate, value: 42.5}]."
    )
    memory: ScalingMemory | None = Field(default=None, description="What the policy learned; not for people.")
