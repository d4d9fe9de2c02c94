"""From the API's words to the policy's: ``spec.autoscaling`` to a Policy, a decision to ``status.scaling``."""

from tidegate.api.autoscaling import Autoscaling, ScalingInput, ScalingRules, ScalingStatus
from tidegate.domain.scaling.limits import Direction, Limits, Rule, Select
from tidegate.domain.scaling.memory import remembered
from tidegate.domain.scaling.policy import Decision, Policy, State


def policy(spec: Autoscaling) -> Policy:
    """What the user asks for."""
    return Policy(
        percentile=spec.objective.percentile,
        milliseconds=float(spec.objective.milliseconds),
        limits=Limits(
            spec.min_replicas,
            spec.max_replicas,
            _direction(spec.behavior.scale_up),
            _direction(spec.behavior.scale_down),
        ),
        idle_seconds=spec.idle_before_zero.total_seconds(),
    )


def _direction(rules: ScalingRules) -> Direction:
    return Direction(
        window=float(rules.stabilization_window_seconds),
        rules=tuple(
            Rule(each.value, float(each.period_seconds), each.type == "Percent") for each in rules.policies or ()
        ),
        select=Select(rules.select_policy.value),
    )


def status(decision: Decision, state: State) -> ScalingStatus:
    """What is reported, with what the next operator has to know."""
    return ScalingStatus(
        desired=decision.replicas,
        reason=decision.reason.value,
        message=decision.message,
        inputs=[ScalingInput(name=name, value=value) for name, value in decision.inputs.items()],
        memory=remembered(state),
    )
