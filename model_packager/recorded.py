"""Golden cases as they lie in a bundle, ready to be sent: no numpy, and no case larger than a check may cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_packager.errors import BundleInvalid
from model_packager.manifest import GOLDEN_PARTS, GoldenCase, Manifest
from model_packager.wire import WireTensor, read_exchange

PREFIX = "golden/"
MAX_PART_BYTES = 32 * 1024 * 1024  # eight times what an export records
MAX_TOTAL_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Recorded:
    """One recorded exchange: both parts of the request, and the outputs; ``size`` is that of the response in bytes."""

    name: str
    head: bytes
    body: bytes
    outputs: dict[str, WireTensor]
    size: int


def check_sizes(manifest: Manifest) -> None:
    """Raises BundleInvalid if the golden cases are too large to be replayed; nothing has been fetched then."""
    sizes = {path: size for path, size in manifest.sizes.items() if path.startswith(PREFIX)}
    for path, size in sizes.items():
        if size > MAX_PART_BYTES:
            raise BundleInvalid(f"{path!a} has {size} bytes; at most {MAX_PART_BYTES} can be replayed.")
    if (total := sum(sizes.values())) > MAX_TOTAL_BYTES:
        raise BundleInvalid(f"The golden cases have {total} bytes; at most {MAX_TOTAL_BYTES} can be replayed.")


def read_recorded(folder: Path, manifest: Manifest, case: GoldenCase) -> Recorded:
    """One case of a verified bundle in ``folder``. Raises BundleInvalid if its response is not one of the contract."""
    parts = [(folder / PREFIX / case.name / part).read_bytes() for part in GOLDEN_PARTS]
    try:
        outputs = read_exchange(parts[2], parts[3])
    except ValueError as error:
        raise BundleInvalid(f"The response of the golden case {case.name!a} cannot be read: {error}.") from error
    for tensor in manifest.contract.outputs:
        if tensor.name not in outputs or outputs[tensor.name].datatype != tensor.datatype:
            raise BundleInvalid(f"The golden case {case.name!a} has no output {tensor.name!a} of {tensor.datatype}.")
    return Recorded(case.name, parts[0], parts[1], outputs, len(parts[2]) + len(parts[3]))
