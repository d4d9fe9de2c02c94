"""Ask the source and the exported model the same questions, and keep the answers of the source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime  # type: ignore[import-untyped]

from model_packager.errors import ExportFailed, ParityFailed
from model_packager.export.batching import batch_sizes
from model_packager.export.convert import Converted
from model_packager.export.parity import REDUCED_AGREEMENT, OutputComparison
from model_packager.export.samples import Case, cases
from model_packager.export.tensors import Array, Arrays, as_datatype
from model_packager.manifest import Parity


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The cases with the answers of the source, by case name, and the summary of the differences."""

    cases: list[Case]
    answers: dict[str, list[Array]]
    parity: Parity


def compare(converted: Converted) -> Compared:
    """Raises ParityFailed with the worst of each output if any answer is outside its tolerance."""
    sizes = batch_sizes(converted.contract.max_batch_size)
    reduced = converted.precision is not None
    asked = cases(converted.sample, sizes, invented=not reduced)
    needed = REDUCED_AGREEMENT if reduced else 1.0
    comparisons = [OutputComparison(t, converted.tolerances[t.datatype], needed) for t in converted.outputs]
    answers: dict[str, list[Array]] = {}
    replayable: list[Case] = []
    for case in asked:
        answers[case.name] = _answer(converted, case.inputs)
        got = converted.session.run(case.inputs)
        triples = zip(comparisons, got, answers[case.name], strict=True)
        equal = [comparison.add(case.name, ours, theirs) for comparison, ours, theirs in triples]
        # A label that a reduced model may miss must not fail the replay of this case on a server.
        if all(equal):
            replayable.append(case)
    if faults := [fault for comparison in comparisons if (fault := comparison.verdict())]:
        raise ParityFailed(f"The exported model differs from its source, so no bundle was written. {' '.join(faults)}")
    parity = Parity(
        reference=_reference(converted),
        runtime=f"onnxruntime {onnxruntime.__version__} CPU",
        comparisons=len(asked),
        batch_sizes=sizes,
        outputs=tuple(comparison.summary() for comparison in comparisons),
    )
    return Compared(cases=replayable, answers=answers, parity=parity)


def _answer(converted: Converted, inputs: Arrays) -> list[Array]:
    answer = converted.source.answer({converted.source_names[name]: value for name, value in inputs.items()})
    outputs = converted.outputs
    if len(answer) != len(outputs):
        raise ExportFailed(f"The source gave {len(answer)} outputs and the ONNX model has {len(outputs)}.")
    arrays = [np.atleast_1d(value) for value in answer]  # as the graph was changed: a server has no scalars
    return [as_datatype(value, tensor.datatype) for value, tensor in zip(arrays, outputs, strict=True)]


def _reference(converted: Converted) -> str:
    info = converted.source.info
    if info.framework == "onnx":
        return f"the same graph without optimisation on onnxruntime {onnxruntime.__version__}"
    return f"{info.framework} {info.version}"
