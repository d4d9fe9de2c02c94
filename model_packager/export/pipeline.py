"""The export, step by step: convert, compare, write, place. A failure anywhere leaves no bundle behind."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from pydantic import ValidationError

from model_packager import __version__
from model_packager.errors import ExportFailed, InvalidUsage, PackagerError
from model_packager.export.card import model_card
from model_packager.export.compare import Compared, compare
from model_packager.export.convert import Converted, Say, convert
from model_packager.export.golden import select, write_case
from model_packager.export.profile import measure
from model_packager.export.reference import write_reference
from model_packager.export.request import ExportRequest
from model_packager.export.runtime import save
from model_packager.export.triton import write_configs
from model_packager.folder import describe, list_files, verify_folder
from model_packager.manifest import (
    MANIFEST_NAME,
    Golden,
    GoldenCase,
    Manifest,
    Profile,
    Provenance,
    Source,
    check_name,
    check_version,
    digest_of,
)


def export(request: ExportRequest, say: Say) -> Manifest:
    """Write a verified bundle to ``request.out`` and return its manifest; exporting the same again changes nothing.

    Raises ParityFailed if the answers differ, and other PackagerErrors for what cannot be loaded, converted or run.
    """
    check_name(request.name)
    check_version(request.version)
    _check_target(request.out)
    try:
        return _export(request, say)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ExportFailed(
            f"The model does not fit into a manifest: {where} is {ascii(fault['input'])[:100]}: {fault['msg']}."
        ) from error


def _export(request: ExportRequest, say: Say) -> Manifest:
    say(f"loading {request.source}")
    converted = convert(request, say)
    say("comparing with the source")
    compared = compare(converted)
    say("writing the bundle")
    request.out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{request.out.name}.partial-", dir=request.out.parent))
    try:
        manifest = _write(request, converted, compared, staging)
        _place(staging, request.out, manifest)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _write(request: ExportRequest, converted: Converted, compared: Compared, staging: Path) -> Manifest:
    model = staging / "models" / request.name
    (model / "1").mkdir(parents=True)
    save(converted.model, model / "1")
    ranks = {tensor.name: len(tensor.shape) for tensor in [*converted.inputs, *converted.outputs]}
    write_configs(model, request.name, converted.contract, ranks, converted.sample, request.serving)
    golden = [
        write_case(staging, request.name, converted.contract, case, compared.answers[case.name])
        for case in select(compared.cases, compared.answers)
    ]
    if request.reference:
        write_reference(request.reference, converted, request.rename, staging)
    profile = None
    if request.profile:
        maximum = converted.contract.max_batch_size
        profile = measure(converted.session, converted.sample, maximum, request.serving.threads)
    draft = _manifest(request, converted, compared, golden, profile, staging)
    (staging / "README.md").write_text(model_card(draft, converted.notes), encoding="utf-8")
    listed = [*draft.files, describe(staging, "README.md")]
    manifest = draft.model_copy(update={"files": tuple(sorted(listed, key=lambda file: file.path))})
    (staging / MANIFEST_NAME).write_bytes(manifest.canonical_bytes())
    return verify_folder(staging)


def _manifest(
    request: ExportRequest,
    converted: Converted,
    compared: Compared,
    golden: list[GoldenCase],
    profile: Profile | None,
    staging: Path,
) -> Manifest:
    info = converted.source.info
    sample = b"".join(name.encode() + value.tobytes() for name, value in sorted(converted.sample.items()))
    return Manifest(
        name=request.name,
        version=request.version,
        files=tuple(describe(staging, path) for path in list_files(staging)),
        contract=converted.contract,
        compatibility=converted.compatibility,
        golden=Golden(cases=tuple(golden), tolerances=converted.tolerances),
        parity=compared.parity,
        profile=profile,
        provenance=Provenance(
            source=Source(
                framework=info.framework,
                framework_version=info.version,
                format=info.format,
                digest=digest_of(info.content_digest.encode() + sample),
                git_commit=request.git_commit,
                data_digest=request.data_digest,
            ),
            tools={
                "model-packager": __version__,
                "numpy": np.__version__,
                "onnx": onnx.__version__,
                "onnxruntime": onnxruntime.__version__,
                **info.tools,
            },
            mlflow=info.mlflow,
            precision=request.precision,
            target=request.target.name if request.target else None,
        ),
    )


def _check_target(out: Path) -> None:
    """Before the long work: the target is free, or a bundle that this export may turn out to equal."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InvalidUsage(f"{out} is not a folder; choose a new folder.")
    if out.is_dir() and any(out.iterdir()):
        try:
            verify_folder(out)
        except PackagerError as error:
            raise InvalidUsage(f"{out} is not empty and not a bundle; choose a new folder.") from error


def _place(staging: Path, out: Path, manifest: Manifest) -> None:
    for path in [staging, *staging.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)  # servers run as another user
    if out.is_dir() and any(out.iterdir()):
        found = verify_folder(out).digest()
        if found != manifest.digest():
            raise InvalidUsage(
                f"{out} already holds the bundle {found}, and this export is {manifest.digest()}; choose a new folder."
            )
        return
    try:
        staging.rename(out)
    except OSError as error:
        raise InvalidUsage(f"The bundle could not be moved to {out}: {error.strerror}.") from error
