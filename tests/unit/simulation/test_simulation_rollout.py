"""Promises of ``tidegate simulate rollout``: a recording gets the verdict that the operator's own functions give it."""

import json
import re
from collections.abc import Iterator
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.bench.rollout.rollout_rules import tidegate
from tests.bench.rollout.rollout_streams import BAD, EQUAL, STEPS, Scenario, Stream
from tidegate import cli
from tidegate.domain.checks.agreement import AgreementCheck
from tidegate.domain.checks.analysis import Analysis
from tidegate.domain.checks.errors import ErrorCheck
from tidegate.domain.checks.latency import LatencyCheck
from tidegate.domain.checks.queries import QueryCheck
from tidegate.domain.checks.verdict import Verdict
from tidegate.domain.checks.windows import Agreement, Bucket, Histogram, Traffic, Window
from tidegate.simulation.checks import parse
from tidegate.simulation.recording import Recorded, read, to_line
from tidegate.simulation.replay import replay


def invoke(*args: str, stdin: str | None = None) -> Result:
    env = {"COLUMNS": "200", "TERM": "dumb"}
    return CliRunner().invoke(cli.app, ["simulate", "rollout", *args], input=stdin, env=env)


def recording(scenario: Scenario, seed: int) -> Iterator[str]:
    """A stream of the benchmark as it would have been recorded."""
    stream = Stream(scenario, seed)
    for step, (_, looks) in enumerate(STEPS):
        for index in range(looks):
            yield to_line(stream.window(step, index)[0], step)


def line(**parts: Any) -> str:
    return json.dumps({"seconds": 2} | parts)


def quiet(requests: int = 200, errors: int = 0) -> str:
    both = {"requests": requests, "latency": [[10, 20, requests]]}
    return line(stable=both, canary=both | {"errors": errors})


@pytest.mark.parametrize("scenario", [EQUAL, BAD[0], BAD[2], BAD[4]], ids=lambda s: s.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_recorded_stream_gets_the_verdict_of_the_library_at_the_same_look(scenario: Scenario, seed: int) -> None:
    outcome = tidegate(Stream(scenario, seed), Analysis())
    found = replay(Analysis(), read(recording(scenario, seed)))
    assert (found.last.verdict == Verdict.FAIL) == outcome.rolled_back == (scenario is not EQUAL)
    if outcome.rolled_back:
        assert found.last.windows == outcome.looks


def test_the_command_prints_each_turn_with_its_time_and_evidence(tmp_path: Path) -> None:
    file = tmp_path / "stream.jsonl"
    file.write_text("\n".join(recording(BAD[2], 5)))
    result = invoke(str(file))
    assert result.exit_code == 3, result.output
    first, *_, proof, last = result.stdout.splitlines()
    assert first.split()[:3] == ["2", "s", "Inconclusive"]
    assert "Fail" in proof
    assert "is proof" in proof
    assert last.startswith("Fail after ")


@pytest.mark.parametrize(
    ("lines", "code", "verdict"),
    [
        ([quiet()] * 3, 0, "Pass"),
        ([quiet(errors=150)] * 3, 3, "Fail"),
        ([quiet(requests=1)] * 3, 4, "Inconclusive"),
        ([line()], 4, "NoData"),
        ([quiet(), line()], 4, "NoData"),
    ],
)
def test_the_exit_code_is_the_last_verdict(lines: list[str], code: int, verdict: str) -> None:
    result = invoke("-", stdin="\n".join(lines))
    assert result.exit_code == code, result.output
    assert result.stdout.splitlines()[-1].startswith(f"{verdict} after ")
    wire = json.loads(invoke("-", "--output", "json", stdin="\n".join(lines)).stdout)
    assert wire["verdict"] == wire["last"]["verdict"] == verdict
    assert wire["last"]["findings"]
    assert wire["turns"][-1]["verdict"] == verdict


def test_nothing_after_a_fail_is_looked_at() -> None:
    found = replay(Analysis(), read([quiet(errors=200), "no window"]))
    assert (found.last.verdict, found.last.windows, found.last.seconds) == (Verdict.FAIL, 1, 2)


def test_a_verdict_that_stays_is_told_once_and_at_the_end() -> None:
    found = replay(Analysis(), read([quiet()] * 10))
    assert [turn.windows for turn in found.turns] == [1]
    assert found.last.windows == 10
    assert "still Pass" in invoke("-", stdin="\n".join([quiet()] * 10)).stdout


def test_a_new_step_asks_for_its_minimum_of_requests_again() -> None:
    steps = [json.dumps(json.loads(quiet()) | {"step": number}) for number in (0, 0)]
    few = json.dumps(json.loads(quiet(requests=5)) | {"step": 1})
    assert replay(Analysis(), read([*steps, few])).last.verdict == Verdict.INCONCLUSIVE
    same = json.dumps(json.loads(quiet(requests=5)) | {"step": 0})
    assert replay(Analysis(), read([*steps, same])).last.verdict == Verdict.PASS


def test_the_checks_that_are_named_are_those_that_judge() -> None:
    both = {"requests": 500, "latency": [[200, 210, 500]]}
    lines = "\n".join([line(stable=both, canary=both, values={"business": 0.5})] * 8)
    assert invoke("-", stdin=lines).exit_code == 0
    assert invoke("-", "--check", "latency=95,maxMilliseconds=100", stdin=lines).exit_code == 3
    assert invoke("-", "--check", "query=business,max=0.1", stdin=lines).exit_code == 3
    assert invoke("-", "--check", "query=business,max=0.6", "--check", "errors", stdin=lines).exit_code == 0
    assert invoke("-", "--check", "predictions=98", stdin=lines).exit_code == 4
    assert invoke("-", "--min-requests", "5000", stdin=lines).exit_code == 4


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("errors", ErrorCheck()),
        ("errors=0.5,maxIncreasePoints=0.2", ErrorCheck(max_percent=0.5, max_increase_points=0.2)),
        ("latency", LatencyCheck()),
        ("latency=99,name=tail", LatencyCheck(name="tail", percentile=99)),
        (
            "latency,maxMilliseconds=80,maxIncreasePercent=20",
            LatencyCheck(max_milliseconds=80, max_increase_percent=20),
        ),
        ("predictions=97.5", AgreementCheck(min_agreement_percent=97.5)),
        ("query=business,max=0.1", QueryCheck(name="business", maximum=0.1)),
        ("query=b,min=-1,max=1,sustainedSeconds=30", QueryCheck(name="b", minimum=-1, maximum=1, sustained_seconds=30)),
    ],
)
def test_a_check_is_what_its_text_says(text: str, check: object) -> None:
    assert parse(text) == check


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is no check: write one of errors, latency, predictions, query"),
        ("error", "'error' is no check"),
        ("errors=", "errors: maxPercent must be a number from 0 to 100, not ''"),
        ("errors=101", "errors: maxPercent must be a number from 0 to 100, not '101'"),
        ("errors=nan", "errors: maxPercent must be a number from 0 to 100"),
        ("errors=1,maxPercent=2", "errors: maxPercent is given twice"),
        ("errors,percentile=95", "errors has no 'percentile': it takes maxPercent, maxIncreasePoints, name"),
        ("latency=20", "latency: percentile must be a number from 50 to 99.9"),
        ("latency,maxMilliseconds", "'maxMilliseconds' has no value: write maxMilliseconds=<value>"),
        ("latency,name=", "latency: the name is empty"),
        ("query=business", "query needs a name and max or min, as in query=business,max=0.1"),
        ("query,max=1", "query needs a name and max or min"),
        ("query=b,max=inf", "query: max must be a number, not 'inf'"),
    ],
)
def test_a_check_that_makes_no_sense_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        parse(text)
    result = invoke("-", "--check", text, stdin=quiet())
    assert result.exit_code == 2
    assert "--check" in result.output


