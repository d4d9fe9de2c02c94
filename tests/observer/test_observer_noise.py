"""Promises of the noise floor: noise alone rolls nothing back, however large it is, and more than noise does."""

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.checks import limits, noise
from tidegate.domain.checks.agreement import AgreementCheck
from tidegate.domain.checks.comparisons import Comparisons, Pair, agreement
from tidegate.domain.checks.memory import Memory, Terms
from tidegate.domain.checks.verdict import Finding, Verdict
from tidegate.domain.checks.windows import Agreement, NoiseFloor, Window

TERMS = Terms(alpha=0.01 / 3)
CHECK = AgreementCheck()


def window(compared: int, differing: int, noise_compared: int, noise_differing: int) -> Window:
    floor = NoiseFloor(noise_compared, noise_compared - noise_differing)
    return Window(seconds=2, agreement=Agreement(compared, compared - differing, floor))


def binomial(chance: random.Random, n: int, share: float) -> int:
    return sum(chance.random() < share for _ in range(n))


def rollout(seed: int, crossed: float, own: float, looks: int) -> tuple[Finding, int]:
    """The last finding, and replays until then: 20 at each look, half of the first 500 and then a tenth for noise."""
    chance, memory = random.Random(seed), Memory()
    finding = None
    for look in range(1, looks + 1):
        noisy = 10 if look <= 25 else 2
        seen = window(20 - noisy, binomial(chance, 20 - noisy, crossed), noisy, binomial(chance, noisy, own))
        memory, finding = CHECK.step(memory, seen, TERMS)
        if finding.verdict is Verdict.FAIL:
            return finding, 20 * look
    assert finding
    return finding, 20 * looks


@pytest.mark.parametrize(
    ("crossed", "own"), [(0.02, 0.0), (0.05, 0.05), (0.4, 0.4), (0.042, 0.022), (0.1, 0.08), (0.18, 0.16)]
)
def test_a_canary_within_what_the_noise_allows_is_hardly_ever_rolled_back(crossed: float, own: float) -> None:
    failed = sum(rollout(seed, crossed, own, 150)[0].verdict is Verdict.FAIL for seed in range(100))
    # At most 0.33 of 100 on average.
    assert failed <= 3


