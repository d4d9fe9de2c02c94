"""The model card: what a person wants to know before using the bundle, taken from what was checked."""

from __future__ import annotations

from model_packager.manifest import Contract, Manifest, Tensor


def model_card(manifest: Manifest, notes: list[str]) -> str:
    """Markdown for README.md. ``notes`` are what the export wants people to know, as sentences."""
    source, needs = manifest.provenance.source, manifest.compatibility
    lines = [
        f"# {manifest.name} {manifest.version}",
        "",
        f"Exported from {source.framework} {source.framework_version} ({source.format}) to ONNX opset {needs.opset}, "
        f"IR version {needs.ir_version}; needs ONNX Runtime {needs.min_onnxruntime} or newer."
        + (f" Made for {manifest.provenance.target}." if manifest.provenance.target else ""),
        "",
        "## Contract",
        "",
        *_contract(manifest.contract),
    ]
    if notes:
        lines += ["## Notes", "", *(f"- {note}" for note in notes), ""]
    if manifest.parity:
        lines += [
            "## Parity",
            "",
            f"Compared with {manifest.parity.reference} in {manifest.parity.comparisons} cases on "
            f"{manifest.parity.runtime}.",
            "",
            "| output | max abs | p99 abs | max rel | p99 rel | argmax agreement |",
            "|---|---|---|---|---|---|",
            *(
                f"| {o.name} | {o.max_abs:g} | {o.p99_abs:g} | {o.max_rel:g} | {o.p99_rel:g} | "
                f"{'-' if o.argmax_agreement is None else format(o.argmax_agreement, 'g')} |"
                for o in manifest.parity.outputs
            ),
            "",
        ]
    if manifest.profile:
        lines += ["## Latency", "", f"{manifest.profile.device}, {manifest.profile.threads} thread(s).", ""]
        lines += ["| batch | p50 ms | p95 ms |", "|---|---|---|"]
        lines += [f"| {p.batch_size} | {p.p50_ms:g} | {p.p95_ms:g} |" for p in manifest.profile.points]
        lines += [""]
    return "\n".join(lines)


def _contract(contract: Contract) -> list[str]:
    batch = f"up to {contract.max_batch_size}" if contract.max_batch_size else "none; requests are not put together"
    return [
        f"Batch size: {batch}.",
        "",
        "| direction | name | datatype | shape |",
        "|---|---|---|---|",
        *(_row("input", tensor) for tensor in contract.inputs),
        *(_row("output", tensor) for tensor in contract.outputs),
        "",
    ]


def _row(kind: str, tensor: Tensor) -> str:
    return f"| {kind} | {tensor.name} | {tensor.datatype} | {list(tensor.shape)} |"
