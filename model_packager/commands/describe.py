"""Manifests as text for people."""

from __future__ import annotations

from model_packager.manifest import Manifest, Tensor


def summary_lines(manifest: Manifest) -> list[str]:
    """Everything worth a look, in a screenful."""
    needs, source = manifest.compatibility, manifest.provenance.source
    return [
        f"{manifest.name}:{manifest.version} {manifest.digest()}",
        f"  {len(manifest.files)} files, {manifest.size_bytes} bytes; opset {needs.opset}, IR version "
        f"{needs.ir_version}, ONNX Runtime {needs.min_onnxruntime} or newer",
        f"  from {source.framework} {source.framework_version} ({source.format}), source {source.digest}",
        *contract_lines(manifest),
        *parity_lines(manifest),
        *_profile_lines(manifest),
    ]


def contract_lines(manifest: Manifest) -> list[str]:
    """Inputs, outputs and batch size."""
    contract = manifest.contract
    batch = f"up to {contract.max_batch_size}" if contract.max_batch_size else "none"
    inputs = [_tensor("input", tensor) for tensor in contract.inputs]
    return [*inputs, *(_tensor("output", tensor) for tensor in contract.outputs), f"  batch  {batch}"]


def parity_lines(manifest: Manifest) -> list[str]:
    """The figures of the comparison with the source."""
    parity = manifest.parity
    if parity is None:
        return ["  parity not checked"]
    lines = [f"  parity with {parity.reference}: passed in {parity.comparisons} cases"]
    for output in parity.outputs:
        agreement = "" if output.argmax_agreement is None else f", argmax agrees in {output.argmax_agreement:.1%}"
        lines.append(
            f"    {output.name}: abs max {output.max_abs:g} p99 {output.p99_abs:g}, "
            f"rel max {output.max_rel:g} p99 {output.p99_rel:g}{agreement}"
        )
    return lines


def _profile_lines(manifest: Manifest) -> list[str]:
    if manifest.profile is None:
        return []
    points = ", ".join(f"{p.batch_size}: {p.p50_ms:g}/{p.p95_ms:g}" for p in manifest.profile.points)
    return [f"  latency p50/p95 ms by batch on {manifest.profile.device}: {points}"]


def _tensor(kind: str, tensor: Tensor) -> str:
    labels = f", {len(tensor.labels)} labels" if tensor.labels else ""
    return f"  {kind:6} {tensor.name} {tensor.datatype} {list(tensor.shape)}{labels}"
