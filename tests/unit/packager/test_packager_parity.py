"""What counts as the same answer."""

from __future__ import annotations

import numpy as np
import pytest

from model_packager.export.parity import OutputComparison, tolerances
from model_packager.export.tensors import Array
from model_packager.manifest import Datatype, Tensor, Tolerance

NAN, INF = np.nan, np.inf


def _compare(datatype: Datatype, got: Array, want: Array, rtol: float = 1e-3, atol: float = 1e-5) -> OutputComparison:
    exact = datatype not in ("FP32", "FP64", "FP16")
    limit = Tolerance(rtol=0.0 if exact else rtol, atol=0.0 if exact else atol)
    comparison = OutputComparison(Tensor(name="y", datatype=datatype, shape=(-1,)), limit)
    comparison.add("case", got, want)
    return comparison


@pytest.mark.parametrize(
    ("datatype", "got", "want"),
    [
        ("FP32", [1.0, 2.0], [1.0005, 2.0]),
        ("FP32", [0.0], [9e-6]),
        ("FP32", [NAN, INF, -INF, 1.0], [NAN, INF, -INF, 1.0]),
        ("FP32", [], []),
        ("FP16", [1.0], [1.005]),
        ("INT64", [1, 2], [1, 2]),
        ("BOOL", [True, False], [True, False]),
        ("BYTES", ["a", "é"], ["a", "é"]),
    ],
)
def test_equal_within_tolerance_is_equal(datatype: Datatype, got: list[object], want: list[object]) -> None:
    limit = 1e-2 if datatype == "FP16" else 1e-3
    assert _compare(datatype, np.asarray(got), np.asarray(want), rtol=limit).fault is None


@pytest.mark.parametrize(
    ("datatype", "got", "want", "words"),
    [
        ("FP32", [1.0, 2.0], [1.0, 2.01], "is 2 where the source says 2.01, a difference of 0.01"),
        ("FP32", [0.0], [2e-5], "a difference of 2e-05"),
        ("FP32", [NAN], [1.0], "NaN or infinity in other places"),
        ("FP32", [1.0], [NAN], "NaN or infinity in other places"),
        ("FP32", [INF], [-INF], "NaN or infinity in other places"),
        ("FP32", [INF], [3e38], "NaN or infinity in other places"),
        ("FP32", [[1.0]], [1.0], r"has the shape \[1, 1\] instead of \[1\]"),
        ("INT64", [1, 2, 3], [1, 2, 4], "differs in 1 of 3 values"),
        ("BOOL", [True], [False], "differs in 1 of 1"),
        ("BYTES", ["a"], ["b"], "differs in 1 of 1"),
    ],
)
def test_a_difference_beyond_tolerance_names_output_values_and_case(
    datatype: Datatype, got: list[object], want: list[object], words: str
) -> None:
    fault = _compare(datatype, np.asarray(got), np.asarray(want)).fault
    assert fault is not None
    assert fault.startswith("The output 'y' ")
    assert "(case case)" in fault
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(fault)


def test_the_report_has_the_worst_the_usual_and_the_agreement() -> None:
    want = np.asarray([[0.1, 0.9], [0.6, 0.4], [0.5, 0.5001]])
    got = np.asarray([[0.1, 0.9], [0.6, 0.4], [0.5001, 0.5]])
    summary = _compare("FP32", got, want).summary()
    assert summary.max_abs == pytest.approx(1e-4)
    assert summary.p99_abs <= summary.max_abs
    assert summary.max_rel == pytest.approx(2e-4, rel=1e-2)
    assert summary.argmax_agreement == 0.667


def test_only_floats_get_a_tolerance_and_the_user_may_set_it() -> None:
    outputs = [Tensor(name=kind, datatype=kind, shape=(-1,)) for kind in ("FP32", "INT64", "FP16")]
    assert tolerances(outputs, None, None)["INT64"] == Tolerance(rtol=0.0, atol=0.0)
    changed = tolerances(outputs, 0.5, 0.25)
    assert changed["FP32"] == changed["FP16"] == Tolerance(rtol=0.5, atol=0.25)
    assert changed["INT64"] == Tolerance(rtol=0.0, atol=0.0)
