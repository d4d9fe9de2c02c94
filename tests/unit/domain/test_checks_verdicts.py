"""What each check says: one row a situation."""

from dataclasses import replace
from math import inf, nan

import pytest

from tidegate.domain.checks.agreement import AgreementCheck
from tidegate.domain.checks.analysis import Analysis, AnalysisState, Check, Look, look
from tidegate.domain.checks.errors import ErrorCheck
from tidegate.domain.checks.latency import LatencyCheck
from tidegate.domain.checks.queries import QueryCheck
from tidegate.domain.checks.verdict import Finding, Verdict, overall
from tidegate.domain.checks.windows import Agreement, Bucket, Histogram, Traffic, Window

PASS, FAIL, INCONCLUSIVE, NO_DATA = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NO_DATA
SHAPE = ((60, 8), (80, 17), (100, 25), (120, 25), (150, 15), (200, 5), (250, 3), (300, 2))
"""Latencies in milliseconds and how many of 100 requests take them."""


def latencies(requests: int, slower: float = 1.0) -> Histogram:
    """``requests`` of the usual shape, ``slower`` times as slow."""
    buckets = []
    for index, (ms, percent) in enumerate(SHAPE):
        low, high = (sum(p for _, p in SHAPE[:i]) for i in (index, index + 1))
        count = requests * high // 100 - requests * low // 100
        edge = round(ms * slower)
        buckets += [Bucket(edge, edge + 1, count), Bucket(edge + 1, edge + 2, 0)] if percent else []
    return Histogram(tuple(bucket for bucket in buckets if bucket.count))


def window(stable: int = 1900, canary: int = 100, bad: int = 0, stable_bad: int = 2, slower: float = 1.0) -> Window:
    return Window(
        seconds=2,
        stable=Traffic(stable, stable_bad, latencies(stable)),
        canary=Traffic(canary, bad, latencies(canary, slower)),
    )


def looks(check: Check, *windows: Window, min_requests: int = 100, alpha: float = 0.01) -> Look:
    analysis, state = Analysis((check,), min_requests, alpha), AnalysisState()
    for one in windows:
        seen = look(analysis, state, one)
        state = seen.state
    return seen


