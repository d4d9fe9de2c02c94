"""Promises of the decoders: what the protocol says is read exactly, and no bytes at all do any harm."""

import gzip
import json
import math
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.grpc import service_pb2

from model_observer import wire
from model_observer.decode import grpc as grpc_decode
from model_observer.decode import http as http_decode
from model_observer.decode.tensors import DTYPES, Tensor, from_contents, from_json, from_raw
from model_observer.reasons import Left, Reason

LIMIT = 1 << 20
SPLIT = http_decode.SPLIT
shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)
quick = settings(deadline=None, max_examples=100)


def arrays(datatype: str) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    return shapes.flatmap(lambda shape: hnp.arrays(np.dtype(DTYPES[datatype]), shape))


def texts() -> st.SearchStrategy[np.ndarray[Any, Any]]:
    return shapes.flatmap(
        lambda shape: st.lists(st.binary(max_size=9), min_size=math.prod(shape), max_size=math.prod(shape)).map(
            lambda found: _objects(found, shape)
        )
    )


def _objects(found: list[bytes], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    values = np.empty(len(found), dtype=object)
    values[:] = found
    return values.reshape(shape)


def same(tensor: Tensor, values: np.ndarray[Any, Any]) -> bool:
    if tensor.values.dtype.kind == "f":
        return bool(np.array_equal(tensor.values, values, equal_nan=True))
    return bool(np.array_equal(tensor.values, values))


@pytest.mark.parametrize("datatype", DTYPES)
@given(data=st.data())
@quick
def test_what_tritons_client_sends_by_http_is_read_as_it_was_meant(datatype: str, data: st.DataObject) -> None:
    values = data.draw(arrays(datatype))
    asked = http_client.InferInput("x", list(values.shape), datatype)
    asked.set_data_from_numpy(values, binary_data=True)
    body, split = http_client.InferenceServerClient.generate_request_body([asked])
    found = http_decode.tensors({SPLIT: str(split)}, body, "inputs", LIMIT)
    assert found["x"].datatype == datatype
    assert same(found["x"], values)
    http_decode.check_request({SPLIT: str(split)}, body, LIMIT)


@given(values=texts())
@quick
def test_texts_by_http_are_read_as_they_were_meant(values: np.ndarray[Any, Any]) -> None:
    asked = http_client.InferInput("x", list(values.shape), "BYTES")
    asked.set_data_from_numpy(values, binary_data=True)
    body, split = http_client.InferenceServerClient.generate_request_body([asked])
    assert same(http_decode.tensors({SPLIT: str(split)}, body, "inputs", LIMIT)["x"], values)


@pytest.mark.parametrize("datatype", DTYPES)
@given(data=st.data())
@quick
def test_what_tritons_client_sends_by_grpc_is_read_as_it_was_meant(datatype: str, data: st.DataObject) -> None:
    values = data.draw(arrays(datatype))
    asked = grpc_client.InferInput("x", list(values.shape), datatype)
    asked.set_data_from_numpy(values)
    request = service_pb2.ModelInferRequest(model_name="m")
    request.inputs.append(asked._get_tensor())
    request.raw_input_contents.append(asked._get_content())
    message = request.SerializeToString()
    framed = struct.pack(">BI", 0, len(message)) + message
    assert grpc_decode.message("", framed, LIMIT) == message
    assert same(grpc_decode.inputs(message)["x"], values)
    grpc_decode.check_request(message)


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("FP32", "fp32_contents", [0.5, float("inf")]),
        ("FP64", "fp64_contents", [0.1, -0.0]),
        ("BYTES", "bytes_contents", [b"a", b""]),
    ],
)
def test_typed_contents_of_grpc_are_read_as_they_were_meant(datatype: str, field: str, values: list[Any]) -> None:
    answer = service_pb2.ModelInferResponse()
    output = answer.outputs.add(name="y", datatype=datatype, shape=[2, 1])
    getattr(output.contents, field).extend(values)
    found = grpc_decode.outputs(answer.SerializeToString())["y"]
    assert found.values.shape == (2, 1)
    assert list(found.values.ravel()) == values


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "FP16"])
@given(data=st.data())
@quick
def test_json_nested_or_flat_is_read_as_it_was_meant(datatype: str, data: st.DataObject) -> None:
    values = data.draw(arrays(datatype))
    for listed in (values.tolist(), values.ravel().tolist()):
        tensor = {"name": "y", "datatype": datatype, "shape": list(values.shape), "data": listed}
        body = json.dumps({"outputs": [tensor]}).encode()
        assert same(http_decode.tensors({}, body, "outputs", LIMIT)["y"], values)