def test_two_checks_of_one_name_are_refused() -> None:
    result = invoke("-", "--check", "latency=95", "--check", "latency=99", stdin=quiet())
    assert result.exit_code == 2
    assert "two checks have one name" in result.output


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "standard input is no recording: it holds no window"),
        ("\n\n", "it holds no window"),
        (f"{quiet()}\n\n{{", "line 3: it is not JSON: "),
        ("[]", "line 1: "),
        ("[" * 100_000, "line 1: it is not JSON: "),
        ("{}", "line 1: seconds: Field required"),
        ('{"seconds": 0}', "line 1: seconds: "),
        ('{"seconds": NaN}', "line 1: seconds: "),
        ('{"seconds": -2}', "line 1: seconds: "),
        (line(canary={"requests": -1}), "line 1: canary.requests: "),
        (line(canary={"requests": 1.5}), "line 1: canary.requests: "),
        (line(canary={"latency": [[10, 20]]}), "line 1: canary.latency.0.2: "),
        (line(canary={"latency": [[20, 10, 1]]}), "line 1: canary.latency: buckets must rise and may not overlap"),
        (line(canary={"latency": [[10, 20, 1], [15, 30, 1]]}), "line 1: canary.latency: buckets must rise"),
        (line(stabel={}), "line 1: stabel: "),
        (line(values={"business": "much"}), "line 1: values.business: "),
    ],
)
def test_a_recording_that_cannot_be_read_names_the_line_and_ends_with_1(text: str, sentence: str) -> None:
    result = invoke("-", stdin=text)
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_file_that_is_not_there_is_named() -> None:
    result = invoke("absent.jsonl")
    assert (result.exit_code, result.stderr) == (
        1,
        "tidegate: absent.jsonl cannot be read: No such file or directory\n",
    )


COUNT = st.integers(0, 10**9)
EDGES = st.lists(st.floats(0, 1e6), unique=True, max_size=6).map(sorted)
HISTOGRAM = st.builds(
    lambda edges, counts: Histogram(tuple(Bucket(a, b, c) for a, b, c in zip(edges, edges[1:], counts, strict=False))),
    EDGES,
    st.lists(COUNT, max_size=6),
)
TRAFFIC = st.builds(Traffic, COUNT, COUNT, HISTOGRAM)
WINDOW = st.builds(
    Window,
    seconds=st.floats(0.001, 1e6),
    stable=st.none() | TRAFFIC,
    canary=st.none() | TRAFFIC,
    agreement=st.none() | st.builds(Agreement, COUNT, COUNT),
    values=st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=3),
)


@given(window=WINDOW, step=st.none() | st.integers(0, 40))
def test_a_window_is_read_back_as_it_was_recorded(window: Window, step: int | None) -> None:
    assert list(read([to_line(window, step)])) == [Recorded(window, step)]


@pytest.mark.parametrize("value", [nan, inf, -inf, None])
def test_a_query_without_a_number_is_no_data(value: float | None) -> None:
    (found,) = read([json.dumps({"seconds": 2, "values": {"business": value}})])
    analysis = Analysis(checks=(QueryCheck(name="business", maximum=1),))
    assert replay(analysis, [found]).last.verdict == Verdict.NO_DATA
