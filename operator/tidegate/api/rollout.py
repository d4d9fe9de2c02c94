"""How a new revision takes over: strategy, steps, analysis, bake and budget."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tidegate.api.types import ApiModel, Duration, Format

Percent = Annotated[float, Field(ge=0, le=100)]
CheckName = Annotated[
    str,
    Format(
        r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$",
        "write a name of lower-case letters, digits and '-', at most 63, such as latency",
        max_length=63,
    ),
]


class ParityStep(ApiModel):
    """Replay the bundle's golden cases against the new pods."""


class ShadowStep(ApiModel):
    """Compare predictions on copies of live requests; clients get stable's answers only."""

    percent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10,
        description="Share of live requests that is compared, in percent, 1 to 100. Default: 10. Example: 5.",
    )
    hold: Duration = Field(description="How long predictions are compared, 1s to 24h. Example: 2m.")


class PauseStep(ApiModel):
    """Wait, for a time or for a person."""

    duration: Duration | None = Field(
        default=None,
        description="How long to wait, 1s to 24h. When absent, until somebody promotes (kubectl md promote). "
        "Example: 1h.",
    )


class Step(ApiModel):
    """One step of a rollout: exactly one of weight, parity, shadow and pause."""

    weight: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None,
        description="Share of requests the new revision gets, in percent, 1 to 100, rising from step to step; needs "
        "hold. Example: 25.",
    )
    hold: Duration | None = Field(
        default=None,
        description="How long the weight stays before the next step, 1s to 24h; it stays longer while the checks have "
        "not passed. Example: 2m.",
    )
    parity: ParityStep | None = Field(
        default=None,
        description="Replay the bundle's golden cases against the new pods, on their own device; an answer outside its "
        "tolerance ends the rollout. Example: {}.",
    )
    shadow: ShadowStep | None = Field(
        default=None,
        description="Replay copies of live requests to the new pods and compare their predictions with stable's. "
        "Example: {percent: 10, hold: 2m}.",
    )
    pause: PauseStep | None = Field(
        default=None,
        description="Wait for a time, or for a person when no duration is given. Example: {duration: 1h}.",
    )


CANARY_STEPS = (
    Step(parity=ParityStep()),
    Step(weight=5, hold=timedelta(minutes=2)),
    Step(weight=25, hold=timedelta(minutes=2)),
    Step(weight=50, hold=timedelta(minutes=5)),
)
WHOLE_STEPS = (Step(parity=ParityStep()),)


class PrometheusQuery(ApiModel):
    """A PromQL query held against fixed limits."""

    query: Annotated[str, StringConstraints(min_length=1, max_length=4096)] = Field(
        description="PromQL with one number as its result. {{namespace}}, {{model}}, {{stable}} and {{canary}} stand "
        'for the names of this rollout. Example: sum(rate(orders_lost_total{revision="{{canary}}"}[1m])).'
    )
    max: float | None = Field(default=None, description="Highest value that is good. Example: 0.1.")
    min: float | None = Field(default=None, description="Lowest value that is good. Example: 0.95.")
    sustained: Duration = Field(
        default=timedelta(seconds=10),
        description="How long the value must be beyond its limit without a break to fail, 1s to 24h. Default: 10s. "
        "Example: 30s.",
    )


class Check(ApiModel):
    """One check of a rollout: exactly one of percentile, maxPercent, minAgreementPercent and prometheus says which."""

    name: CheckName = Field(description="Name of the check, unique in its list. Example: latency.")
    percentile: Annotated[float, Field(ge=50, le=99.9)] | None = Field(
        default=None, description="Makes it a check of latency at this percentile, 50 to 99.9. Example: 95."
    )
    max_milliseconds: Annotated[float, Field(ge=0.001, le=3_600_000)] | None = Field(
        default=None,
        description="Latency: highest value of the percentile, in milliseconds, whatever stable does. Example: 80.",
    )
    max_increase_percent: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        default=None,
        description="Latency: how much higher than stable's the percentile may be, in percent. When neither this nor "
        "maxMilliseconds is given: 5. Example: 20.",
    )
    max_percent: Percent | None = Field(
        default=None,
        description="Makes it a check of errors: highest share of failed requests, in percent, whatever stable does; "
        "the share is compared with stable's as well. Example: 1.",
    )
    max_increase_points: Percent | None = Field(
        default=None,
        description="Errors: how many percentage points more than stable may fail. Default: 0.1. Example: 0.5.",
    )
    min_agreement_percent: Percent | None = Field(
        default=None,
        description="Makes it a check of predictions in shadow steps: lowest share that agrees with stable's, in "
        "percent. Example: 98.",
    )
    prometheus: PrometheusQuery | None = Field(
        default=None,
        description="Makes it a check of a PromQL query, asked of the Prometheus that the operator is installed with. "
        "Example: {query: my_metric, max: 0.1}.",
    )