@pytest.mark.parametrize(
    ("crossed", "own", "replays"), [(1.0, 0.0, 200), (0.5, 0.0, 400), (0.2, 0.0, 800), (0.6, 0.1, 700), (0.9, 0.3, 600)]
)
def test_a_canary_that_differs_by_more_than_noise_is_rolled_back(crossed: float, own: float, replays: int) -> None:
    for seed in range(20):
        finding, _ = rollout(seed, crossed, own, replays // 20)
        assert finding.verdict is Verdict.FAIL, (seed, finding)


def test_a_model_that_repeats_itself_is_held_against_the_absolute_limit() -> None:
    memory, finding = CHECK.step(Memory(), window(1000, 0, 100, 0), TERMS)
    assert (finding.verdict, finding.limit) == (Verdict.PASS, 98)
    _, finding = CHECK.step(memory, window(1000, 60, 100, 0), TERMS)
    assert (finding.verdict, finding.value) == (Verdict.INCONCLUSIVE, 97)
    assert "97 % of 2000 predictions agree with stable's, at least 98 % should" in finding.message


def test_a_model_that_does_not_repeat_itself_passes_with_its_noise_and_waits_beyond_it() -> None:
    _, finding = CHECK.step(Memory(), window(1000, 110, 100, 10), TERMS)
    assert (finding.verdict, finding.limit) == (Verdict.PASS, pytest.approx(88))
    assert "stable agrees with itself in 90 % of 100" in finding.message
    _, finding = CHECK.step(Memory(), window(1000, 130, 100, 10), TERMS)
    assert finding.verdict is Verdict.INCONCLUSIVE


def test_noise_is_remembered_from_looks_in_which_nothing_else_was_compared() -> None:
    memory, finding = CHECK.step(Memory(), window(0, 0, 50, 10), TERMS)
    assert finding.verdict is Verdict.NO_DATA
    assert (memory.noise.requests, memory.noise.bad) == (50, 10)


def test_without_a_noise_floor_the_limit_is_absolute_from_the_first_prediction_on() -> None:
    _, finding = CHECK.step(Memory(), Window(seconds=2, agreement=Agreement(20, 10)), TERMS)
    assert finding.verdict is Verdict.FAIL


def test_a_failed_check_stays_failed() -> None:
    memory = Memory()
    for _ in range(60):
        memory, _ = CHECK.step(memory, window(18, 18, 2, 0), TERMS)
    assert memory.failed
    _, finding = CHECK.step(memory, window(1000, 0, 100, 0), TERMS)
    assert finding.verdict is Verdict.FAIL


def test_the_memory_goes_on_after_a_restart_and_stays_small() -> None:
    memory = Memory()
    for _ in range(500):
        memory, _ = CHECK.step(memory, window(18, 2, 2, 0), TERMS)
    text = json.dumps(memory.to_wire())
    assert Memory.from_wire(json.loads(text)) == memory
    assert len(text) < 1000


def expected(requests: int, share: float, ratios: list[list[float]]) -> list[float]:
    """The expectation of each ratio when a request is bad with this share."""
    odds = [math.comb(requests, bad) * share**bad * (1 - share) ** (requests - bad) for bad in range(requests + 1)]
    return [sum(o * math.exp(r[i]) for o, r in zip(odds, ratios, strict=True)) for i in range(len(ratios[0]))]


@given(requests=st.integers(0, 12), share=st.floats(0, 1), limit=st.floats(0.001, 0.5))
@settings(deadline=None)
def test_a_bet_against_a_true_claim_can_be_expected_to_win_nothing(requests: int, share: float, limit: float) -> None:
    width = len(limits.ODDS)
    above = expected(requests, share, [noise.above_ratios(requests, bad, limit) for bad in range(requests + 1)])
    below = expected(requests, share, [noise.below_ratios(requests, bad) for bad in range(requests + 1)])
    for index, level in enumerate(noise.LEVELS):
        part = slice(index * width, (index + 1) * width)
        if share <= noise.allowed(level, limit):
            assert max(above[part]) <= 1 + 1e-9
        if share >= level:
            assert max(below[part]) <= 1 + 1e-9


@given(own=st.floats(0, 1), limit=st.floats(0.001, 0.5))
@settings(deadline=None)
def test_at_each_level_one_of_the_two_claims_is_true_of_a_canary_within_its_limit(own: float, limit: float) -> None:
    crossed = noise.allowed(own, limit)
    assert all(crossed <= noise.allowed(level, limit) or own >= level for level in noise.LEVELS)


def counted(run: str, **pairs: tuple[int, int]) -> Comparisons:
    found = {Pair("m", *name.split("_")): count for name, count in pairs.items()}
    return Comparisons(run=run, pairs=found)


def test_a_window_has_both_directions_and_the_noise_of_stable_alone() -> None:
    before = {"o": counted("1", a_b=(10, 9), a_a=(4, 4), b_b=(4, 1))}
    after = {"o": counted("1", a_b=(20, 18), b_a=(5, 5), a_a=(6, 5), b_b=(14, 1), a_c=(9, 9))}
    assert agreement(before, after, "m", "a", "b") == Agreement(15, 14, NoiseFloor(2, 1))


def test_an_observer_that_restarted_counts_from_0_and_one_that_is_new_or_gone_adds_nothing() -> None:
    before = {"o": counted("1", a_b=(10, 9)), "gone": counted("3", a_b=(1, 1))}
    after = {"o": counted("2", a_b=(12, 9)), "new": counted("4", a_b=(100, 0))}
    assert agreement(before, after, "m", "a", "b") == Agreement(12, 9, NoiseFloor(0, 0))
    assert agreement({}, after, "m", "a", "b") is None
    assert agreement(before, {}, "m", "a", "b") is None


def test_two_observers_add_up_and_another_models_counts_are_none_of_it() -> None:
    before = {"o": counted("1"), "p": counted("2")}
    after = {"o": counted("1", a_b=(3, 2)), "p": counted("2", b_a=(4, 4), a_a=(1, 1))}
    assert agreement(before, after, "m", "a", "b") == Agreement(7, 6, NoiseFloor(1, 1))
    assert agreement(before, after, "other", "a", "b") == Agreement(0, 0, NoiseFloor(0, 0))
