"""Promises of the ONNX Runtime backend as Triton drives it, with ONNX Runtime itself and a stand-in for Triton."""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper


class Tensor:
    def __init__(self, name: str, array: Any) -> None:
        self.name = name
        self.array = array

    def as_numpy(self) -> Any:
        return self.array


class TritonError:
    INVALID_ARG, INTERNAL = 1, 2

    def __init__(self, message: str, code: int) -> None:
        self.message = message
        self.code = code


class InferenceResponse:
    def __init__(self, output_tensors: Any = (), error: TritonError | None = None) -> None:
        self.outputs = {tensor.name: tensor.array for tensor in output_tensors}
        self.error = error


class Request:
    def __init__(self, outputs: tuple[str, ...] = ("doubled", "text_again"), **inputs: Any) -> None:
        self.inputs = inputs
        self._outputs = list(outputs)

    def requested_output_names(self) -> list[str]:
        return self._outputs


def get_input_tensor_by_name(request: Request, name: str) -> Tensor | None:
    return Tensor(name, request.inputs[name]) if name in request.inputs else None


CONFIG = {
    "max_batch_size": 8,
    "default_model_filename": "net.onnx",
    "input": [
        {"name": "number", "data_type": "TYPE_FP16", "dims": [2]},
        {"name": "text", "data_type": "TYPE_STRING", "dims": [1]},
    ],
    "output": [
        {"name": "doubled", "data_type": "TYPE_FP16", "dims": [2]},
        {"name": "text_again", "data_type": "TYPE_STRING", "dims": [1]},
    ],
}


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    triton = types.ModuleType("triton_python_backend_utils")
    vars(triton).update(
        Tensor=Tensor, TritonError=TritonError, InferenceResponse=InferenceResponse,
        TritonModelException=type("TritonModelException", (Exception,), {}),
        get_input_tensor_by_name=get_input_tensor_by_name,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton)
    monkeypatch.delitem(sys.modules, "model", raising=False)
    yield importlib.import_module("model")
    sys.modules.pop("model", None)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["number", "number"], ["doubled"]),
            helper.make_node("Identity", ["text"], ["text_again"]),
        ],
        "net",
        [
            helper.make_tensor_value_info("number", TensorProto.FLOAT16, [None, 2]),
            helper.make_tensor_value_info("text", TensorProto.STRING, [None, 1]),
        ],
        [
            helper.make_tensor_value_info("doubled", TensorProto.FLOAT16, [None, 2]),
            helper.make_tensor_value_info("text_again", TensorProto.STRING, [None, 1]),
        ],
    )
    (tmp_path / "1").mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "1" / "net.onnx")
    return tmp_path


def load(backend: Any, repository: Path, **changes: Any) -> Any:
    model = backend.TritonPythonModel()
    config = json.dumps({**CONFIG, **changes})
    model.initialize({"model_config": config, "model_repository": str(repository), "model_version": "1"})
    return model


def numbers(*rows: float) -> Any:
    return np.array([[row, -row] for row in rows], dtype=np.float16)


def texts(*rows: bytes) -> Any:
    return np.array([[row] for row in rows], dtype=object)


