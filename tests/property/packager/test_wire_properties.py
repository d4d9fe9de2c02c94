"""Tensors on the wire mean the same without numpy: every datatype, every value, every tolerance."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model_packager import wire
from model_packager.export.tensors import to_binary
from model_packager.likeness import compare
from model_packager.manifest import Contract, Datatype, Golden, Tensor, Tolerance
from model_packager.wire import WireTensor, read_exchange, values

NUMPY: dict[Datatype, str] = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip
shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=6), max_size=5)


def sent(array: Any, datatype: Datatype) -> WireTensor:
    return WireTensor(datatype, array.shape, to_binary(array, datatype))


def same(ours: list[Any], theirs: list[Any]) -> bool:
    """Equal values of equal types, NaN included."""
    return repr(ours) == repr(theirs)


@pytest.mark.parametrize("datatype", NUMPY)
@given(data=st.data())
def test_every_value_of_every_datatype_is_read_as_numpy_reads_it(datatype: Datatype, data: st.DataObject) -> None:
    array = data.draw(arrays.arrays(NUMPY[datatype], shapes))
    assert same(list(values(sent(array, datatype))), array.ravel().tolist())


@given(st.lists(st.integers(0, 0xFFFF), max_size=20))
def test_a_bfloat16_is_the_upper_half_of_a_float(halves: list[int]) -> None:
    tensor = WireTensor("BF16", (len(halves),), np.asarray(halves, "<u2").tobytes())
    wanted = (np.asarray(halves, "<u4") << 16).view("<f4")
    assert same(list(values(tensor)), wanted.tolist())


@given(texts)
def test_every_text_comes_back(words: list[str]) -> None:
    array = np.asarray(words, dtype=object)
    assert list(values(sent(array, "BYTES"))) == [word.encode() for word in words]


@given(st.integers(0, 200_000))
def test_a_tensor_that_is_read_in_pieces_is_whole(count: int) -> None:
    array = np.arange(count, dtype=np.int32)
    assert sum(values(sent(array, "INT32"))) == int(array.sum(dtype=np.int64))  # type: ignore[arg-type]


@given(st.sampled_from([*NUMPY, "BF16", "BYTES", "STRING", ""]), st.binary(max_size=40))
def test_bytes_that_are_no_tensor_are_refused_and_never_anything_else(datatype: str, data: bytes) -> None:
    with suppress(ValueError):
        list(values(WireTensor(datatype, (1,), data)))


@given(st.dictionaries(st.text(max_size=5), st.tuples(st.lists(st.integers(0, 9), max_size=3), st.binary(max_size=9))))
def test_what_was_written_is_read_back(tensors: dict[str, tuple[list[int], bytes]]) -> None:
    outputs = [
        {"name": name, "datatype": "UINT8", "shape": shape, "parameters": {"binary_data_size": len(data)}}
        for name, (shape, data) in tensors.items()
    ]
    body = b"".join(data for _, data in tensors.values())
    found = read_exchange(json.dumps({"outputs": outputs}).encode(), body)
    assert found == {name: WireTensor("UINT8", tuple(shape), data) for name, (shape, data) in tensors.items()}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["outputs", "name", "shape", "datatype", "parameters"]), inner)
    ),
    max_leaves=10,
)


@given(json_values | st.fixed_dictionaries({"outputs": st.lists(json_values, max_size=2)}), st.binary(max_size=9))
def test_json_that_is_no_response_is_refused_and_never_anything_else(fields: Any, body: bytes) -> None:
    with suppress(ValueError):
        read_exchange(json.dumps(fields).encode(), body)


floats = st.sampled_from(["FP16", "FP32", "FP64"])
tolerances = st.builds(Tolerance, rtol=st.sampled_from([0.0, 1e-6, 1e-3, 0.5]), atol=st.sampled_from([0.0, 1e-5, 1.0]))


@given(st.data(), floats, tolerances)
def test_floats_are_alike_when_numpy_says_so(data: st.DataObject, datatype: Datatype, tolerance: Tolerance) -> None:
    dtype = np.dtype(NUMPY[datatype])
    limit = float(np.finfo(dtype).max) / 4
    shape = data.draw(shapes)
    special = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0])
    elements = special | st.floats(-limit, limit, width=dtype.itemsize * 8)  # type: ignore[call-overload]
    want = data.draw(arrays.arrays(dtype, shape, elements=elements))
    noise = data.draw(st.sampled_from([0.0, 1e-7, 1e-4, 0.1]))
    near = (want.astype(np.float64) * (1 + noise)).astype(dtype)
    got = near if data.draw(st.booleans()) else data.draw(arrays.arrays(dtype, shape, elements=elements))
    ours, theirs = got.astype(np.float64), want.astype(np.float64)
    found = judged(sent(got, datatype), sent(want, datatype), tolerance)
    with np.errstate(invalid="ignore"):
        assert (not found.faults) == np.allclose(ours, theirs, tolerance.rtol, tolerance.atol, equal_nan=True)
        finite = np.isfinite(ours) & np.isfinite(theirs)
        assert found.error == float(np.max(np.abs(ours - theirs)[finite], initial=0.0))


@given(st.data(), st.sampled_from([d for d in NUMPY if not d.startswith("FP")]))
def test_what_is_no_float_is_alike_when_it_is_equal(data: st.DataObject, datatype: Datatype) -> None:
    shape = data.draw(shapes)
    got, want = (data.draw(arrays.arrays(NUMPY[datatype], shape)) for _ in range(2))
    loose = Tolerance(rtol=1.0, atol=1000.0)
    assert (not judged(sent(got, datatype), sent(want, datatype), loose).faults) == bool(np.array_equal(got, want))


@given(texts, texts)
def test_texts_are_alike_when_they_are_equal(ours: list[str], theirs: list[str]) -> None:
    got, want = (WireTensor("BYTES", (9,), to_binary(np.asarray(w, dtype=object), "BYTES")) for w in (ours, theirs))
    assert (not judged(got, want).faults) == (ours == theirs)


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (None, "is not in the answer"),
        (WireTensor("FP64", (2, 2), bytes(16)), "has the datatype 'FP64', recorded is FP32"),
        (WireTensor("FP32", (4,), bytes(16)), "has the shape [4], recorded is [2, 2]"),
        (WireTensor("FP32", (2, 2), bytes(12)), "has 12 bytes, recorded are 16"),
        (
            WireTensor("FP32", (2, 2), bytes(12) + b"\0\0\x80\x3f"),
            "is 1 at [1, 1], recorded is 0, and 1e-05 is the allowed difference",
        ),
    ],
)
def test_it_is_said_what_is_wrong_and_where(got: WireTensor | None, words: str) -> None:
    found = judged(got, WireTensor("FP32", (2, 2), bytes(16)), Tolerance(rtol=0.0, atol=1e-5))
    assert found.faults == (("y", words),)


def test_the_first_text_that_differs_is_told_with_its_place() -> None:
    def tensor(*words: str) -> WireTensor:
        return sent(np.asarray(words, dtype=object).reshape(2, 1), "BYTES")

    found = judged(tensor("cat", "bird"), tensor("cat", "dog"))
    assert found.faults == (("y", "is 'bird' at [1, 0], recorded is 'dog'"),)


def judged(got: WireTensor | None, want: WireTensor, tolerance: Tolerance | None = None) -> Any:
    """The comparison of one output."""
    datatype: Any = want.datatype
    tensors = tuple(Tensor(name=name, datatype=datatype, shape=(-1,)) for name in ("x", "y"))
    contract = Contract(inputs=tensors[:1], outputs=tensors[1:], max_batch_size=0)
    golden = Golden(cases=(), tolerances={datatype: tolerance} if tolerance else {})
    return compare({} if got is None else {"y": got}, {"y": want}, contract, golden)


def test_pieces_are_smaller_than_what_the_test_of_pieces_reads() -> None:
    assert wire.PIECE_VALUES < 200_000