@pytest.mark.parametrize(
    ("check", "windows", "verdict", "said"),
    [
        pytest.param(
            ErrorCheck(), [window(190, 10, bad=10)], FAIL, "100 % of the canary's 10 requests failed", id="all fail"
        ),
        pytest.param(ErrorCheck(), [window(190, 10, bad=3, stable_bad=0)], FAIL, "is proof", id="three of ten"),
        pytest.param(ErrorCheck(), [window(190, 10)], INCONCLUSIVE, "10 of at least 100 requests", id="too few"),
        pytest.param(ErrorCheck(), [window()], PASS, "limit 1 %", id="no error"),
        pytest.param(ErrorCheck(), [window(bad=1, stable_bad=19)], PASS, "1 % of stable's 1900", id="as stable"),
        pytest.param(ErrorCheck(), [window(bad=2, stable_bad=38)], INCONCLUSIVE, "beyond the limit", id="over limit"),
        pytest.param(
            ErrorCheck(max_percent=None), [window(bad=2, stable_bad=38)], PASS, "2 % of", id="no limit, as stable"
        ),
        pytest.param(
            ErrorCheck(max_percent=None), [window(bad=3, stable_bad=4)], INCONCLUSIVE, "suspicious", id="suspicious"
        ),
        pytest.param(ErrorCheck(), [window(stable_bad=1900, bad=100)], FAIL, "limit 1 %", id="both broken"),
        pytest.param(
            ErrorCheck(max_percent=None), [window(stable_bad=1900, bad=100)], PASS, "100 %", id="both broken, no limit"
        ),
        pytest.param(ErrorCheck(), [Window(2)], NO_DATA, "the routers gave no counts", id="no reading"),
        pytest.param(ErrorCheck(), [window(), Window(2)], NO_DATA, "the routers gave", id="a reading is missing"),
        pytest.param(ErrorCheck(), [window(), window(canary=0)], NO_DATA, "no requests", id="the canary is idle"),
        pytest.param(ErrorCheck(), [window(stable=0, stable_bad=0)], PASS, "limit 1 %", id="all to the canary"),
        pytest.param(ErrorCheck(), [window(stable=0, stable_bad=0, bad=9)], FAIL, "9 %", id="all to a bad canary"),
        pytest.param(
            ErrorCheck(max_percent=None), [window(stable=0, stable_bad=0)], NO_DATA, "compare", id="nothing to compare"
        ),
        pytest.param(
            ErrorCheck(max_increase_points=5), [window(bad=1)] * 60, PASS, "1 % of", id="worse, but tolerated"
        ),
        pytest.param(ErrorCheck(), [window(bad=1)] * 60, FAIL, "0.105 % of stable's", id="worse, within the limit"),
        pytest.param(
            ErrorCheck(max_percent=0), [window(canary=1000, bad=1)], FAIL, "limit 0 %", id="no error is allowed"
        ),
        pytest.param(LatencyCheck(), [window(slower=3)], FAIL, "stable's p95 + 5 %", id="3 times slower"),
        pytest.param(LatencyCheck(), [window(190, 10, slower=4)], FAIL, "is proof", id="10 requests are enough"),
        pytest.param(LatencyCheck(), [window()] * 5, PASS, "slower than its p95", id="as fast"),
        pytest.param(LatencyCheck(), [window(slower=0.5)] * 5, PASS, "0 % of the canary's", id="faster"),
        pytest.param(LatencyCheck(), [window(190, 10)], INCONCLUSIVE, "10 of at least 100", id="too few latencies"),
        pytest.param(LatencyCheck(), [window(slower=1.2)] * 20, FAIL, "is proof", id="slower, at the defaults"),
        pytest.param(
            LatencyCheck(max_increase_percent=40), [window(slower=1.2)] * 20, PASS, "p95 + 40 %", id="within margin"
        ),
        pytest.param(LatencyCheck(), [Window(2)], NO_DATA, "no latencies", id="no latencies"),
        pytest.param(LatencyCheck(), [window(canary=0)], NO_DATA, "no requests", id="no latency of the canary"),
        pytest.param(LatencyCheck(), [window(stable=0)], NO_DATA, "compare with", id="no latency of stable"),
        pytest.param(
            LatencyCheck(max_milliseconds=400), [window()] * 5, PASS, "took over 400 ms, 5 % may", id="under the limit"
        ),
        pytest.param(
            LatencyCheck(max_milliseconds=100, max_increase_percent=None), [window()], FAIL, "100 ms", id="over limit"
        ),
        pytest.param(
            LatencyCheck(max_milliseconds=200, max_increase_percent=None),
            [window()],
            INCONCLUSIVE,
            "not proven yet",
            id="a little over the limit",
        ),
    ],
)
def test_errors_and_latency(check: Check, windows: list[Window], verdict: Verdict, said: str) -> None:
    seen = looks(check, *windows)
    assert (seen.verdict, said in seen.findings[0].message) == (verdict, True), seen.findings


def pairs(compared: int, agreed: int) -> Window:
    return Window(2, agreement=Agreement(compared, agreed))


def result(value: float | None) -> Window:
    return Window(4, values={} if value is None else {"drift": value})


