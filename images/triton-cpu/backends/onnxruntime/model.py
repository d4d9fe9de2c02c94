"""Triton backend ``onnxruntime`` in Python: serves an unmodified ONNX model repository on a CPU."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import batching
import contract
import numpy as np
import onnxruntime
import session_options
import tensor_types
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance of one model version; Triton runs each instance in a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model file of this version, or fail with one sentence that says why it cannot be served."""
        config = json.loads(args["model_config"])
        file_name = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / file_name
        try:
            if not path.is_file():
                raise ValueError(f"there is no file {file_name} in the version folder {path.parent}")
            settings = session_options.read_settings(config, session_options.cpu_limit())
            self._device_seconds = settings.device_seconds
            self._session = _open_session(path, settings)
            self._outputs = _check_contract(config, self._session)
        except Exception as error:
            # Whatever ONNX Runtime raises on a bad file has to become the reason that Triton reports.
            raise pb_utils.TritonModelException(f"cannot serve {path}: {_one_line(error)}") from error
        self._inputs = contract.declared(config, "input")
        self._batched = int(config.get("max_batch_size", 0)) > 0

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer every request of a batch, those that can share a run with one run of the session."""
        responses: list[Any] = [None] * len(requests)
        inputs: dict[int, dict[str, batching.Array]] = {}
        for position, request in enumerate(requests):
            try:
                inputs[position] = self._read(request)
            except ValueError as error:
                responses[position] = _failed(error, pb_utils.TritonError.INVALID_ARG)
        positions = list(inputs)
        groups = batching.group_joinable(list(inputs.values())) if self._batched else [[i] for i in range(len(inputs))]
        for group in groups:
            members = [positions[index] for index in group]
            answers = self._answer([requests[i] for i in members], [inputs[i] for i in members])
            for position, answer in zip(members, answers, strict=True):
                responses[position] = answer
        return responses

    def finalize(self) -> None:
        """Release the session's memory before the process goes."""
        del self._session

    def _read(self, request: Any) -> dict[str, batching.Array]:
        arrays = {}
        for entry in self._inputs:
            tensor = pb_utils.get_input_tensor_by_name(request, entry.name)
            if tensor is None:
                if entry.optional:
                    continue
                raise ValueError(f"input '{entry.name}' is missing")
            array = tensor.as_numpy()
            if entry.data_type == "TYPE_STRING":
                try:
                    array = tensor_types.decode_strings(array)
                except ValueError as error:
                    raise ValueError(f"input '{entry.name}': {error}") from error
            arrays[entry.name] = array
        if self._batched:
            batching.batch_size(arrays)
        return arrays

    def _answer(self, requests: Sequence[Any], inputs: Sequence[dict[str, batching.Array]]) -> list[Any]:
        wanted = [name for name in self._outputs if any(name in r.requested_output_names() for r in requests)]
        try:
            results = self._session.run(wanted, batching.join(inputs))
            if self._device_seconds:
                time.sleep(self._device_seconds)
            outputs = dict(zip(wanted, results, strict=True))
            sizes = [batching.batch_size(arrays) for arrays in inputs] if self._batched else []
            parts = batching.share_out(outputs, sizes) if self._batched else [outputs]
        except Exception as error:
            # One run serves them all, so its failure is the answer to each of them and never the server's end.
            return [_failed(error, pb_utils.TritonError.INTERNAL) for _ in requests]
        return [self._response(request, part) for request, part in zip(requests, parts, strict=True)]

    def _response(self, request: Any, part: dict[str, batching.Array]) -> Any:
        tensors = []
        for name in request.requested_output_names():
            data_type = self._outputs[name]
            array = np.asarray(part[name])
            array = tensor_types.encode_strings(array) if data_type == "TYPE_STRING" else np.ascontiguousarray(array)
            tensors.append(pb_utils.Tensor(name, array))
        return pb_utils.InferenceResponse(output_tensors=tensors)


def _open_session(path: Path, settings: session_options.SessionSettings) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = settings.inter_op_threads
    options.enable_cpu_mem_arena = settings.memory_arena
    options.enable_mem_pattern = settings.memory_pattern
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, settings.graph_level)
    if settings.parallel:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    # Idle threads that spin would spend the CPU limit of a small container on waiting.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _check_contract(config: dict[str, Any], session: onnxruntime.InferenceSession) -> dict[str, str]:
    problems = []
    for side, arguments in (("input", session.get_inputs()), ("output", session.get_outputs())):
        problems += contract.mismatches(side, contract.declared(config, side), contract.carried(arguments))
    if problems:
        raise ValueError("; ".join(problems))
    return {entry.name: entry.data_type for entry in contract.declared(config, "output")}


def _failed(error: Exception, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(_one_line(error), code))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
