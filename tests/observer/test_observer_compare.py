"""Promises of a comparison: answers that mean the same agree, whatever the bytes are."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_observer.compare import agree
from model_observer.decode.tensors import Tensor
from model_observer.plan import Model, Output, Tolerances
from model_observer.reasons import Left, Reason

CLASS = Output(name="y", datatype="INT64", shape=(-1, 1))
SCORES = Output(name="y", datatype="FP32", shape=(-1, 3), labelled=True)
NUMBER = Output(name="y", datatype="FP32", shape=(-1, 1))
TEXT = Output(name="y", datatype="BYTES", shape=(-1, 1))
nan, inf = math.nan, math.inf


def model(*outputs: Output, batch: int = 8) -> Model:
    return Model(name="m", outputs=outputs, revisions=(), max_batch_size=batch, tolerances=Tolerances())


def tensor(output: Output, values: Any, datatype: str | None = None) -> Tensor:
    kinds: dict[str, Any] = {"INT64": np.int64, "FP32": np.float32, "BYTES": object}
    return Tensor(datatype or output.datatype, np.array(values, kinds[datatype or output.datatype]))


CASES = [
    ("the same class", CLASS, [[3]], [[3]], True),
    ("another class", CLASS, [[3]], [[4]], False),
    ("the same text", TEXT, [[b"cat"]], [[b"cat"]], True),
    ("another text", TEXT, [[b"cat"]], [[b"dog"]], False),
    ("close probabilities of one label", SCORES, [[0.1, 0.2, 0.7]], [[0.15, 0.2, 0.65]], True),
    ("far probabilities of one label", SCORES, [[0.1, 0.2, 0.7]], [[0.3, 0.2, 0.5]], False),
    ("another label by a hair", SCORES, [[0.49, 0.5, 0.01]], [[0.5, 0.49, 0.01]], False),
    ("scores that are no probabilities: the label decides", SCORES, [[1, 2, 70]], [[1, 2, 9]], True),
    ("scores that are no probabilities, another label", SCORES, [[1, 70, 2]], [[1, 2, 70]], False),
    ("scores of which one is not a number", SCORES, [[nan, 2, 70]], [[nan, 2, 70]], True),
    ("numbers within one percent", NUMBER, [[100.0]], [[100.9]], True),
    ("numbers beyond one percent", NUMBER, [[100.0]], [[102.0]], False),
    ("next to nothing", NUMBER, [[0.0]], [[5e-7]], True),
    ("not a number, twice", NUMBER, [[nan]], [[nan]], True),
    ("not a number, once", NUMBER, [[nan]], [[1.0]], False),
    ("infinite, twice", NUMBER, [[inf]], [[inf]], True),
    ("infinite, on both sides", NUMBER, [[inf]], [[-inf]], False),
    ("infinite, once", NUMBER, [[inf]], [[1e30]], False),
    ("another number of rows", NUMBER, [[1.0]], [[1.0], [1.0]], False),
    ("no rows", NUMBER, np.zeros((0, 1)), np.zeros((0, 1)), True),
]


@pytest.mark.parametrize(
    ("output", "ours", "theirs", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_answers_agree_by_what_they_mean(output: Output, ours: Any, theirs: Any, expected: bool) -> None:
    first, second = {"y": tensor(output, ours)}, {"y": tensor(output, theirs)}
    assert agree(model(output), first, second, 0.5) is expected
    assert agree(model(output), second, first, 0.5) is expected


def test_one_drawn_row_of_a_batch_decides() -> None:
    ours = {"y": tensor(CLASS, [[0], [1], [2], [3]])}
    theirs = {"y": tensor(CLASS, [[0], [9], [2], [9]])}
    drawn = [agree(model(CLASS), ours, theirs, chance) for chance in (0.0, 0.3, 0.6, 0.999)]
    assert drawn == [True, False, True, False]


@given(chance=st.floats(0, 1, exclude_max=True), rows=st.integers(1, 50))
@settings(deadline=None)
def test_any_chance_draws_a_row(chance: float, rows: int) -> None:
    same = {"y": tensor(CLASS, [[1]] * rows)}
    assert agree(model(CLASS), same, same, chance)


def test_without_a_batch_dimension_everything_must_agree() -> None:
    whole = Output(name="y", datatype="INT64", shape=(3,))
    ours, theirs = {"y": tensor(whole, [1, 2, 3])}, {"y": tensor(whole, [1, 2, 4])}
    assert not any(agree(model(whole, batch=0), ours, theirs, chance) for chance in (0.0, 0.5, 0.9))


def test_classes_asked_for_instead_of_scores_agree_by_their_index() -> None:
    def classes(text: bytes) -> dict[str, Tensor]:
        return {"y": tensor(SCORES, [[text]], "BYTES")}

    assert agree(model(SCORES), classes(b"0.91:2:cat"), classes(b"0.88:2:cat"), 0)
    assert not agree(model(SCORES), classes(b"0.91:2:cat"), classes(b"0.91:1:dog"), 0)
    assert not agree(model(SCORES), classes(b""), classes(b"0.91:1:dog"), 0)


def test_an_output_that_only_one_revision_has_is_a_difference() -> None:
    other = Output(name="z", datatype="INT64", shape=(-1, 1))
    both = {"y": tensor(CLASS, [[1]]), "z": tensor(CLASS, [[1]])}
    assert agree(model(CLASS, other), both, both, 0)
    assert not agree(model(CLASS, other), both, {"y": both["y"]}, 0)
    assert not agree(model(CLASS, other), {"y": both["y"]}, both, 0)
    assert agree(model(CLASS, other), {"y": both["y"]}, {"y": both["y"]}, 0)


def test_outputs_with_a_length_of_their_own_are_not_judged() -> None:
    free = Output(name="z", datatype="INT64", shape=(-1, -1))
    ours = {"y": tensor(CLASS, [[1]]), "z": tensor(CLASS, [[1, 2]])}
    theirs = {"y": tensor(CLASS, [[1]]), "z": tensor(CLASS, [[1, 2, 3]])}
    assert agree(model(CLASS, free), ours, theirs, 0)
    with pytest.raises(Left) as left:
        agree(model(free), ours, theirs, 0)
    assert left.value.reason is Reason.UNJUDGED


values = st.lists(st.floats(width=32), min_size=3, max_size=3)


@given(first=values, second=values, chance=st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
def test_a_comparison_is_the_same_both_ways_and_an_answer_agrees_with_itself(
    first: list[float], second: list[float], chance: float
) -> None:
    for output in (SCORES, Output(name="y", datatype="FP32", shape=(-1, 3))):
        ours, theirs = {"y": tensor(output, [first])}, {"y": tensor(output, [second])}
        assert agree(model(output), ours, ours, chance)
        assert agree(model(output), ours, theirs, chance) == agree(model(output), theirs, ours, chance)