def test_bfloat16_is_the_upper_half_of_a_float() -> None:
    raw = struct.pack("<2H", 0x3FC0, 0xC000)
    assert from_raw("BF16", [2], raw).values.tolist() == [1.5, -2.0]


@pytest.mark.parametrize(("name", "window"), [("gzip", 31), ("deflate", 15)])
def test_compressed_bodies_are_read(name: str, window: int) -> None:
    body = json.dumps({"outputs": [{"name": "y", "datatype": "INT32", "shape": [1], "data": [7]}]}).encode()
    packer = zlib.compressobj(wbits=window)
    packed = packer.compress(body) + packer.flush()
    found = http_decode.tensors({"content-encoding": name}, packed, "outputs", LIMIT)
    assert found["y"].values.tolist() == [7]
    with pytest.raises(Left) as left:
        http_decode.tensors({"content-encoding": name}, packed[:-9], "outputs", LIMIT)
    assert left.value.reason is Reason.DECODE


def test_a_small_body_that_unpacks_to_a_giant_costs_no_memory() -> None:
    bomb = gzip.compress(bytes(64 * LIMIT))
    tracemalloc.start()
    with pytest.raises(Left) as left:
        http_decode.tensors({"content-encoding": "gzip"}, bomb, "inputs", LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert left.value.reason is Reason.SIZE
    assert peak < 8 * LIMIT


def http_body(**changes: Any) -> bytes:
    tensor = {"name": "y", "datatype": "INT32", "shape": [2], "data": [1, 2]} | changes
    return json.dumps({"outputs": [{key: value for key, value in tensor.items() if value is not None}]}).encode()


BAD_HTTP = {
    "not JSON": b"\xff\xfe",
    "a number": b"7",
    "no outputs": b"{}",
    "outputs are a text": b'{"outputs": "y"}',
    "an output is a number": b'{"outputs": [7]}',
    "too many outputs": json.dumps({"outputs": [{}] * 300}).encode(),
    "deep": b"[" * 200_000,
    "deep data": http_body(data=json.loads("[" * 60 + "1" + "]" * 60), shape=[1]),
    "no data": http_body(data=None),
    "no name": http_body(name=None),
    "name is a list": http_body(name=[1]),
    "unknown datatype": http_body(datatype="COMPLEX"),
    "datatype is a number": http_body(datatype=7),
    "shape too large": http_body(shape=[10**9, 10**9]),
    "negative shape": http_body(shape=[-1, -2]),
    "shape of floats": http_body(shape=[2.0]),
    "shape of booleans": http_body(shape=[True, 2]),
    "long shape": http_body(shape=[1] * 33),
    "shape is a text": http_body(shape="22"),
    "text for a number": http_body(data=["1", "2"]),
    "boolean for a number": http_body(data=[True, False]),
    "fraction for an integer": http_body(data=[1.5, 2]),
    "too large a number": http_body(data=[2**31, 0]),
    "infinite integer": http_body(data=[1e999, 0]),
    "ragged": http_body(data=[[1], 2]),
    "mixed": http_body(data=[[1], [2], 3]),
    "number for a text": http_body(datatype="BYTES", data=[1, 2]),
    "half a surrogate": http_body(datatype="BYTES", data=["\ud800", ""]),
    "parameters are a list": http_body(parameters=[1]),
    "binary beyond the end": http_body(parameters={"binary_data_size": 8}, data=None),
    "negative binary": http_body(parameters={"binary_data_size": -8}, data=None),
    "binary is a text": http_body(parameters={"binary_data_size": "8"}, data=None),
    "binary is true": http_body(parameters={"binary_data_size": True}, data=None),
}


@pytest.mark.parametrize("body", BAD_HTTP.values(), ids=BAD_HTTP)
def test_an_http_answer_that_is_none_is_left_out(body: bytes) -> None:
    with pytest.raises(Left) as left:
        http_decode.tensors({}, body, "outputs", LIMIT)
    assert left.value.reason is Reason.DECODE


@pytest.mark.parametrize("length", ["-1", "1e3", "999999", "٣", "", "0x10", "9" * 30, " 5"])
def test_a_length_of_the_json_part_that_is_none_is_left_out(length: str) -> None:
    with pytest.raises(Left) as left:
        http_decode.tensors({SPLIT: length}, http_body(), "outputs", LIMIT)
    assert left.value.reason is Reason.DECODE


UNREPEATABLE: dict[str, dict[str, Any]] = {
    "sequence": {"parameters": {"sequence_id": 7}},
    "shared input": {"inputs": [{"parameters": {"shared_memory_region": "a"}}]},
    "shared output": {"inputs": [], "outputs": [{"parameters": {"shared_memory_region": "a"}}]},
}


@pytest.mark.parametrize("head", UNREPEATABLE.values(), ids=UNREPEATABLE)
def test_what_cannot_be_asked_twice_by_http_is_left_out(head: dict[str, Any]) -> None:
    with pytest.raises(Left) as left:
        http_decode.check_request({}, json.dumps({"inputs": []} | head).encode(), LIMIT)
    assert left.value.reason is Reason.UNSUPPORTED


def test_what_cannot_be_asked_twice_by_grpc_is_left_out() -> None:
    sequence = service_pb2.ModelInferRequest()
    sequence.parameters["sequence_id"].int64_param = 1
    shared = service_pb2.ModelInferRequest()
    shared.inputs.add(name="x").parameters["shared_memory_region"].string_param = "a"
    shared_output = service_pb2.ModelInferRequest()
    shared_output.outputs.add(name="y").parameters["shared_memory_region"].string_param = "a"
    for request in (sequence, shared, shared_output):
        with pytest.raises(Left) as left:
            grpc_decode.check_request(request.SerializeToString())
        assert left.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.DECODE),
        (b"\0\0\0\0", Reason.DECODE),
        (b"\0\0\0\0\5abc", Reason.DECODE),
        (b"\2\0\0\0\1a", Reason.DECODE),
        (b"\0\xff\xff\xff\xff", Reason.DECODE),
        (b"\0\0\0\0\1a\0\0\0\0\1b", Reason.UNSUPPORTED),
        (b"\1\0\0\0\1a", Reason.DECODE),
    ],
)
def test_a_frame_that_is_none_or_one_of_many_is_left_out(body: bytes, reason: Reason) -> None:
    with pytest.raises(Left) as left:
        grpc_decode.message("gzip", body, LIMIT)
    assert left.value.reason is reason


