"""PyTorch: programs saved by ``torch.export.save``, and modules built by a factory function."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.export.pt2 import check_archive, weights_only
from model_packager.export.quiet import first_line, quiet
from model_packager.export.sources import SourceInfo, SourceOptions
from model_packager.export.tensors import Array, Arrays


class TorchSource:
    """Implements :class:`model_packager.export.sources.Source` for an exported program."""

    def __init__(self, program: ExportedProgram, info: SourceInfo, options: SourceOptions) -> None:
        self.info = info
        self._program = program
        self._module = program.module()
        self._opset = options.opset
        self._names = [str(name) for name in program.graph_signature.user_inputs]

    def example(self) -> Arrays | None:
        if self._program.example_inputs is None:
            return None
        leaves = pytree.tree_leaves(self._program.example_inputs)
        return {name: to_numpy(leaf) for name, leaf in zip(self._names, leaves, strict=True)}

    def convert(self, sample: Arrays) -> ModelProto:
        if sorted(sample) != sorted(self._names):
            raise InvalidUsage(f"The program has the inputs {self._names}, but the sample has {list(sample)}.")
        try:
            with quiet():
                converted = torch.onnx.export(
                    self._program, (), dynamo=True, opset_version=self._opset, external_data=False, verbose=False
                )
        except Exception as error:
            raise ExportFailed(f"PyTorch could not convert the program to ONNX: {first_line(error)}") from error
        assert converted is not None
        model: ModelProto = converted.model_proto
        return _with_names(model, self._names, self._output_names())

    def answer(self, inputs: Arrays) -> list[Array]:
        leaves = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._names]
        spec = self._program.call_spec.in_spec
        args, kwargs = pytree.tree_unflatten(leaves, spec)
        with torch.inference_mode(), one_thread():
            outputs = pytree.tree_leaves(self._module(*args, **kwargs))
        return [to_numpy(output) for output in outputs]

    def labels(self) -> tuple[str, ...] | None:
        return None

    def _output_names(self) -> list[str] | None:
        """Keys, if the program returns a dict of tensors: the converter itself loses them."""
        spec = self._program.call_spec.out_spec
        keys = spec.context if spec is not None and spec.type is dict else None
        if not keys or spec.num_leaves != len(keys):
            return None
        return [str(key) for key in keys]


def load_program(path: Path, options: SourceOptions) -> TorchSource:
    """Load a ``.pt2`` file. Raises InvalidUsage if it holds more than a program, ExportFailed if it is broken."""
    check_archive(path)
    try:
        with quiet(), weights_only():
            program = torch.export.load(path)
    except Exception as error:
        raise ExportFailed(f"{path} is not a program saved by torch.export.save: {first_line(error)}") from error
    return TorchSource(program, _info("torch.export", hashlib.sha256(path.read_bytes()).hexdigest()), options)


def load_factory(module: str, function: str, options: SourceOptions) -> TorchSource:
    """Import and call ``module.function() -> (nn.Module, samples)`` and export the module with a free batch size.

    ``samples`` is a dict by argument name, a tuple, or one array or tensor. Importing runs the user's code, by intent.
    """
    sys.path.insert(0, "")
    try:
        factory = getattr(importlib.import_module(module), function)
        model, samples = factory()
    except Exception as error:
        raise ExportFailed(f"{module}:{function} could not be called: {first_line(error)}") from error
    finally:
        sys.path.remove("")
    if not isinstance(model, torch.nn.Module):
        raise InvalidUsage(
            f"{module}:{function} returned a {type(model).__name__}; it must return (nn.Module, samples)."
        )
    names = list(inspect.signature(model.forward).parameters)
    if not isinstance(samples, dict):
        values = samples if isinstance(samples, tuple | list) else (samples,)
        samples = dict(zip(names, values, strict=False))
    kwargs = {name: _two_rows(torch.as_tensor(value)) for name, value in samples.items()}
    shapes = {name: ({0: Dim.AUTO} if value.ndim else None) for name, value in kwargs.items()}
    try:
        with quiet():
            program = torch.export.export(model.eval(), (), kwargs=kwargs, dynamic_shapes=shapes)
    except Exception as error:
        raise ExportFailed(f"PyTorch could not export the module: {first_line(error)}") from error
    seen = hashlib.sha256(inspect.getsource(type(model)).encode())
    for name, tensor in sorted(model.state_dict().items()):
        seen.update(name.encode() + b"\0" + to_numpy(tensor).tobytes())
    return TorchSource(program, _info("factory", seen.hexdigest()), options)


def _info(kind: str, digest: str) -> SourceInfo:
    import onnxscript

    return SourceInfo(
        framework="torch",
        version=torch.__version__,
        format=kind,
        content_digest=digest,
        tools={"onnxscript": onnxscript.__version__},
    )


def _with_names(model: ModelProto, inputs: list[str], outputs: list[str] | None) -> ModelProto:
    from model_packager.export.graph import rename

    pairs = dict(zip((value.name for value in model.graph.input), inputs, strict=True))
    if outputs is not None and len(outputs) == len(model.graph.output):
        pairs |= dict(zip((value.name for value in model.graph.output), outputs, strict=True))
    return rename(model, {old: new for old, new in pairs.items() if old != new})


def _two_rows(value: torch.Tensor) -> torch.Tensor:
    """At least two rows: the tracer takes a size of 1 for a constant."""
    if value.ndim == 0 or value.shape[0] != 1:
        return value
    return torch.cat([value, value])


def to_numpy(value: Any) -> Array:
    """The values of a tensor; bfloat16 widened, which numpy lacks. Raises ExportFailed for what is no tensor."""
    if not isinstance(value, torch.Tensor):
        raise ExportFailed(f"The program has a {type(value).__name__} as input or output; use tensors only.")
    if value.dtype == torch.bfloat16:
        value = value.float()
    return np.asarray(value.detach().cpu().numpy())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, so that the recorded answers do not depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
