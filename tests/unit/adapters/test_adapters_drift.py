"""Promises about what counts as changed: an object that already is as wanted costs no request, any other one does."""

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.adapters.drift import holds
from tidegate.domain.quantities import quantity

SCALARS = st.one_of(st.text(max_size=8), st.integers(), st.booleans(), st.none())
OBJECTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4)),
    max_leaves=20,
)


@given(OBJECTS)
def test_an_object_holds_itself(wanted: Any) -> None:
    assert holds(wanted, copy.deepcopy(wanted))


@given(OBJECTS, SCALARS)
def test_defaults_and_other_peoples_fields_are_no_change(wanted: Any, extra: Any) -> None:
    def more(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: more(v) for k, v in value.items()} | {"somebody-else": extra}
        return [more(v) for v in value] if isinstance(value, list) else value

    assert holds(wanted, more(wanted))


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(), min_size=1), st.data())
def test_a_changed_or_missing_value_is_a_change(wanted: dict[str, int], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(wanted)))
    assert not holds(wanted, wanted | {key: wanted[key] + 1})
    assert not holds(wanted, {k: v for k, v in wanted.items() if k != key})


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": {"b": 1}}, {"a": None}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [{"name": "x"}]}, {"a": [{"name": "x", "protocol": "TCP"}]}, True),
        ({"a": []}, {}, True),
        ({"a": []}, {"a": [1]}, False),
        ({"a": {}}, {}, True),
        ({"a": {}}, {"a": {"b": 1}}, True),
        ({"selector": {"a": "b"}}, {"selector": {"a": "b"}}, True),
        ({"selector": {"a": "b"}}, {"selector": {"a": "b", "somebody": "else"}}, False),
        ({"selector": {"matchLabels": {"a": "b"}}}, {"selector": {"matchLabels": {"a": "b"}, "x": []}}, False),
        ({"a": ""}, {}, False),
        ({"a": 0}, {}, False),
        ({"a": False}, {}, False),
        ({"a": 0}, {"a": 0}, True),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": [1]}, {"a": "1"}, False),
        ({"a": {"b": 1}}, {"a": "b"}, False),
        ({"a": "x"}, {"a": ["x"]}, False),
        (
            {"metadata": {"resourceVersion": "1", "name": "x"}},
            {"metadata": {"resourceVersion": "2", "name": "x"}},
            True,
        ),
        ({"a": "1e99999999"}, {"a": "2"}, False),
        ({"a": "1" * 100}, {"a": "1" * 100 + ".0"}, False),
    ],
)
def test_what_is_a_change(wanted: Any, found: Any, same: bool) -> None:
    assert holds(wanted, found) is same


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000P", "1E"),
        ("1024Pi", "1Ei"),
        ("1e3", "1k"),
        ("1E3", "1k"),
        ("5e-1", "500m"),
        ("0.0001", "100u"),
        ("0.0000001", "100n"),
        ("0.000000001m", "1n"),
        ("0.1m", "100u"),
        ("999999999999999Pi", "9223372036854775807"),
        ("0", "0.0"),
    ],
)
def test_a_quantity_that_the_api_server_writes_its_own_way_is_no_change(written: str, stored: str) -> None:
    assert holds({"limits": {"memory": written}}, {"limits": {"memory": stored}})


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1m"), ("1Gi", "1G"), ("1M", "1m"), ("100", "1000"), ("1k", "1Ki"), ("2e2", "2e3")]
)
def test_quantities_that_differ_are_a_change(one: str, other: str) -> None:
    assert not holds(one, other)


@pytest.mark.parametrize(
    "text", ["", ".", "m", "1..2", "1 Gi", "1gi", "-", "1e", "1e9999", "x1", "1\n", "1" * 65, "\u0661"]
)
def test_text_that_is_no_quantity_is_compared_as_text(text: str) -> None:
    assert quantity(text) is None


@given(st.integers(0, 10**15), st.sampled_from(["", "m", "k", "Ki", "M", "Mi", "G", "Gi", "T", "Ti"]))
def test_a_quantity_is_the_number_that_it_says(number: int, suffix: str) -> None:
    units = {"": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    units |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    assert quantity(f"{number}{suffix}") == min(number * Decimal(units[suffix]), Decimal(2**63 - 1))


@given(st.text(alphabet="0123456789.eE+-numkKMGTPi", max_size=70))
def test_no_text_whatsoever_breaks_the_comparison(text: str) -> None:
    holds(text, "1")
