"""``model-packager export``: from options to an ExportRequest, and from a manifest to a verdict."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from model_packager.commands.describe import contract_lines, parity_lines
from model_packager.console import Reporter
from model_packager.errors import InvalidUsage
from model_packager.export.sources import SourceOptions, require
from model_packager.uri import check_digest

_MAX_LABELS = 100_000


def run(
    reporter: Reporter,
    *,
    opset: int | None,
    target: str | None,
    labels: str | None,
    rename: list[str],
    serving: dict[str, int],
    allow_pickle: bool,
    trust: list[str],
    git_commit: str | None,
    precision: str | None,
    data_digest: str | None,
    out: Path,
    **options: Any,
) -> None:
    """Export and report. Raises PackagerError; then no bundle was written."""
    require("packager", "numpy", "onnx", "onnxruntime", "tritonclient.grpc")
    from model_packager.export.pipeline import export
    from model_packager.export.precision import parse_precision
    from model_packager.export.request import ExportRequest
    from model_packager.export.targets import choose_opset, parse_target
    from model_packager.export.triton import ServingOptions

    server = parse_target(target) if target else None
    request = ExportRequest(
        target=server,
        source_options=SourceOptions(opset=choose_opset(opset, server), allow_pickle=allow_pickle, trust=tuple(trust)),
        labels=parse_labels(labels),
        rename=parse_renames(rename),
        serving=ServingOptions(**serving),
        git_commit=parse_commit(git_commit),
        precision=parse_precision(precision),
        data_digest=check_digest(data_digest) if data_digest else None,
        out=out,
        **options,
    )
    with reporter.working() as say:
        manifest = export(request, say)
    if manifest.provenance.mlflow:
        from model_packager.export.mlflow import log_back

        log_back(manifest, reporter.say)
    fields = {"digest": manifest.digest(), "path": str(out), **manifest.model_dump(mode="json", by_alias=True)}
    text = [f"{out}: {manifest.name}:{manifest.version} {manifest.digest()}", *contract_lines(manifest)]
    reporter.result(fields, "\n".join([*text, *parity_lines(manifest)]))


def parse_labels(text: str | None) -> tuple[str, ...] | None:
    """``a,b,c`` or ``@FILE`` with one label a line. Raises InvalidUsage if there is nothing to use."""
    if text is None:
        return None
    if text.startswith("@"):
        path = Path(text[1:])
        try:
            found = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidUsage(f"The labels cannot be read from {path}: {error}.") from error
    else:
        found = text.split(",")
    labels = tuple(label.strip() for label in found)
    bad = next((label for label in labels if not label or len(label) > 256 or not label.isprintable()), None)
    if bad is not None or not labels or len(labels) > _MAX_LABELS:
        raise InvalidUsage(f"Labels must be 1 to {_MAX_LABELS} printable texts of 1 to 256 characters; found {bad!a}.")
    return labels


def parse_commit(text: str | None) -> str | None:
    """A full commit hash: a branch or a short hash would mean something else tomorrow. Raises InvalidUsage."""
    if text is not None and not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
        raise InvalidUsage(f"The commit {text!a} must be 40 or 64 lower-case hex digits; see git rev-parse HEAD.")
    return text


def parse_renames(pairs: list[str]) -> dict[str, str]:
    """``OLD=NEW`` pairs. Raises InvalidUsage for anything else."""
    found: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new and new.isprintable()) or old in found:
            raise InvalidUsage(f"The option --rename {pair!a} must be OLD=NEW, each OLD once.")
        found[old] = new
    return found
