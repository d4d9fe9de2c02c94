"""What a user writes under `autoscaling` is what the policy does."""

import pytest
from pydantic import ValidationError

from tidegate.api.autoscaling import Autoscaling, ScalingStatus
from tidegate.domain.scaling.limits import Rule, Select
from tidegate.domain.scaling.memory import recalled
from tidegate.domain.scaling.policy import State, decide
from tidegate.domain.scaling.spec import policy, status
from tidegate.domain.scaling.window import Sample, Window

WRITTEN = {
    "minReplicas": 0,
    "maxReplicas": 8,
    "objective": {"percentile": 99, "milliseconds": 50},
    "behavior": {
        "scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]},
        "scaleDown": {
            "stabilizationWindowSeconds": 300,
            "selectPolicy": "Min",
            "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
        },
    },
    "idleBeforeZero": "30m",
    "interval": "5s",
}


def test_every_word_of_the_spec_reaches_the_policy() -> None:
    asked = policy(Autoscaling.model_validate(WRITTEN))
    assert (asked.percentile, asked.milliseconds, asked.idle_seconds) == (99, 50, 1800)
    assert (asked.limits.least, asked.limits.most) == (0, 8)
    assert asked.limits.up.rules == (Rule(4, 15),)
    assert asked.limits.down.rules == (Rule(50, 60, percent=True),)
    assert (asked.limits.down.window, asked.limits.down.select) == (300, Select.MIN)


def test_what_is_written_is_what_is_stored() -> None:
    assert Autoscaling.model_validate(WRITTEN).to_wire() == WRITTEN | {
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max"} | WRITTEN["behavior"]["scaleUp"],
            "scaleDown": WRITTEN["behavior"]["scaleDown"],
        }
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"objective": {"percentile": 100, "milliseconds": 50}}, "99.9", id="all requests in time"),
        pytest.param({"maxReplicas": 0}, "greater than or equal to 1", id="no replicas at all"),
        pytest.param({"minimum": 1}, "Extra inputs", id="a field that does nothing"),
    ],
)
def test_a_wrong_spec_is_refused_in_a_sentence(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Autoscaling.model_validate(WRITTEN | change)


def test_every_field_says_what_it_is_for() -> None:
    def undescribed(schema: dict[str, object], path: str) -> list[str]:
        found = []
        for name, field in schema.get("properties", {}).items():  # type: ignore[attr-defined]
            if not field.get("description"):
                found.append(f"{path}.{name}")
        return found

    for model in (Autoscaling, ScalingStatus):
        schema = model.model_json_schema()
        for name, definition in {model.__name__: schema, **schema.get("$defs", {})}.items():
            assert undescribed(definition, name) == []


def test_status_holds_what_the_next_operator_needs() -> None:
    asked = policy(Autoscaling.model_validate(WRITTEN))
    sample = Sample(time=2.0, seconds=2.0, arrivals=40, concurrency=4, ready=3, starting=0)
    decision, state = decide(asked, Window((sample,), 3, 15, 10), State(), 2.0)
    written = status(decision, state).to_wire()
    read = ScalingStatus.model_validate(written)
    assert read.desired == decision.replicas
    assert recalled(read.memory).demand == state.demand
