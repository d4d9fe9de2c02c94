"""Model configurations for Triton, built from its own protobuf schema.

``configs/cpu.pbtxt`` and ``configs/gpu.pbtxt`` name their device, because a server refuses a GPU instance on a node
without one; ``config.pbtxt`` leaves the choice to the server, for people who run the bundle by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb  # type: ignore[import-untyped]

from model_packager.export.batching import buckets
from model_packager.export.runtime import MODEL_FILE
from model_packager.export.tensors import FLOATS, Arrays
from model_packager.manifest import Contract, Tensor


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """``instances`` of the model side by side, each with ``threads`` on a CPU; ``queue_delay_us`` a request may wait
    for others; ``queue_timeout_ms`` and ``queue_size`` bound the queue, beyond which requests are refused at once
    instead of being answered too late."""

    instances: int = 1
    threads: int = 1
    queue_delay_us: int = 500
    queue_timeout_ms: int = 10_000
    queue_size: int = 256


def write_configs(
    folder: Path, name: str, contract: Contract, graph_ranks: dict[str, int], sample: Arrays, options: ServingOptions
) -> None:
    """Write the three configurations into ``folder``. ``graph_ranks`` are the ranks inside the model, by tensor."""
    (folder / "configs").mkdir()
    for path, kind in (("config", "KIND_AUTO"), ("configs/cpu", "KIND_CPU"), ("configs/gpu", "KIND_GPU")):
        config = _config(name, contract, graph_ranks, sample, options)
        config.instance_group.add(kind=kind, count=options.instances)
        if kind != "KIND_GPU":
            # The default is a thread for every core of the node, which ignores the limit of the container.
            config.parameters["intra_op_thread_count"].string_value = str(options.threads)
            config.parameters["inter_op_thread_count"].string_value = "1"
        (folder / f"{path}.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")


def _config(name: str, contract: Contract, graph_ranks: dict[str, int], sample: Arrays, options: ServingOptions) -> Any:
    config = pb.ModelConfig(
        name=name,
        backend="onnxruntime",
        default_model_filename=MODEL_FILE,
        max_batch_size=contract.max_batch_size,
    )
    for tensors, entries in ((contract.inputs, config.input), (contract.outputs, config.output)):
        for tensor in tensors:
            entry = entries.add(name=tensor.name, data_type=_data_type(tensor), dims=_dims(tensor, contract))
            if graph_ranks[tensor.name] < len(tensor.shape):
                entry.reshape.SetInParent()  # the model has no inner dimension where the server must have one
    if contract.max_batch_size > 1:
        batching = config.dynamic_batching
        batching.max_queue_delay_microseconds = options.queue_delay_us
        policy = batching.default_queue_policy
        policy.timeout_action = pb.ModelQueuePolicy.REJECT
        policy.default_timeout_microseconds = options.queue_timeout_ms * 1000
        policy.allow_timeout_override = True
        policy.max_queue_size = options.queue_size
    for size in buckets(contract.max_batch_size) or (0,):
        warmup = config.model_warmup.add(name=f"batch-{size}", batch_size=size, count=1)
        for tensor in contract.inputs:
            value = warmup.inputs[tensor.name]
            value.data_type = _data_type(tensor)
            value.dims.extend(sample[tensor.name].shape[1 if contract.max_batch_size else 0 :] or (1,))
            # Random integers may be no valid ids; zero nearly always is one.
            if tensor.datatype in FLOATS:
                value.random_data = True
            else:
                value.zero_data = True
    return config


def _dims(tensor: Tensor, contract: Contract) -> tuple[int, ...]:
    return tensor.shape[1:] if contract.max_batch_size else tensor.shape


def _data_type(tensor: Tensor) -> int:
    name = "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"
    return int(pb.DataType.Value(name))
