"""What a user asks for in one export."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from model_packager.export.precision import Precision
from model_packager.export.sources import SourceOptions
from model_packager.export.targets import Target
from model_packager.export.triton import ServingOptions


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """Everything that shapes a bundle. ``rtol`` and ``atol`` replace the defaults for floating-point outputs."""

    source: str
    name: str
    version: str
    out: Path
    source_options: SourceOptions
    target: Target | None = None
    sample: Path | None = None
    reference: Path | None = None
    max_batch_size: int = 32
    labels: tuple[str, ...] | None = None
    rename: dict[str, str] = field(default_factory=dict)
    rtol: float | None = None
    atol: float | None = None
    git_commit: str | None = None
    profile: bool = False
    precision: Precision | None = None
    data_digest: str | None = None
    serving: ServingOptions = field(default_factory=ServingOptions)
