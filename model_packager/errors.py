"""Every failure a user can meet, each with a stable reason and exit code.

The reasons are an interface: the operator reads them from the termination message of its Jobs and shows them in
status, and scripts branch on the exit codes. Library errors are chained to one of these at the edge, so no caller has
to know which library was underneath.
"""

from __future__ import annotations

from typing import ClassVar


class PackagerError(Exception):
    """Base of all named failures. ``str(error)`` is one sentence: what, where, and what to do."""

    reason: ClassVar[str] = "PackagerError"
    exit_code: ClassVar[int] = 1


class BundleInvalid(PackagerError):
    """A manifest or a bundle folder breaks a rule: malformed, unsafe path, unlisted, missing or altered file."""

    reason = "BundleInvalid"


class DigestMismatch(PackagerError):
    """The bytes are not the ones that were asked for."""

    reason = "DigestMismatch"


class ParityFailed(PackagerError):
    """A model does not give the answers of its source within tolerance: the exported one, of which no bundle is
    written, or a served one, which must get no requests."""

    reason = "ParityFailed"


class InvalidReference(PackagerError):
    """A model URI, store root, name or version that is not in the grammar."""

    reason = "InvalidReference"
    exit_code = 2


class InvalidUsage(PackagerError):
    """Options or input files that cannot be used as given."""

    reason = "InvalidUsage"
    exit_code = 2


class PublicKeyInvalid(InvalidUsage):
    """What should be public keys to verify with cannot be used; it never means that nothing is checked."""

    reason = "PublicKeyInvalid"


class ArtifactNotFound(PackagerError):
    """The store answered, and it has no such version, blob or bucket."""

    reason = "ArtifactNotFound"
    exit_code = 3


class FetchFailed(PackagerError):
    """The store could not be reached, refused access, or did not answer in time."""

    reason = "FetchFailed"
    exit_code = 4


class NotReachable(PackagerError):
    """A running server could not be reached, was not ready, or did not answer in time; it may be later."""

    reason = "NotReachable"
    exit_code = 4


class VersionConflict(PackagerError):
    """The version is already published with another digest; versions are immutable."""

    reason = "VersionConflict"
    exit_code = 5


class ExportFailed(PackagerError):
    """The source model could not be loaded or converted to ONNX."""

    reason = "ExportFailed"
    exit_code = 6


class MissingExtra(PackagerError):
    """A Python package that this source needs is not installed."""

    reason = "MissingExtra"
    exit_code = 7


class AliasConflict(PackagerError):
    """Another command moved the alias at the same time; look where it points before moving it again."""

    reason = "AliasConflict"
    exit_code = 5


class SignatureMissing(PackagerError):
    """A key was given to verify with, and there is no signature."""

    reason = "SignatureMissing"


class SignatureInvalid(PackagerError):
    """The signature is not one of this bundle by this key."""

    reason = "SignatureInvalid"


class ContractBroken(PackagerError):
    """Clients of one bundle may fail with another."""

    reason = "ContractBroken"


class ReplayFailed(PackagerError):
    """A running server does not give the recorded answers within the tolerances of the bundle."""

    reason = "ReplayFailed"


class ServerMissing(PackagerError):
    """There is no Triton on this machine, and no way to get one."""

    reason = "ServerMissing"
    exit_code = 7


class ServeFailed(PackagerError):
    """Triton ended, or did not become ready in time."""

    reason = "ServeFailed"
