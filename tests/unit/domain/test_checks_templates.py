"""Promises about variables in queries: no value can change what a query asks, and what is not known is named."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.checks.templates import NAMES, expand, fault

VALUES = {"namespace": "vision", "model": "digits", "stable": "digits-1a", "canary": "digits-2b"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("up", "up"),
        ("", ""),
        ('x{model="{{model}}"}', 'x{model="digits"}'),
        ("x{model='{{ model }}'}", "x{model='digits'}"),
        ("x{model=`{{model}}`}", "x{model=`digits`}"),
        ('x{a="{{stable}}",b="{{canary}}"}', 'x{a="digits-1a",b="digits-2b"}'),
        ('x{pod=~"{{canary}}-.+", n="{{namespace}}"}', 'x{pod=~"digits-2b-.+", n="vision"}'),
        (r'x{a="\"{{model}}"}', r'x{a="\"digits"}'),
        (r'x{a="\\"} + y{a="{{model}}"}', r'x{a="\\"} + y{a="digits"}'),
        (r"x{a=`\`} + y{a='{{model}}'}", r"x{a=`\`} + y{a='digits'}"),
        ('x{a="#{{model}}"}', 'x{a="#digits"}'),
        ("x # {{model}} isn't \"here\n + y{a='{{model}}'}", "x # {{model}} isn't \"here\n + y{a='digits'}"),
        ("x # the end's comment", "x # the end's comment"),
        ('x{a="{{{model}}}"}', 'x{a="{digits}"}'),
        ('x{a="{model}"}', 'x{a="{model}"}'),
        ('x{a="{{model"}', 'x{a="{{model"}'),
        ('x{a="\\', 'x{a="\\'),
    ],
)
def test_variables_inside_quotes_become_their_values(query: str, expected: str) -> None:
    assert expand(query, VALUES) == expected


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ('x{a="{{revision}}"}', "{{revision}} is not known: write one of {{namespace}}, {{model}}, {{stable}}, "),
        ('x{a="{{}}"}', "{{}} is not known"),
        ('x{a="{{Model}}"}', "{{Model}} is not known"),
        ("x_{{model}}_total", '{{model}} is not inside quotes: write it as in model="{{model}}"'),
        ('x{a="b"} + {{model}}', "{{model}} is not inside quotes"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(query: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as failed:
        expand(query, VALUES)
    assert fault(query) == str(failed.value)


def test_a_variable_without_a_value_is_named() -> None:
    with pytest.raises(ValueError, match=r"^\{\{stable\}\} has no value here$"):
        expand('x{a="{{stable}}"}', {"model": "digits"})
    assert fault('x{a="{{stable}}"}') is None, "whether it has a value is known only in a rollout"


def test_a_backtick_cannot_be_written_into_a_raw_string() -> None:
    with pytest.raises(ValueError, match="holds a backtick"):
        expand("x{a=`{{model}}`}", {"model": "a`b"})


def unquoted(literal: str) -> str:
    """What Prometheus reads: its rules for strings, which refuse the other kind of quote after a backslash."""
    mark, inner = literal[0], literal[1:-1]
    assert literal[-1] == mark
    found, at = "", 0
    while at < len(inner):
        letter = inner[at]
        assert letter not in (mark, "\n"), f"the string ends early: {literal}"
        if letter != "\\":
            found, at = found + letter, at + 1
        elif inner[at + 1] == "x":
            found, at = found + chr(int(inner[at + 2 : at + 4], 16)), at + 4
        else:
            assert inner[at + 1] in ("\\", mark), f"no escape that Prometheus knows: {literal}"
            found, at = found + inner[at + 1], at + 2
    return found


@given(value=st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\"'`\\\n{}#"))), mark=st.sampled_from("\"'"))
def test_prometheus_reads_every_value_as_it_is(value: str, mark: str) -> None:
    assert unquoted(expand(f"{mark}{{{{model}}}}{mark}", {"model": value})) == value


@given(st.text(alphabet=st.sampled_from("{}model ab\"'`\\#\n=")))
def test_any_text_is_either_expanded_or_refused_with_one_line(query: str) -> None:
    said = fault(query)
    if said is None:
        assert expand(query, dict.fromkeys(NAMES, "x")) is not None
    else:
        assert said
        assert "\n" not in said