def test_raw_contents_that_do_not_belong_to_the_tensors_are_left_out() -> None:
    for raw in ([b"1234", b"1234"], [b"123"], [b"12345"]):
        answer = service_pb2.ModelInferResponse(raw_output_contents=raw)
        answer.outputs.add(name="y", datatype="INT32", shape=[1])
        with pytest.raises(Left):
            grpc_decode.outputs(answer.SerializeToString())


def harmless(read: Callable[[], object]) -> None:
    """Whatever the bytes are: a result, or one of our own words for why there is none."""
    reason = Reason.DECODE
    try:
        read()
    except Left as left:
        reason = left.reason
    assert reason in (Reason.DECODE, Reason.SIZE, Reason.UNSUPPORTED)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
tensors_like = st.fixed_dictionaries(
    {},
    optional={
        "name": json_values,
        "datatype": st.sampled_from([*DTYPES, "BF16", "BYTES"]) | json_values,
        "shape": st.lists(st.integers(-2, 5), max_size=4) | json_values,
        "data": json_values,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-9, 99) | json_values})
        | json_values,
    },
)


@given(head=st.fixed_dictionaries({}, optional={"inputs": st.lists(tensors_like, max_size=3) | json_values}))
@quick
def test_no_json_does_any_harm(head: dict[str, Any]) -> None:
    body = json.dumps(head).encode()
    harmless(lambda: http_decode.tensors({}, body, "inputs", LIMIT))
    harmless(lambda: http_decode.check_request({}, body, LIMIT))
    harmless(lambda: http_decode.tensors({SPLIT: str(len(body))}, body + b"\0" * 40, "inputs", LIMIT))


