"""The bets are fair: under an equal canary the expected factor is 1, to the last digit, whatever the counts."""

from itertools import product
from math import comb, exp, log

import pytest

from tidegate.domain.checks import limits
from tidegate.domain.checks.evidence import Bet
from tidegate.domain.checks.tables import log_ratio
from tidegate.domain.checks.tails import log_ratios, tail
from tidegate.domain.checks.windows import Bucket, Histogram


def chance(bad: int, drawn: int, all_bad: int, everything: int) -> float:
    return comb(all_bad, bad) * comb(everything - all_bad, drawn - bad) / comb(everything, drawn)


@pytest.mark.parametrize(
    ("drawn", "all_bad", "everything"),
    [(1, 1, 2), (10, 1, 200), (10, 12, 200), (100, 7, 200), (7, 199, 200), (150, 120, 200), (40, 380, 800)],
)
@pytest.mark.parametrize("odds", [0.2, 1.5, 4.0, 25.0, 200.0, 1e6])
def test_a_table_is_a_fair_bet_against_an_equal_canary(drawn: int, all_bad: int, everything: int, odds: float) -> None:
    possible = range(max(0, drawn + all_bad - everything), min(drawn, all_bad) + 1)
    mean = sum(
        chance(k, drawn, all_bad, everything) * exp(log_ratio(k, drawn, all_bad, everything, odds)) for k in possible
    )
    assert mean == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize(
    ("bad", "drawn", "all_bad", "everything"), [(0, 10, 0, 200), (10, 10, 200, 200), (0, 0, 3, 190), (3, 5, 3, 5)]
)
def test_a_table_that_can_say_nothing_says_nothing(bad: int, drawn: int, all_bad: int, everything: int) -> None:
    assert log_ratio(bad, drawn, all_bad, everything, 25.0) == 0


def test_a_table_of_a_busy_service_costs_no_precision() -> None:
    ratios = [log_ratio(bad, 100_000, 2_000, 2_000_000, 4.0) for bad in (100, 101)]
    assert ratios[1] - ratios[0] == pytest.approx(log(4), rel=1e-6)
    assert ratios[0] < -50


POOLED = (4, 3, 3, 2)
DRAWN = 5


def test_the_levels_of_a_latency_tail_are_a_fair_bet_against_an_equal_canary() -> None:
    """Every way in which an equal canary could have got its requests out of those of both revisions."""
    mean = [0.0] * 4
    for own in product(*(range(count + 1) for count in POOLED)):
        if sum(own) != DRAWN:
            continue
        ways = comb(POOLED[0], own[0]) * comb(POOLED[1], own[1]) * comb(POOLED[2], own[2]) * comb(POOLED[3], own[3])
        canary = Histogram(tuple(Bucket(i, i + 1, count) for i, count in enumerate(own)))
        stable = Histogram(tuple(Bucket(i, i + 1, POOLED[i] - count) for i, count in enumerate(own)))
        ratios = log_ratios(tail(stable, canary, 80, 1), (0.3, 0.6, 1.2), (0.7,))
        mean = [m + ways / comb(sum(POOLED), DRAWN) * exp(ratio) for m, ratio in zip(mean, ratios, strict=True)]
    assert mean == pytest.approx([1] * 4, rel=1e-9)


def test_a_slower_canary_wins_the_bet_and_a_faster_one_loses_it() -> None:
    quick = Histogram((Bucket(10, 11, 50), Bucket(20, 21, 50)))
    slow = Histogram((Bucket(20, 21, 5), Bucket(30, 31, 5)))
    assert min(log_ratios(tail(quick, slow, 95, 1), (0.2, 0.8), (0.4,))) > 0
    assert max(log_ratios(tail(slow, quick, 95, 1), (0.2, 0.8), (0.4,))) < 0


def test_a_margin_shifts_what_counts_as_slower() -> None:
    stable = Histogram(tuple(Bucket(i, i + 1, 4) for i in range(20, 40)))
    canary = Histogram(tuple(Bucket(i * 1.1, (i + 1) * 1.1, 1) for i in range(20, 40)))
    plain, generous = (log_ratios(tail(stable, canary, 95, factor), (0.35,), ())[0] for factor in (1.0, 1.3))
    assert generous < 0 < plain


@pytest.mark.parametrize("limit", [0.0, 0.001, 0.01, 0.05, 0.5])
def test_a_limit_is_a_fair_bet_at_the_limit_and_a_losing_one_below(limit: float) -> None:
    requests = 30
    for share in (limit, limit / 3):
        weights = [comb(requests, k) * share**k * (1 - share) ** (requests - k) for k in range(requests + 1)]
        ratios = [limits.log_ratios(requests, k, limit) for k in range(requests + 1)]
        means = [sum(w * exp(r[i]) for w, r in zip(weights, ratios, strict=True)) for i in range(len(limits.ODDS))]
        assert max(means) <= 1 + 1e-9


def test_the_stakes_of_a_bet_never_exceed_what_was_there() -> None:
    """With windows that say nothing the evidence stays at 1, rounded down, through steps and looks."""
    bet = Bet()
    for step in range(5):
        bet = bet.at_a_new_step() if step else bet
        for _ in range(50):
            bet = bet.after([0.0, 0.0])
            assert 0.9 < bet.value((1.0, 1.0)) <= 1


def test_a_canary_that_turns_bad_late_is_still_caught() -> None:
    bet = Bet()
    for _ in range(300):
        bet = bet.after([-2.0])
    looks = 0
    while bet.value((1.0,)) < 200:
        bet, looks = bet.after([2.0]), looks + 1
    assert looks <= 10


def test_evidence_that_another_release_wrote_for_other_alternatives_starts_anew() -> None:
    old = Bet().after([3.0, 3.0])
    assert old.value((1.0, 1.0, 1.0)) == 1
    assert old.after([0.5, 0.5, 0.5]) == Bet().after([0.5, 0.5, 0.5])