def test_a_dynamic_batch_is_one_run_and_every_client_gets_its_own_answer(
    backend: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(backend, repository)
    runs = []
    session = model._session

    class Counting:
        def run(self, names: list[str], inputs: dict[str, Any]) -> Any:
            runs.append(len(inputs["number"]))
            return session.run(names, inputs)

    monkeypatch.setattr(model, "_session", Counting())
    responses = model.execute(
        [Request(number=numbers(1), text=texts(b"a")), Request(number=numbers(2, 3), text=texts("é".encode(), b""))]
    )
    assert runs == [3]
    assert responses[0].outputs["doubled"].tolist() == [[2, -2]]
    assert responses[1].outputs["doubled"].tolist() == [[4, -4], [6, -6]]
    assert responses[1].outputs["doubled"].dtype == np.float16
    assert responses[1].outputs["text_again"].tolist() == [["é".encode()], [b""]]


def test_only_the_requested_outputs_are_sent(backend: Any, repository: Path) -> None:
    model = load(backend, repository)
    responses = model.execute(
        [
            Request(("doubled",), number=numbers(1), text=texts(b"a")),
            Request(("text_again",), number=numbers(1), text=texts(b"b")),
        ]
    )
    assert [list(response.outputs) for response in responses] == [["doubled"], ["text_again"]]
    assert responses[1].outputs["text_again"].tolist() == [[b"b"]]


def test_one_bad_request_of_a_batch_fails_alone(backend: Any, repository: Path) -> None:
    responses = load(backend, repository).execute(
        [
            Request(number=numbers(1), text=texts(b"a")),
            Request(number=numbers(1), text=texts(b"\xff")),
            Request(number=numbers(1)),
            Request(number=numbers(5), text=texts(b"c")),
        ]
    )
    assert [response.error and (response.error.code, response.error.message) for response in responses] == [
        None,
        (TritonError.INVALID_ARG, "input 'text': element [0, 0] is not UTF-8 text"),
        (TritonError.INVALID_ARG, "input 'text' is missing"),
        None,
    ]
    assert responses[3].outputs["doubled"].tolist() == [[10, -10]]


def test_a_failing_run_is_an_answer_and_the_next_request_is_served(backend: Any, repository: Path) -> None:
    model = load(backend, repository)
    wrong = np.zeros((1, 3), dtype=np.float16)
    assert "number" in model.execute([Request(number=wrong, text=texts(b"a"))])[0].error.message
    assert model.execute([Request(number=numbers(1), text=texts(b"a"))])[0].error is None


def test_a_model_without_batching_runs_each_request_by_itself(backend: Any, repository: Path) -> None:
    inputs = [{**entry, "dims": [-1, *entry["dims"]]} for entry in CONFIG["input"]]  # type: ignore[attr-defined]
    outputs = [{**entry, "dims": [-1, *entry["dims"]]} for entry in CONFIG["output"]]  # type: ignore[attr-defined]
    model = load(backend, repository, max_batch_size=0, input=inputs, output=outputs)
    responses = model.execute([Request(number=numbers(n), text=texts(b"a")) for n in (1, 2)])
    assert [response.outputs["doubled"].tolist() for response in responses] == [[[2, -2]], [[4, -4]]]


def test_an_emulated_device_holds_each_run_as_long_as_it_is_told(
    backend: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[float] = []
    monkeypatch.setattr(sys.modules[backend.__name__].time, "sleep", held.append)
    model = load(backend, repository, parameters={"emulated_device_milliseconds": {"string_value": "50"}})
    model.execute([Request(number=numbers(n), text=texts(b"a")) for n in (1, 2)])
    assert held == [0.05]
    load(backend, repository).execute([Request(number=numbers(1), text=texts(b"a"))])
    assert held == [0.05]


def break_file(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:20] + b"\xff" * 40 + content[60:])


@pytest.mark.parametrize(
    ("damage", "changes", "reason"),
    [
        (break_file, {}, "Protobuf parsing failed"),
        (Path.unlink, {}, r"there is no file net\.onnx in the version folder"),
        (Path.exists, {"input": CONFIG["input"][:1]}, "input 'text' of the model is not in the configuration"),  # type: ignore[index]
        (Path.exists, {"parameters": {"intra_op_thread_count": {"string_value": "x"}}}, "must be a whole number"),
    ],
)
def test_a_model_that_cannot_be_served_fails_its_load_with_the_reason_in_one_line(
    backend: Any, repository: Path, damage: Any, changes: dict[str, Any], reason: str
) -> None:
    damage(repository / "1" / "net.onnx")
    failure = sys.modules["triton_python_backend_utils"].TritonModelException
    with pytest.raises(failure, match=reason) as raised:
        load(backend, repository, **changes)
    assert str(raised.value).startswith(f"cannot serve {repository}/1/net.onnx: ")
    assert "\n" not in str(raised.value)