@pytest.mark.parametrize(
    ("check", "windows", "verdict", "said"),
    [
        pytest.param(AgreementCheck(), [pairs(100, 100)], PASS, "100 % of 100 predictions agree", id="agree"),
        pytest.param(AgreementCheck(), [pairs(10, 0)], FAIL, "0 % of 10 predictions", id="disagree"),
        pytest.param(AgreementCheck(), [pairs(100, 80)], FAIL, "at least 98 % should", id="one in five differs"),
        pytest.param(AgreementCheck(), [pairs(50, 50)], INCONCLUSIVE, "50 of at least 100", id="few compared"),
        pytest.param(AgreementCheck(), [pairs(100, 97)], INCONCLUSIVE, "beyond the limit", id="a little too few"),
        pytest.param(AgreementCheck(), [pairs(0, 0)], NO_DATA, "no predictions", id="nothing compared"),
        pytest.param(AgreementCheck(), [Window(2)], NO_DATA, "no predictions", id="nobody compares"),
        pytest.param(QueryCheck(name="drift", maximum=0.1), [result(0.05)], PASS, "at most 0.1", id="within"),
        pytest.param(
            QueryCheck(name="drift", maximum=0.1), [result(0.3)], INCONCLUSIVE, "over 0.1 (4 s)", id="beyond, just now"
        ),
        pytest.param(
            QueryCheck(name="drift", maximum=0.1), [result(0.3)] * 3, FAIL, "over 0.1 (12 s)", id="beyond for long"
        ),
        pytest.param(QueryCheck(name="drift", minimum=5), [result(4)] * 3, FAIL, "under 5", id="too low for long"),
        pytest.param(
            QueryCheck(name="drift", minimum=5, maximum=9),
            [result(6)],
            PASS,
            "at least 5 and at most 9",
            id="in a range",
        ),
        pytest.param(
            QueryCheck(name="drift", maximum=0.1),
            [result(0.3), result(0.3), result(0), result(0.3)],
            INCONCLUSIVE,
            "(4 s)",
            id="a good value in between",
        ),
        pytest.param(
            QueryCheck(name="drift", maximum=0.1),
            [result(0.3), result(nan), result(0.3), result(0.3)],
            FAIL,
            "(12 s)",
            id="a gap does not excuse",
        ),
        pytest.param(QueryCheck(name="drift", maximum=0.1), [result(nan)] * 9, NO_DATA, "no result", id="NaN"),
        pytest.param(QueryCheck(name="drift", maximum=0.1), [result(inf)] * 9, NO_DATA, "no finite", id="infinity"),
        pytest.param(QueryCheck(name="drift", maximum=0.1), [result(None)] * 9, NO_DATA, "no result", id="empty"),
    ],
)
def test_predictions_and_queries(check: Check, windows: list[Window], verdict: Verdict, said: str) -> None:
    seen = looks(check, *windows)
    assert (seen.verdict, said in seen.findings[0].message) == (verdict, True), seen.findings


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        ([], PASS),
        ([PASS, PASS], PASS),
        ([PASS, INCONCLUSIVE], INCONCLUSIVE),
        ([INCONCLUSIVE, NO_DATA, PASS], NO_DATA),
        ([NO_DATA, FAIL, PASS], FAIL),
    ],
)
def test_a_look_passes_only_when_every_check_does(verdicts: list[Verdict], together: Verdict) -> None:
    assert overall(Finding("x", verdict, "") for verdict in verdicts) == together


def test_one_error_probability_is_shared_by_all_tests() -> None:
    query = QueryCheck(name="business", maximum=1)
    assert Analysis().terms().needed == pytest.approx(200)
    assert Analysis((ErrorCheck(),)).terms().needed == pytest.approx(100)
    assert Analysis((ErrorCheck(), LatencyCheck(), AgreementCheck(), query)).terms().needed == pytest.approx(300)
    assert Analysis((query,)).terms().needed == pytest.approx(100)


def test_two_checks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two checks have one name: errors, errors; give each a name of its own"):
        Analysis((ErrorCheck(), ErrorCheck(max_percent=5)))


def test_a_new_step_asks_for_the_minimum_of_requests_again_and_keeps_the_evidence() -> None:
    seen = looks(ErrorCheck(), window(bad=1))
    state = seen.state.at_a_new_step()
    again = look(Analysis((ErrorCheck(),)), state, window(190, 10))
    assert again.verdict == INCONCLUSIVE
    assert again.findings[0].samples == 110
    assert state.memories["errors"].against_stable.logs == seen.state.memories["errors"].against_stable.logs


def test_a_canary_that_turns_bad_after_a_long_good_time_is_stopped_within_seconds() -> None:
    good = looks(ErrorCheck(), *[window(950, 50)] * 2000)
    analysis, state, taken = Analysis((ErrorCheck(),)), good.state, 0
    while (seen := look(analysis, state, window(950, 50, bad=10))).verdict != FAIL:
        state, taken = seen.state, taken + 1
    assert taken <= 3


def test_a_dependency_that_slows_both_down_rolls_nothing_back() -> None:
    slow = Window(2, Traffic(1900, 40, latencies(1900, 5)), Traffic(100, 2, latencies(100, 5)))
    for check in (ErrorCheck(max_percent=None), LatencyCheck()):
        assert looks(check, *[window()] * 20, *[slow] * 20, *[window()] * 20).verdict == PASS


def test_a_failed_check_stays_failed_and_says_why_ever_after() -> None:
    checks: list[tuple[Check, Window]] = [
        (ErrorCheck(), window(190, 10, bad=10)),
        (LatencyCheck(), window(slower=3)),
        (AgreementCheck(), pairs(10, 0)),
        (QueryCheck(name="drift", maximum=0.1, sustained_seconds=1), result(0.3)),
    ]
    for check, bad in checks:
        seen = looks(check, bad)
        better = replace(window(canary=100_000), agreement=Agreement(10**6, 10**6), values={"drift": 0.0})
        for later in (better, Window(2)):
            again = look(Analysis((check,)), seen.state, later)
            assert again.verdict == FAIL
            assert again.state == seen.state