@given(
    headers=st.dictionaries(st.sampled_from([SPLIT, "content-encoding"]), st.text(max_size=9)),
    body=st.binary(max_size=400),
)
@quick
def test_no_bytes_by_http_do_any_harm(headers: dict[str, str], body: bytes) -> None:
    harmless(lambda: http_decode.tensors(headers, body, "inputs", LIMIT))
    harmless(lambda: http_decode.check_request(headers, body, LIMIT))
    for encoding in ("gzip", "deflate"):
        harmless(lambda encoding=encoding: http_decode.tensors({"content-encoding": encoding}, body, "inputs", LIMIT))


@given(body=st.binary(max_size=400), encoding=st.sampled_from(["", "gzip", "deflate", "snappy"]))
@quick
def test_no_bytes_by_grpc_do_any_harm(body: bytes, encoding: str) -> None:
    harmless(lambda: grpc_decode.message(encoding, body, LIMIT))
    harmless(lambda: grpc_decode.inputs(body))
    harmless(lambda: grpc_decode.outputs(body))
    harmless(lambda: grpc_decode.check_request(body))


@given(data=st.data())
@quick
def test_no_damage_to_a_good_message_does_any_harm(data: st.DataObject) -> None:
    request = service_pb2.ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=[2, 3]).contents.fp32_contents.extend([1.0] * 6)
    request.inputs.add(name="t", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"abc")
    damaged = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    harmless(lambda: grpc_decode.inputs(bytes(damaged)))
    harmless(lambda: grpc_decode.check_request(bytes(damaged)))


@given(datatype=st.sampled_from([*DTYPES, "BF16", "BYTES", "NONE"]), shape=st.lists(st.integers(-1, 6), max_size=5))
@quick
def test_lengths_that_do_not_fit_make_no_tensor(datatype: str, shape: list[int]) -> None:
    raw = b"\1\0\0\0a" * 7
    for make in (
        lambda: from_raw(datatype, shape, raw),
        lambda: from_json(datatype, shape, [1, 0, 1]),
        lambda: from_contents(datatype, shape, service_pb2.InferTensorContents(bool_contents=[True])),
    ):
        try:
            tensor = make()
        except ValueError:
            continue
        assert tensor.values.shape == tuple(shape)


def test_the_described_messages_are_the_published_ones() -> None:
    for ours, theirs in (
        (wire.ModelInferRequest, service_pb2.ModelInferRequest),
        (wire.ModelInferResponse, service_pb2.ModelInferResponse),
    ):
        compare_fields(ours.DESCRIPTOR, theirs.DESCRIPTOR)


def compare_fields(ours: Any, theirs: Any) -> None:
    """Every field that is described here has the number, type and repetition that it is published with."""
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        assert (field.number, field.type, field.is_repeated) == (other.number, other.type, other.is_repeated), (
            field.name
        )
        if field.message_type:
            compare_fields(field.message_type, other.message_type)
