"""Checks keep their promises for every traffic: no gap decides, no Fail is taken back, no minimum delays one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.checks import limits
from tidegate.domain.checks.agreement import AgreementCheck
from tidegate.domain.checks.analysis import Analysis, AnalysisState, Look, look
from tidegate.domain.checks.errors import ErrorCheck
from tidegate.domain.checks.latency import LatencyCheck
from tidegate.domain.checks.memory import Memory
from tidegate.domain.checks.queries import QueryCheck
from tidegate.domain.checks.tables import log_ratio
from tidegate.domain.checks.verdict import Verdict
from tidegate.domain.checks.windows import Agreement, Bucket, Histogram, Traffic, Window, add

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
EDGES = (0, 1, 2, 5, 10, 20, 50, 100, float("inf"))
CHECKS = (
    ErrorCheck(),
    LatencyCheck(max_milliseconds=50),
    AgreementCheck(),
    QueryCheck(name="business", maximum=0.5, sustained_seconds=6),
)


@st.composite
def traffics(draw: st.DrawFn) -> Traffic:
    """Anything a router may count, also a histogram that is a moment older than the number of requests."""
    counts = draw(st.lists(st.one_of(st.integers(0, 5), st.integers(0, 300)), min_size=8, max_size=8))
    buckets = tuple(Bucket(EDGES[i], EDGES[i + 1], count) for i, count in enumerate(counts) if count)
    requests = sum(counts) + draw(st.integers(0, 2))
    return Traffic(requests, draw(st.integers(0, requests + 1)), Histogram(buckets))


agreements = st.tuples(st.integers(0, 200), st.integers(0, 200)).map(lambda pair: Agreement(max(pair), min(pair)))
values = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
windows = st.builds(
    lambda stable, canary, agreement, value: Window(
        2, stable, canary, agreement, {} if value is None else {"business": value}
    ),
    traffics(),
    traffics(),
    st.one_of(st.none(), agreements),
    values,
)
histories = st.lists(windows, max_size=6)


def watch(history: Sequence[Window], analysis: Analysis) -> list[Look]:
    state, seen = AnalysisState(), []
    for window in history:
        seen.append(look(analysis, state, window))
        state = seen[-1].state
    return seen


def last_state(history: Sequence[Window], analysis: Analysis) -> AnalysisState:
    seen = watch(history, analysis)
    return seen[-1].state if seen else AnalysisState()


@SETTINGS
@given(history=histories)
def test_any_traffic_gives_a_verdict_with_finite_evidence(history: list[Window]) -> None:
    for seen in watch(history, Analysis(CHECKS)):
        assert [finding.check for finding in seen.findings] == [check.name for check in CHECKS]
        assert all(isfinite(f.evidence) and f.evidence >= 0 and f.message for f in seen.findings)
        assert all((f.verdict == Verdict.FAIL) == seen.state.memories[f.check].failed for f in seen.findings)


@SETTINGS
@given(history=histories, gaps=st.integers(1, 5))
def test_missing_data_never_passes_never_fails_and_changes_nothing(history: list[Window], gaps: int) -> None:
    analysis = Analysis(CHECKS)
    state = last_state(history, analysis)
    failed = {name for name, memory in state.memories.items() if memory.failed}
    for _ in range(gaps):
        seen = look(analysis, state, Window(2))
        for finding in seen.findings:
            assert finding.verdict == (Verdict.FAIL if finding.check in failed else Verdict.NO_DATA)
        assert all(seen.state.memories[name] == memory for name, memory in state.memories.items())
        state = seen.state


@SETTINGS
@given(history=st.lists(windows, min_size=1, max_size=4), again=st.integers(1, 4))
def test_more_of_the_same_never_takes_a_fail_back(history: list[Window], again: int) -> None:
    seen = watch(history * (1 + again), Analysis(CHECKS))
    for check in CHECKS:
        verdicts = [f.verdict for one in seen for f in one.findings if f.check == check.name]
        first = verdicts.index(Verdict.FAIL) if Verdict.FAIL in verdicts else len(verdicts)
        assert set(verdicts[first:]) <= {Verdict.FAIL}


@SETTINGS
@given(history=histories, minimum=st.integers(0, 10**6))
def test_a_minimum_of_samples_holds_back_a_pass_and_never_a_fail(history: list[Window], minimum: int) -> None:
    plain, held = watch(history, Analysis(CHECKS, 0)), watch(history, Analysis(CHECKS, minimum))
    for one, other in zip(plain, held, strict=True):
        for f, g in zip(one.findings, other.findings, strict=True):
            assert (f.verdict == Verdict.FAIL) == (g.verdict == Verdict.FAIL)
            assert f.evidence == g.evidence
            few = 0 < other.state.memories[g.check].step_requests < minimum
            assert not (g.verdict == Verdict.PASS and few)


@SETTINGS
@given(before=histories, after=histories, steps=st.booleans())
def test_a_state_survives_the_status_and_stays_small(before: list[Window], after: list[Window], steps: bool) -> None:
    analysis = Analysis(CHECKS)
    state = last_state(before, analysis)
    state = state.at_a_new_step() if steps else state
    text = json.dumps(state.to_wire(), allow_nan=False)
    assert len(text) < 500 * len(CHECKS)
    restored = AnalysisState.from_wire(json.loads(text))
    assert restored == state
    for window in after:
        one, other = look(analysis, state, window), look(analysis, restored, window)
        assert one == other
        state, restored = one.state, AnalysisState.from_wire(json.loads(json.dumps(other.state.to_wire())))


@SETTINGS
@given(parts=st.lists(windows, min_size=1, max_size=4))
def test_windows_that_are_merged_count_the_same_requests(parts: list[Window]) -> None:
    """The evidence may differ: a comparison sees only who was worse within a window, and stakes are placed by look."""
    analysis = Analysis((ErrorCheck(), LatencyCheck()), alpha=1e-12)
    stable = add(part.stable for part in parts if part.stable)
    canary = add(part.canary for part in parts if part.canary)
    split = last_state([part for part in parts if part.canary and part.canary.requests], analysis)
    whole = last_state([Window(2, stable, canary)] if canary.requests else [], analysis)
    for name, memory in whole.memories.items():
        if memory.failed or split.memories[name].failed:
            continue
        assert memory.step_requests == split.memories[name].step_requests
        assert memory.limited.requests == split.memories[name].limited.requests


@SETTINGS
@given(
    parts=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=6),
    limit=st.floats(0.0001, 0.5),
)
def test_evidence_against_a_limit_is_the_same_for_merged_windows(parts: list[tuple[int, int]], limit: float) -> None:
    counts = [(max(pair), min(pair)) for pair in parts]
    split = [limits.log_ratios(requests, bad, limit) for requests, bad in counts]
    whole = limits.log_ratios(sum(n for n, _ in counts), sum(b for _, b in counts), limit)
    sums = [sum(column) for column in zip(*split, strict=True)] if split else [0.0] * len(whole)
    assert sums == pytest.approx(whole, abs=1e-6)


@SETTINGS
@given(
    drawn=st.integers(1, 300),
    others=st.integers(1, 3000),
    bad=st.integers(0, 299),
    stable_bad=st.integers(0, 300),
    odds=st.floats(1.01, 1000),
)
def test_one_more_bad_request_of_the_canary_never_speaks_for_it(
    drawn: int, others: int, bad: int, stable_bad: int, odds: float
) -> None:
    bad, stable_bad, everything = min(bad, drawn - 1), min(stable_bad, others - 1), drawn + others
    fewer = log_ratio(bad, drawn, bad + stable_bad, everything, odds)
    more = log_ratio(bad + 1, drawn, bad + 1 + stable_bad, everything, odds)
    assert more >= fewer - 1e-7


@SETTINGS
@given(history=st.lists(windows, min_size=1, max_size=6))
def test_a_canary_that_mirrors_stable_is_never_rolled_back(history: list[Window]) -> None:
    analysis = Analysis((ErrorCheck(max_percent=None), LatencyCheck()), min_requests=0)
    mirrored = [replace(window, canary=window.stable) for window in history]
    assert Verdict.FAIL not in {seen.verdict for seen in watch(mirrored, analysis)}


@pytest.mark.parametrize("wire", [{"againstStable": {}}, {"canary": [1, 2, 3]}, {"recent": ["x"]}, {"canary": 5}])
def test_a_state_that_was_not_written_by_a_check_is_refused(wire: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        Memory.from_wire(wire)
