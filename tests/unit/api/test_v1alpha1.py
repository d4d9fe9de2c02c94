"""What the API classes accept and refuse, without a cluster."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from resources_examples import stored

from tidegate.api.rules import RESERVED_FLAGS, RULES, amount, violations
from tidegate.api.types import format_duration, parse_duration
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.resources.triton import flags

TABLE = yaml.safe_load((Path(__file__).parent / "specs.yaml").read_text())


def by_name(rows: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(row, id=row["name"]) for row in rows]


@pytest.mark.parametrize("row", by_name(TABLE["accepted"]))
def test_a_good_spec_is_accepted_and_reads_back_equal(row: dict[str, Any]) -> None:
    spec = ModelDeploymentSpec.model_validate(row["spec"])
    assert ModelDeploymentSpec.model_validate(spec.to_wire()) == spec


@pytest.mark.parametrize("row", by_name(TABLE["refused"]))
def test_a_bad_spec_is_refused_with_the_reason(row: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        ModelDeploymentSpec.model_validate(row["spec"])
    assert [word for word in row["words"] if word not in str(refusal.value)] == []


def test_every_rule_is_broken_by_some_row() -> None:
    sentences = {rule.message for rule in RULES}
    for row in TABLE["refused"]:
        try:
            ModelDeploymentSpec.model_validate(row["spec"])
        except ValidationError as refusal:
            sentences = {sentence for sentence in sentences if sentence not in str(refusal)}
    for row in TABLE["names"]["refused"]:
        broken = violations({"metadata": {"name": row["name"]}})
        sentences = {sentence for sentence in sentences if sentence not in str(broken)}
    assert sentences == set()


@pytest.mark.parametrize("name", TABLE["names"]["accepted"])
def test_a_good_name_is_accepted(name: str) -> None:
    assert violations({"metadata": {"name": name}}) == []


@pytest.mark.parametrize("row", by_name(TABLE["names"]["refused"]))
def test_a_bad_name_is_refused_with_the_reason(row: dict[str, Any]) -> None:
    (sentence,) = violations({"metadata": {"name": row["name"]}})
    assert [word for word in row["words"] if word not in sentence] == []


def test_every_broken_rule_is_named_at_once() -> None:
    spec = {"model": {"uri": TABLE["uri"]}, "traffic": {"timeout": "2h"}, "server": {"args": ["--load-model=*"]}}
    with pytest.raises(ValidationError, match=r"(?s)spec\.server\.args\[0\].*spec\.traffic\.timeout: timeout must be"):
        ModelDeploymentSpec.model_validate(spec)


def test_users_cannot_set_a_flag_that_the_operator_sets() -> None:
    ours = {flag.partition("=")[0] for flag in flags(stored().revision)}
    assert ours - set(RESERVED_FLAGS) == set()


def test_numbers_of_resources_become_text() -> None:
    spec = ModelDeploymentSpec.model_validate(
        {"model": {"uri": TABLE["uri"]}, "server": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}
    )
    assert spec.server.resources.limits == {"nvidia.com/gpu": "1"}


@pytest.mark.parametrize("value", [True, 0.5, None, [1]])
def test_amounts_of_other_types_are_refused(value: object) -> None:
    spec = {"model": {"uri": TABLE["uri"]}, "server": {"resources": {"limits": {"cpu": value}}}}
    with pytest.raises(ValidationError, match=r"limits\.cpu"):
        ModelDeploymentSpec.model_validate(spec)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90s", 90), ("2m", 120), ("1h30m", 5400), ("1h1s", 3601), ("24h", 86400)]
)
def test_durations_are_read_and_written(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("less", "more"),
    [("999m", "1"), ("1e3", "2k"), ("1G", "1Gi"), ("1023Mi", "1Gi"), ("1.4Gi", "1.5Gi"), ("999T", "1P"), (0, "1m")],
)
def test_amounts_compare_across_units(less: str | int, more: str | int) -> None:
    assert amount(less) < amount(more)