class Analysis(ApiModel):
    """What is checked while a new revision has requests."""

    interval: Duration = Field(
        default=timedelta(seconds=2),
        description="How often the checks are looked at, 1s to 1h; looking more often makes no rollback likelier. "
        "Default: 2s. Example: 5s.",
    )
    min_requests: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=100,
        description="Requests of the new revision in each step without which a step does not pass; a step fails with "
        "any number. 0 lets a step pass without any request. Default: 100. Example: 1000.",
    )
    checks: list[Check] | None = Field(
        default=None,
        max_length=16,
        description="What is checked. When absent: at most 1 % errors and no more than stable, and a 95th percentile "
        "of latency at most 5 % above stable's. Example: [{name: errors, maxPercent: 1}].",
    )


class Bake(ApiModel):
    """How long the former revision stays warm after a promotion."""

    duration: Duration = Field(
        default=timedelta(minutes=10),
        description="How long the former revision keeps pods and the limits of the checks are watched after promotion, "
        "0s to 24h; 0s ends it at once. Default: 10m. Example: 1h.",
    )
    keep_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1,
        description="Pods that the former revision keeps meanwhile, at most as many as it had. Default: 1. Example: 2.",
    )


class Budget(ApiModel):
    """Pods that a rollout may use beyond spec.replicas, and what to do where there is no room."""

    max_extra_replicas: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        default=None,
        description="Highest number of pods of both revisions together beyond spec.replicas; 0 takes them "
        "from the serving revision, one by one. When absent, as many as the steps need. Example: 1.",
    )
    on_shortage: Literal["Wait", "InPlace", "Recreate"] = Field(
        default="Wait",
        description="What to do when the cluster has no room for them: Wait for room, InPlace gives up serving pods "
        "one by one, Recreate stops the serving revision first where nothing else is possible. Default: Wait. "
        "Example: InPlace.",
    )


class Rollout(ApiModel):
    """How a new revision takes over."""

    strategy: Literal["Canary", "BlueGreen", "Recreate"] = Field(
        default="Canary",
        description="Canary moves requests by weight steps; BlueGreen starts the new revision at full size and moves "
        "all requests at once; Recreate stops the old revision first, and requests fail meanwhile. Default: Canary. "
        "Example: BlueGreen.",
    )
    steps: list[Step] | None = Field(
        default=None,
        max_length=32,
        description="Steps before full promotion. When absent: parity, 5 % for 2m, 25 % for 2m, 50 % for 5m; for "
        "BlueGreen and Recreate: parity. An empty list promotes as soon as the new revision is ready. "
        "Example: [{weight: 10, hold: 30s}].",
    )
    analysis: Analysis = Field(default_factory=Analysis, description="What is checked on the way.")
    bake: Bake = Field(default_factory=Bake, description="The time after promotion.")
    budget: Budget = Field(default_factory=Budget, description="Pods that a rollout may use.")
    progress_deadline: Duration | None = Field(
        default=None,
        description="How long a revision may take to become ready, 10s to 24h. After it, a revision that fails by "
        "itself is given up, and one that waits for its surroundings is reported as Stalled and tried on; live traffic "
        "stays where it is. When absent: ten times the start-up measured for earlier revisions, at least 5m and at "
        "most 1h, and 15m where none was measured. Example: 30m.",
    )

    @property
    def effective_steps(self) -> tuple[Step, ...]:
        """The steps that run: those given, or the defaults of the strategy."""
        if self.steps is not None:
            return tuple(self.steps)
        return CANARY_STEPS if self.strategy == "Canary" else WHOLE_STEPS
