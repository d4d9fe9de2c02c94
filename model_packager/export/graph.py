"""Reading and normalising ONNX graphs: names, shapes, versions, and everything that must not leak into a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import onnx
from onnx import GraphProto, ModelProto, ValueInfoProto

from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.export.targets import SAFE_IR, onnxruntime_limits
from model_packager.export.tensors import datatype_of
from model_packager.manifest import Compatibility, Tensor

BATCH: Final = "batch"
_DOMAINS: Final = ("ai.onnx", "ai.onnx.ml", "com.microsoft", "ai.onnx.preview.training")


def tensors(values: Iterable[ValueInfoProto]) -> list[Tensor]:
    """Names, datatypes and shapes as the graph has them. Raises ExportFailed for what is not a tensor."""
    found = []
    for value in values:
        if value.type.WhichOneof("value") != "tensor_type":
            raise ExportFailed(
                f"The graph has {value.name!a} of type {value.type.WhichOneof('value')}; only tensors can be served."
            )
        kind = value.type.tensor_type
        if not kind.HasField("shape"):
            raise ExportFailed(f"The graph has {value.name!a} of unknown rank; export it with a shape.")
        shape = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim)
        found.append(Tensor(name=value.name, datatype=datatype_of(value.name, kind.elem_type), shape=shape))
    return found


def without_weights_as_inputs(model: ModelProto) -> ModelProto:
    """Old exporters list weights among the inputs, and a client would be asked for them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    kept: list[ValueInfoProto] = [value for value in model.graph.input if value.name not in weights]
    if len(kept) != len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(kept)
    return model


def rename(model: ModelProto, names: dict[str, str]) -> ModelProto:
    """Give inputs and outputs other names, everywhere they are used. Raises InvalidUsage for unknown or taken names."""
    graph = model.graph
    interface = [value.name for value in [*graph.input, *graph.output]]
    if unknown := names.keys() - set(interface):
        raise InvalidUsage(f"There is no input or output {min(unknown)!a} to rename; there are {', '.join(interface)}.")
    wanted = [names.get(name, name) for name in interface]
    if len(set(wanted)) != len(wanted):
        raise InvalidUsage(f"Renaming would give two inputs or outputs the same name: {', '.join(wanted)}.")
    # A name that is wanted may belong to an inner value; that one moves out of the way.
    inner = {name for node in _nodes(graph) for name in [*node.input, *node.output]} | {
        i.name for i in graph.initializer
    }
    moved = {name: f"{name}__inner" for name in set(names.values()) & (inner - set(interface))}
    _substitute(graph, moved | names)
    return model


def _substitute(graph: GraphProto, names: dict[str, str]) -> None:
    for part in _graphs(graph):
        for value in [*part.input, *part.output, *part.value_info]:
            value.name = names.get(value.name, value.name)
        for tensor in part.initializer:
            tensor.name = names.get(tensor.name, tensor.name)
        for node in part.node:
            for field in (node.input, node.output):
                field[:] = [names.get(name, name) for name in field]


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph and the bodies of its loops and branches, at any depth."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _graphs(inner)


def _nodes(graph: GraphProto) -> Iterator[onnx.NodeProto]:
    return (node for part in _graphs(graph) for node in part.node)


def normalise(model: ModelProto, max_ir: int = SAFE_IR) -> ModelProto:
    """Remove what differs between machines (stack traces, documentation), and lower the IR version to ``max_ir``."""
    _strip(model)
    for function in model.functions:
        _strip(function)
        for node in function.node:
            _strip(node)
    for graph in _graphs(model.graph):
        _strip(graph)
        for item in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
            for part in item:
                _strip(part)
    imports = {entry.domain: entry.version for entry in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in sorted(imports.items()))
    model.ir_version = min(model.ir_version, max_ir)
    return model


def _strip(part: Any) -> None:
    part.doc_string = ""
    del part.metadata_props[:]


def without_scalars(model: ModelProto) -> ModelProto:
    """Give a scalar output the shape [1], because no server has tensors without a dimension.

    Raises ExportFailed for a scalar input: its sample would have another shape than the source knows.
    """
    graph = model.graph
    if scalar := next((value.name for value in graph.input if _is_scalar(value)), None):
        raise ExportFailed(f"The input {scalar!a} is a scalar, which no server takes; give it the shape [1].")
    names = [value.name for value in graph.output if _is_scalar(value)]
    if not names:
        return model
    shape = onnx.helper.make_tensor("scalar__shape", onnx.TensorProto.INT64, [1], [1])
    graph.initializer.append(shape)
    _substitute(graph, {name: f"{name}__scalar" for name in names})
    for value in graph.output:
        if (name := value.name.removesuffix("__scalar")) in names:
            graph.node.append(onnx.helper.make_node("Reshape", [value.name, shape.name], [name]))
            value.name = name
            value.type.tensor_type.shape.dim.add(dim_value=1)
    return model


def _is_scalar(value: ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return value.type.HasField("tensor_type") and kind.HasField("shape") and not kind.shape.dim


def name_batch(model: ModelProto) -> None:
    """Mark the first dimension of every input and output as the batch; servers ask for that before they batch."""
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = BATCH


def compatibility(model: ModelProto) -> Compatibility:
    """What the model needs to be loaded. Raises ExportFailed for operators that no server image has."""
    domains = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    used = {node.domain or "ai.onnx" for node in _nodes(model.graph)} - {entry.domain for entry in model.functions}
    if unknown := used - set(_DOMAINS):
        raise ExportFailed(
            f"The model uses operators of the domain {min(unknown)!a}, which ONNX Runtime does not have."
        )
    opset = domains.get("ai.onnx", 1)
    for release, newest_opset, newest_ir in onnxruntime_limits():
        if opset <= newest_opset and model.ir_version <= newest_ir:
            return Compatibility(
                opset=opset, ir_version=model.ir_version, opset_domains=domains, min_onnxruntime=release
            )
    raise ExportFailed(
        f"No known ONNX Runtime loads opset {opset} with IR version {model.ir_version}; lower the opset."
    )
