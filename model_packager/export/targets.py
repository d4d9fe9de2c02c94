"""What a server loads: the newest opset and IR version by release, from the table in ``targets.json``."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from onnx import ModelProto, version_converter

from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.manifest import Compatibility

SAFE_OPSET: Final = 18
SAFE_IR: Final = 10  # servers of the last two years load it

Release = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server release as the user named it, and the newest versions that it loads."""

    name: str
    onnxruntime: str
    opset: int
    ir: int


@functools.cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("targets.json").read_text(encoding="utf-8"))
    return found


def _release(text: str) -> Release:
    major, minor = text.split(".")
    return int(major), int(minor)


def onnxruntime_limits() -> list[tuple[str, int, int]]:
    """Release, newest opset, newest IR version; oldest release first."""
    releases = _table()["onnxruntime"]
    return [(name, releases[name]["opset"], releases[name]["ir"]) for name in sorted(releases, key=_release)]


def parse_target(text: str) -> Target:
    """``triton:YY.MM`` or ``onnxruntime:X.Y``. Raises InvalidUsage for another form or a release before the table."""
    matched = re.fullmatch(r"(triton|onnxruntime):([0-9]{1,4}\.[0-9]{1,4})(?:\.[0-9]{1,4}|-py3)?", text)
    if not matched:
        raise InvalidUsage(f"The target {text!a} must be triton:YY.MM or onnxruntime:X.Y, such as triton:26.10.")
    kind, release = matched.groups()
    runtime = _entry("triton", release, text) if kind == "triton" else release
    known = _entry("onnxruntime", runtime, text, key_only=True)
    limits = _table()["onnxruntime"][known]
    return Target(name=text, onnxruntime=runtime, opset=limits["opset"], ir=limits["ir"])


def _entry(kind: str, release: str, target: str, *, key_only: bool = False) -> str:
    """The newest entry that is not newer than the release."""
    older = [name for name in _table()[kind] if _release(name) <= _release(release)]
    if not older:
        oldest = min(_table()[kind], key=_release)
        raise InvalidUsage(f"The target {target!a} is older than {kind} {oldest}, the oldest that is supported.")
    newest = max(older, key=_release)
    return newest if key_only else str(_table()[kind][newest])


def choose_opset(asked: int | None, target: Target | None) -> int:
    """The opset to convert to. Raises InvalidUsage if the one that was asked for cannot be loaded by the target."""
    if asked is None:
        return min(SAFE_OPSET, target.opset) if target else SAFE_OPSET
    if target and asked > target.opset:
        raise InvalidUsage(
            f"The target {target.name} (ONNX Runtime {target.onnxruntime}) loads opset {target.opset} at most, and "
            f"--opset {asked} was asked for; leave --opset out or lower it."
        )
    return asked


def lower_to(model: ModelProto, target: Target) -> ModelProto:
    """The model in an opset that the target loads. Raises ExportFailed if an operator cannot be lowered."""
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    if opset <= target.opset:
        return model
    try:
        # The converter refuses IR versions that are newer than the opset it writes.
        model.ir_version = min(model.ir_version, target.ir)
        lowered: ModelProto = version_converter.convert_version(model, target.opset)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise ExportFailed(
            f"The model has opset {opset}, the target {target.name} loads opset {target.opset} at most, and it could "
            f"not be lowered: {first}; export it with --opset {target.opset}."
        ) from error
    return lowered


def check_loads(needs: Compatibility, target: Target) -> None:
    """Look at what the model really has, whatever was asked of the converter. Raises ExportFailed."""
    if needs.opset > target.opset or needs.ir_version > target.ir:
        raise ExportFailed(
            f"The model has opset {needs.opset} and IR version {needs.ir_version}; the target {target.name} loads "
            f"opset {target.opset} and IR version {target.ir} at most."
        )
