"""Whatever is measured: the bounds hold, missing data takes nothing away, and the same input gives the same answer."""

from math import inf, nan

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.checks.windows import Bucket, Histogram
from tidegate.domain.scaling.limits import Direction, Limits, Rule, Select
from tidegate.domain.scaling.memory import recalled, remembered
from tidegate.domain.scaling.policy import Decision, Policy, ScalingReason, State, decide
from tidegate.domain.scaling.window import Sample, Window

ODD = st.sampled_from([nan, inf, -inf, -1.0, 0.0, 1e300])
AMOUNTS = st.one_of(st.floats(0, 2000), ODD)
RULES = st.lists(st.builds(Rule, st.integers(1, 100), st.floats(1, 1800), st.booleans()), max_size=3).map(tuple)
DIRECTIONS = st.builds(Direction, st.floats(0, 3600), RULES, st.sampled_from(Select))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    least = draw(st.integers(0, 10))
    limits = Limits(least, least + draw(st.integers(1, 30)), draw(DIRECTIONS), draw(DIRECTIONS))
    return Policy(draw(st.floats(50, 99.9)), draw(st.floats(1, 5000)), limits)


@st.composite
def looks(draw: st.DrawFn) -> list[Sample | None]:
    """Samples two seconds apart, some of them missing, some impossible."""
    samples: list[Sample | None] = []
    for step in range(1, draw(st.integers(1, 12)) + 1):
        if draw(st.integers(0, 5)) == 0:
            samples.append(None)
            continue
        answered = draw(st.integers(0, 500))
        samples.append(
            Sample(
                time=2.0 * step + draw(st.sampled_from([0.0, 0.0, 0.0, -7.0, 50.0])),
                seconds=draw(st.sampled_from([2.0, 2.0, 4.0, 0.0])),
                arrivals=draw(AMOUNTS),
                concurrency=draw(AMOUNTS),
                ready=draw(st.integers(0, 40)),
                starting=draw(st.integers(0, 10)),
                latency=Histogram((Bucket(100, 110, answered),) if answered else ()),
                waiting=draw(st.floats(0, 10)),
                queue_seconds=draw(st.none() | AMOUNTS),
                compute_seconds=draw(st.none() | AMOUNTS),
                executions=draw(st.none() | AMOUNTS),
            )
        )
    return samples


def play(policy: Policy, samples: list[Sample | None], wanted: int) -> tuple[list[tuple[int, Decision]], State]:
    state, made = State(), []
    for step, sample in enumerate(samples, start=1):
        window = Window((sample,) if sample else (), wanted, startup_seconds=15, profile_rate=5)
        decision, state = decide(policy, window, state, 2.0 * step)
        made.append((wanted, decision))
        wanted = decision.replicas
    return made, state


@settings(max_examples=60, deadline=None)
@given(policies(), looks(), st.integers(0, 60))
def test_the_size_is_always_within_the_bounds(policy: Policy, samples: list[Sample | None], wanted: int) -> None:
    made, _ = play(policy, samples, wanted)
    assert all(policy.limits.least <= decision.replicas <= policy.limits.most for _, decision in made)


@settings(max_examples=60, deadline=None)
@given(policies(), looks(), st.integers(0, 60))
def test_missing_data_never_changes_the_size(policy: Policy, samples: list[Sample | None], wanted: int) -> None:
    limits = policy.limits
    made, _ = play(policy, samples, wanted)
    for (before, decision), sample in zip(made, samples, strict=True):
        if sample is None:
            assert decision.reason is ScalingReason.NO_DATA
        if decision.reason is ScalingReason.NO_DATA:
            assert decision.replicas == min(max(before, limits.least), limits.most)


@settings(max_examples=30, deadline=None)
@given(policies(), looks(), st.integers(0, 60))
def test_the_same_input_gives_the_same_answer(policy: Policy, samples: list[Sample | None], wanted: int) -> None:
    assert play(policy, samples, wanted) == play(policy, samples, wanted)


@settings(max_examples=40, deadline=None)
@given(policies(), looks(), st.integers(0, 60))
def test_the_memory_survives_its_wire_form(policy: Policy, samples: list[Sample | None], wanted: int) -> None:
    _, state = play(policy, samples, wanted)
    memory = remembered(state)
    assert remembered(recalled(memory)) == memory
    assert type(memory).model_validate(memory.to_wire()) == memory
    assert len(memory.model_dump_json()) < 8192
