"""Load a source, convert it, and learn what the ONNX model really is before anything is promised about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onnx import ModelProto

from model_packager.errors import InvalidUsage
from model_packager.export import graph, samples
from model_packager.export.batching import batch_problem
from model_packager.export.contract import build_contract, check_labels
from model_packager.export.parity import tolerances
from model_packager.export.precision import Precision, reduce_precision
from model_packager.export.request import ExportRequest
from model_packager.export.runtime import Session
from model_packager.export.sources import Source, load_source
from model_packager.export.targets import SAFE_IR, check_loads, lower_to
from model_packager.export.tensors import Arrays
from model_packager.manifest import Compatibility, Contract, Datatype, Tensor, Tolerance

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Converted:
    """The model between conversion and writing, with what was learnt about it.

    ``inputs`` and ``outputs`` are the tensors of the graph; ``contract`` has them as a client sees them.
    ``source_names`` leads from the name of an input to the one that the source knows.
    """

    source: Source
    model: ModelProto
    inputs: list[Tensor]
    outputs: list[Tensor]
    sample: Arrays
    source_names: dict[str, str]
    contract: Contract
    compatibility: Compatibility
    tolerances: dict[Datatype, Tolerance]
    session: Session
    notes: list[str]
    precision: Precision | None = None


def convert(request: ExportRequest, say: Say) -> Converted:
    """Raises InvalidUsage for samples, names and labels that do not fit, and ExportFailed for the rest."""
    if request.precision and not request.sample:
        raise InvalidUsage(
            f"--precision {request.precision} changes the answers, so it is held to real inputs; pass --sample."
        )
    source = load_source(request.source, request.source_options)
    given = samples.read_sample(request.sample) if request.sample else source.example()
    if given is None:
        raise InvalidUsage("The source does not say what its inputs look like; pass --sample with an .npz file.")
    say(f"converting from {source.info.framework} {source.info.version}")
    model = source.convert(given)
    names = [value.name for value in model.graph.input]
    model = graph.rename(model, request.rename)
    if request.target:
        model = lower_to(model, request.target)
    model = graph.normalise(model, request.target.ir if request.target else SAFE_IR)
    if request.precision:
        say(f"reducing the precision to {request.precision}")
        model = graph.normalise(reduce_precision(model, request.precision), model.ir_version)
    model = graph.without_scalars(model)
    inputs, outputs = graph.tensors(model.graph.input), graph.tensors(model.graph.output)
    sample = samples.conform({request.rename.get(name, name): value for name, value in given.items()}, inputs)
    limits = tolerances(outputs, request.rtol, request.atol, request.precision)
    needs = graph.compatibility(model)
    if request.target:
        check_loads(needs, request.target)
    notes: list[str] = []
    if source.info.framework != "onnx" and needs.opset > request.source_options.opset:
        notes.append(f"Opset {request.source_options.opset} was asked for and the model has {needs.opset}.")
    session = Session(model, threads=request.serving.threads)
    maximum = request.max_batch_size
    if maximum and (problem := batch_problem(session, inputs, outputs, sample, maximum, limits)):
        notes.append(f"The first dimension is not a batch, so the maximum batch size is 0. {problem}")
        maximum = 0
    if request.precision:
        notes.append(f"The model computes in {request.precision}; it was compared on the rows of the sample only.")
    if maximum:
        graph.name_batch(model)
    if request.labels:
        check_labels(outputs, request.labels)
    for note in notes:
        say(f"note: {note}")
    return Converted(
        source=source,
        model=model,
        inputs=inputs,
        outputs=outputs,
        sample=sample,
        source_names={tensor.name: name for tensor, name in zip(inputs, names, strict=True)},
        contract=build_contract(inputs, outputs, maximum, request.labels or source.labels()),
        compatibility=needs,
        tolerances=limits,
        session=session,
        notes=notes,
        precision=request.precision,
    )
