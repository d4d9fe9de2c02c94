"""The models inside a manifest: pydantic, frozen, strict, and closed to unknown fields.

Every count, length and number is bounded, because a manifest is read before anything about it can be trusted. Optional
fields are None by default and absent from the canonical form, so a field added later leaves old digests unchanged.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MAX_FILES = 10_000
MAX_FILE_BYTES = 1 << 43  # 8 TiB
MAX_TENSORS = 256

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BF16", "BYTES",
]  # fmt: skip
Text = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Dimension = Annotated[int, Field(ge=-1, le=1 << 40)]
Measure = Annotated[float, Field(ge=0, allow_inf_nan=False)]
BatchSize = Annotated[int, Field(ge=0, le=1 << 20)]


class Frozen(BaseModel):
    """Base of every part: immutable, no coercion, no unknown fields, camelCase on the wire."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


class File(Frozen):
    """One file of the bundle: its path relative to the bundle, size in bytes, and sha256."""

    path: Annotated[str, Field(max_length=512)]
    size: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]
    sha256: Sha256


class Tensor(Frozen):
    """An input or output as a client sees it. ``shape`` includes the batch dimension; -1 is any size."""

    name: Text
    datatype: Datatype
    shape: Annotated[tuple[Dimension, ...], Field(max_length=32)]
    labels: Annotated[tuple[Text, ...], Field(min_length=1, max_length=100_000)] | None = None


class Contract(Frozen):
    """What the model promises its clients. ``max_batch_size`` 0 means that the first dimension is not a batch."""

    inputs: Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=MAX_TENSORS)]
    outputs: Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=MAX_TENSORS)]
    max_batch_size: BatchSize


class Compatibility(Frozen):
    """What a server must support to load the model. ``opset`` is the default domain's; versions are exact."""

    opset: Annotated[int, Field(ge=1, le=1000)]
    ir_version: Annotated[int, Field(ge=1, le=1000)]
    opset_domains: Annotated[dict[Annotated[str, Field(max_length=128)], int], Field(min_length=1, max_length=64)]
    min_onnxruntime: Annotated[str, Field(pattern=r"^[0-9]{1,4}\.[0-9]{1,4}$")]


class Tolerance(Frozen):
    """Allowed difference for one datatype: ``abs(got - want) <= atol + rtol * abs(want)``; 0 and 0 is exact."""

    rtol: Measure
    atol: Measure


class GoldenCase(Frozen):
    """Recorded exchange ``golden/<name>/``: request and response of the Open Inference Protocol with binary data."""

    name: Annotated[str, Field(pattern=r"^[0-9a-z][0-9a-z-]{0,62}$")]
    origin: Literal["Sample", "Seed", "Edge"]
    batch_size: BatchSize


class Golden(Frozen):
    """Inputs with the outputs that the source framework gave, to be replayed against a server."""

    cases: Annotated[tuple[GoldenCase, ...], Field(max_length=1000)]
    tolerances: Annotated[dict[Datatype, Tolerance], Field(max_length=16)]


class OutputParity(Frozen):
    """Largest and 99th-percentile differences seen for one output. Agreement is the share of equal argmax, 0 to 1."""

    name: Text
    max_abs: Measure
    p99_abs: Measure
    max_rel: Measure
    p99_rel: Measure
    argmax_agreement: Annotated[float, Field(ge=0, le=1)] | None = None


class Parity(Frozen):
    """How the exported model was compared with its source. A bundle exists only if every comparison passed."""

    reference: Text
    runtime: Text
    comparisons: Annotated[int, Field(ge=1)]
    batch_sizes: Annotated[tuple[BatchSize, ...], Field(max_length=64)]
    outputs: Annotated[tuple[OutputParity, ...], Field(min_length=1, max_length=MAX_TENSORS)]


class ProfilePoint(Frozen):
    """Latency in milliseconds of one request with this batch size."""

    batch_size: Annotated[int, Field(ge=1, le=1 << 20)]
    p50_ms: Measure
    p95_ms: Measure


class Profile(Frozen):
    """Latency by batch size on one device. Measured, so a bundle with a profile is not reproducible bit by bit."""

    device: Literal["CPU", "GPU"]
    threads: Annotated[int, Field(ge=0, le=4096)]
    points: Annotated[tuple[ProfilePoint, ...], Field(min_length=1, max_length=64)]


class Source(Frozen):
    """What was exported. ``digest`` covers the bytes of the source and of the samples that shaped the export."""

    framework: Text
    framework_version: Text
    format: Text
    digest: Digest
    git_commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")] | None = None
    data_digest: Digest | None = None


class MlflowOrigin(Frozen):
    """The run that trained the model, and the model as MLflow names it for good: a version, never an alias."""

    run_id: Annotated[str, Field(pattern=r"^[0-9a-zA-Z_-]{1,64}$")] | None = None
    model: Text


class Provenance(Frozen):
    """Where the bundle comes from. No times and no hosts: equal source, options and tools give an equal digest."""

    source: Source
    tools: Annotated[dict[Text, Text], Field(max_length=64)]
    mlflow: MlflowOrigin | None = None
    precision: Literal["fp16", "int8"] | None = None
    target: Text | None = None
