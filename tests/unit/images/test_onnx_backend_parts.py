"""Promises of the triton-cpu image's ONNX Runtime backend: its types, its batches, its contract and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import batching
import contract
import numpy as np
import pytest
import session_options
import tensor_types

TYPES = [
    ("TYPE_BOOL", "tensor(bool)", "bool"),
    ("TYPE_UINT8", "tensor(uint8)", "uint8"),
    ("TYPE_UINT16", "tensor(uint16)", "uint16"),
    ("TYPE_UINT32", "tensor(uint32)", "uint32"),
    ("TYPE_UINT64", "tensor(uint64)", "uint64"),
    ("TYPE_INT8", "tensor(int8)", "int8"),
    ("TYPE_INT16", "tensor(int16)", "int16"),
    ("TYPE_INT32", "tensor(int32)", "int32"),
    ("TYPE_INT64", "tensor(int64)", "int64"),
    ("TYPE_FP16", "tensor(float16)", "float16"),
    ("TYPE_FP32", "tensor(float)", "float32"),
    ("TYPE_FP64", "tensor(double)", "float64"),
    ("TYPE_STRING", "tensor(string)", "object"),
]


@pytest.mark.parametrize(("triton", "onnx", "numpy"), TYPES)
def test_a_type_is_the_same_in_triton_onnx_runtime_and_numpy(triton: str, onnx: str, numpy: str) -> None:
    assert tensor_types.triton_type(onnx) == triton
    assert np.dtype(tensor_types.numpy_type(triton)) == np.dtype(numpy)


@pytest.mark.parametrize("onnx", ["tensor(bfloat16)", "seq(map(string,tensor(float)))", "optional(tensor(float))"])
def test_a_type_that_cannot_be_carried_is_refused_by_name(onnx: str) -> None:
    with pytest.raises(ValueError, match="no counterpart") as failure:
        tensor_types.triton_type(onnx)
    assert onnx in str(failure.value)


def test_text_survives_the_way_to_the_model_and_back() -> None:
    sent = np.array([["é".encode(), b""], [b"x", "日本".encode()]], dtype=object)
    text = tensor_types.decode_strings(sent)
    assert text.tolist() == [["é", ""], ["x", "日本"]]
    assert tensor_types.encode_strings(text).tolist() == sent.tolist()


def test_bytes_that_are_no_text_are_refused_with_their_place() -> None:
    with pytest.raises(ValueError, match=r"element \[0, 1\] is not UTF-8 text"):
        tensor_types.decode_strings(np.array([[b"ok", b"\xff\xfe"]], dtype=object))


def request(first: int, size: int) -> dict[str, Any]:
    return {
        "a": np.arange(first, first + size * 2, dtype=np.float32).reshape(size, 2),
        "b": np.arange(first, first + size),
    }


def test_requests_of_a_batch_share_one_run_and_each_gets_its_own_rows() -> None:
    requests = [request(0, 1), request(10, 3), request(20, 2)]
    joined = batching.join(requests)
    assert joined["a"].shape == (6, 2)
    parts = batching.share_out({"y": joined["a"] * 2, "z": joined["b"]}, [1, 3, 2])
    for part, inputs in zip(parts, requests, strict=True):
        np.testing.assert_array_equal(part["y"], inputs["a"] * 2)
        np.testing.assert_array_equal(part["z"], inputs["b"])


def test_a_single_request_is_not_copied() -> None:
    only = request(0, 2)
    assert batching.join([only])["a"] is only["a"]


def test_requests_of_other_shapes_run_apart_and_keep_their_order() -> None:
    wide = {"a": np.zeros((1, 3)), "b": np.zeros(1)}
    without_b = {"a": np.zeros((1, 2))}
    assert batching.group_joinable([request(0, 1), wide, request(5, 2), without_b, wide]) == [[0, 2], [1, 4], [3]]


@pytest.mark.parametrize("output", [np.zeros((1, 4)), np.zeros((7, 4)), np.zeros(())])
def test_an_output_without_the_batch_dimension_is_named(output: Any) -> None:
    with pytest.raises(ValueError, match=r"output 'y' has the shape .* for a batch of 6.*max_batch_size to 0"):
        batching.share_out({"y": output}, [1, 3, 2])


@pytest.mark.parametrize("odd", [np.zeros((3, 2)), np.zeros(())])
def test_inputs_that_disagree_on_the_batch_size_are_refused(odd: Any) -> None:
    with pytest.raises(ValueError, match="disagree on the batch size: 'a' 2, 'b'"):
        batching.batch_size({"a": np.zeros((2, 2)), "b": odd})


CONFIG = {
    "max_batch_size": 8,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}],
    "output": [{"name": "label", "data_type": "TYPE_INT64", "dims": [1], "reshape": {"shape": []}}],
}
MODEL = [contract.Carried("x", "tensor(float)", (-1, 4))]


def test_a_configuration_that_says_what_the_model_says_is_accepted() -> None:
    assert contract.mismatches("input", contract.declared(CONFIG, "input"), MODEL) == []
    label = [contract.Carried("label", "tensor(int64)", (-1,)), contract.Carried("unused", "seq(int64)", None)]
    assert contract.mismatches("output", contract.declared(CONFIG, "output"), label) == []


X_IN_MODEL = [
    # name, type and dims of the model's input; what the refusal says
    ("z", "tensor(float)", (-1, 4), "input 'x' of the configuration is not in the model, which has 'z'"),
    ("x", "tensor(double)", (-1, 4), "input 'x' is TYPE_FP32 in the configuration and TYPE_FP64 in the model"),
    ("x", "tensor(float)", (-1, 5), "input 'x' has dims [-1, 4] in the configuration and [-1, 5] in the model"),
    ("x", "tensor(float)", (4,), "input 'x' has dims [-1, 4] in the configuration and [4] in the model"),
    ("x", "tensor(bfloat16)", (-1, 4), "input 'x' of the model has the type tensor(bfloat16)"),
]


@pytest.mark.parametrize(("name", "onnx_type", "dims", "sentence"), X_IN_MODEL)
def test_a_configuration_that_differs_from_the_model_is_refused_with_the_difference(
    name: str, onnx_type: str, dims: tuple[int, ...], sentence: str
) -> None:
    model = [contract.Carried(name, onnx_type, dims)]
    problems = contract.mismatches("input", contract.declared(CONFIG, "input"), model)
    assert sentence in problems[0]


def test_an_input_of_the_model_that_is_not_configured_is_named() -> None:
    model = [*MODEL, contract.Carried("z", "tensor(float)", None)]
    problems = contract.mismatches("input", contract.declared(CONFIG, "input"), model)
    assert problems == ["input 'z' of the model is not in the configuration"]


def settings(cpus: int = 3, **parameters: str) -> session_options.SessionSettings:
    config = {"parameters": {name: {"string_value": value} for name, value in parameters.items()}}
    return session_options.read_settings(config, cpus)


def test_a_model_uses_the_threads_it_names_and_otherwise_its_cpu_limit() -> None:
    assert settings(intra_op_thread_count="2", inter_op_thread_count="4").intra_op_threads == 2
    assert settings(intra_op_thread_count="2", inter_op_thread_count="4").inter_op_threads == 4
    assert settings().intra_op_threads == 3
    assert settings(intra_op_thread_count="0").intra_op_threads == 3, "0 would mean all cores of the node"


@pytest.mark.parametrize("value", ["two", "", "-1", "1.5"])
def test_a_thread_count_that_is_no_count_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="parameter intra_op_thread_count must"):
        settings(intra_op_thread_count=value)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({}, 1),
    ],
)
def test_the_cpu_limit_is_read_in_whole_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert session_options.cpu_limit(tmp_path) == cores
