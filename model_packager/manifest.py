"""The manifest of a bundle: its schema, its canonical bytes, and its identity.

This module is the contract between the packager, which writes bundles, and the operator, which runs them. It imports
the standard library and pydantic only, so that reading a manifest never pulls in a framework or a store client.

The digest of a bundle is the sha256 of the canonical manifest, and the manifest names every other file with its size
and sha256; so the digest identifies the whole bundle.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from model_packager.errors import BundleInvalid, DigestMismatch, InvalidReference, PackagerError
from model_packager.paths import MANIFEST_NAME, identity, path_problem
from model_packager.schema import (
    MAX_FILES,
    Compatibility,
    Contract,
    Datatype,
    File,
    Frozen,
    Golden,
    GoldenCase,
    OutputParity,
    Parity,
    Profile,
    ProfilePoint,
    Provenance,
    Source,
    Tensor,
    Tolerance,
)
from model_packager.uri import (
    ModelReference,
    StoreRoot,
    check_alias,
    check_digest,
    check_name,
    check_version,
    parse_reference,
    parse_root,
)

__all__ = [
    "GOLDEN_PARTS", "MANIFEST_NAME", "MAX_MANIFEST_BYTES", "SCHEMA_VERSION",
    "BundleInvalid", "Compatibility", "Contract", "Datatype", "DigestMismatch", "File", "Golden", "GoldenCase",
    "InvalidReference", "Manifest", "ModelReference", "OutputParity", "PackagerError", "Parity", "Profile",
    "ProfilePoint", "Provenance", "Source", "StoreRoot", "Tensor", "Tolerance",
    "check_alias", "check_digest", "check_name", "check_version", "digest_of", "parse_manifest", "parse_reference",
    "parse_root",
]  # fmt: skip

SCHEMA_VERSION: Final = "tidegate.dev/bundle/v1"
MAX_MANIFEST_BYTES = 8 * 1024 * 1024


# An exchange of the Open Inference Protocol: JSON part and binary part of the request and of the expected response.
GOLDEN_PARTS: Final = ("request.json", "request.bin", "response.json", "response.bin")


class Manifest(Frozen):
    """A verified description of one immutable bundle. Build it directly or with :func:`parse_manifest`."""

    schema_version: Literal["tidegate.dev/bundle/v1"] = SCHEMA_VERSION
    name: str
    version: str
    files: Annotated[tuple[File, ...], Field(min_length=1, max_length=MAX_FILES)]
    contract: Contract
    compatibility: Compatibility
    golden: Golden
    parity: Parity | None = None
    profile: Profile | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _rules(self) -> Self:
        try:
            check_name(self.name)
            check_version(self.version)
        except InvalidReference as error:
            raise ValueError(str(error)) from error
        _check_files(self.files)
        _check_layout(self)
        _check_contract(self.contract)
        return self

    @property
    def size_bytes(self) -> int:
        """Bytes of all listed files together."""
        return sum(file.size for file in self.files)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes by path."""
        return {file.path: file.size for file in self.files}

    def canonical_bytes(self) -> bytes:
        """The one serialisation that is stored and hashed: sorted keys, no spaces, UTF-8, absent instead of null."""
        fields = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()

    def digest(self) -> str:
        """Identity of the bundle: ``sha256:`` and the hash of the canonical bytes."""
        return digest_of(self.canonical_bytes())


def digest_of(data: bytes) -> str:
    """``sha256:`` and the lower-case hex hash of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parse_manifest(data: bytes, *, expected_digest: str | None = None) -> Manifest:
    """Read untrusted manifest bytes.

    Raises DigestMismatch if ``expected_digest`` is given and the bytes are others, and BundleInvalid, with a sentence
    that names the first fault, for everything else that is wrong, including a form that is not canonical.
    """
    if expected_digest is not None and digest_of(data) != expected_digest:
        raise DigestMismatch(f"The manifest has the digest {digest_of(data)}; {expected_digest} was expected.")
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleInvalid(f"The manifest has {len(data)} bytes; at most {MAX_MANIFEST_BYTES} are allowed.")
    fields = _load_json(data)
    if not isinstance(fields, dict):
        raise BundleInvalid("The manifest is not a JSON object.")
    if fields.get("schemaVersion") != SCHEMA_VERSION:
        found = ascii(fields.get("schemaVersion"))[:80]
        raise BundleInvalid(
            f"The manifest has schemaVersion {found}; this release reads {SCHEMA_VERSION}. "
            "Use the release that wrote the bundle, or export the model again."
        )
    try:
        # Validation from JSON, not from the loaded dict: strict mode takes a JSON array for a tuple only there.
        manifest = Manifest.model_validate_json(data)
        canonical = manifest.canonical_bytes()
    except ValidationError as error:
        raise BundleInvalid(f"The manifest is not valid: {_first_fault(error)}.") from error
    except (ValueError, RecursionError) as error:
        raise BundleInvalid(f"The manifest is not valid: {ascii(str(error))[:200]}.") from error
    if canonical != data:
        raise BundleInvalid("The manifest is not in canonical form (sorted keys, no spaces, no nulls, plain numbers).")
    return manifest


def _load_json(data: bytes) -> Any:
    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise ValueError("an object has the same key twice")
        return fields

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is not a JSON number")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=no_duplicates, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleInvalid(f"The manifest is not valid JSON: {ascii(str(error))[:200]}.") from error


def _check_files(files: tuple[File, ...]) -> None:
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for file in files:
        if problem := path_problem(file.path):
            raise ValueError(f"the path {file.path!a} {problem}")
        key = identity(file.path)
        if key in seen:
            raise ValueError(f"the paths {seen[key]!a} and {file.path!a} are the same file")
        seen[key] = file.path
        parts = key.split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    if clash := folders & seen.keys():
        raise ValueError(f"the path {seen[min(clash)]!a} is a file and a folder")
    if [file.path for file in files] != sorted(file.path for file in files):
        raise ValueError("the files are not sorted by path")


def _check_layout(manifest: Manifest) -> None:
    paths = {file.path for file in manifest.files}
    model = f"models/{manifest.name}/"
    for path in sorted(paths):
        # A second folder under models/ would be a second model that the server loads beside the verified one.
        if identity(path).startswith("models/") and not path.startswith(model):
            raise ValueError(f"the path {path!a} is outside {model}")
    required = {f"{model}config.pbtxt"}
    for case in manifest.golden.cases:
        required |= {f"golden/{case.name}/{part}" for part in GOLDEN_PARTS}
    if missing := required - paths:
        raise ValueError(f"the file {min(missing)!a} is not listed")


def _check_contract(contract: Contract) -> None:
    for kind, tensors in (("input", contract.inputs), ("output", contract.outputs)):
        names = [tensor.name for tensor in tensors]
        if len(set(names)) != len(names):
            raise ValueError(f"two {kind}s have the same name")
        for tensor in tensors:
            if contract.max_batch_size and (not tensor.shape or tensor.shape[0] != -1):
                raise ValueError(f"the {kind} {tensor.name!a} has no batch dimension, but maxBatchSize is not 0")


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    return ascii(f"{where}: {message}" if where else message)[1:-1][:400]
