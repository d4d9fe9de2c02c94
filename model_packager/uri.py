"""The grammar of model references: ``s3://bucket/prefix/name:version``, ``...name@sha256:<hex>``, ``...name@alias``.

It is deliberately narrower than RFC 3986: no user information, query, fragment or percent-encoding, because a
reference is copied between YAML, shells, Job arguments and status, and must mean the same bytes in each of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from model_packager.errors import InvalidReference

SCHEMES = ("s3", "gs", "az", "oci", "file", "pvc")
MAX_URI_LENGTH = 1024
ALIASES = "aliases"  # the folder of the aliases beside the versions of a model, so no version may have this name

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_VERSION = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_AUTHORITY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_AUTHORITY_WITH_PORT = re.compile(_AUTHORITY.pattern + r"(?::[0-9]{1,5})?")
_SEGMENT = re.compile(r"[A-Za-z0-9._=+-]+")


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """Where a store keeps its ``blobs/`` and ``models/``: a bucket with an optional prefix, or a folder.

    ``authority`` is the bucket (or registry, or claim) and empty for ``file``; ``path`` has no slash at either end.
    """

    scheme: str
    authority: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}" + (f"/{self.path}" if self.path or not self.authority else "")


@dataclass(frozen=True, slots=True)
class ModelReference:
    """One model in one store, by exactly one of ``version`` (a name for bytes that never changes), ``digest`` (the
    bytes) and ``alias`` (a name that may be moved to another version)."""

    root: StoreRoot
    name: str
    version: str | None = None
    digest: str | None = None
    alias: str | None = None

    def __str__(self) -> str:
        tail = f"@{self.digest or self.alias}" if self.digest or self.alias else f":{self.version}"
        root = str(self.root)
        return f"{root}{'' if root.endswith('/') else '/'}{self.name}{tail}"

    def at(self, digest: str) -> ModelReference:
        """The same model pinned to ``digest``."""
        return ModelReference(self.root, self.name, digest=check_digest(digest))


def check_name(name: str) -> str:
    """Return ``name`` if it can be a DNS label, a folder and a Triton model name; else raise InvalidReference."""
    if not _NAME.fullmatch(name):
        raise InvalidReference(
            f"The model name {_show(name)} is not valid: use 1 to 63 lower-case letters, digits and '-', "
            "starting and ending with a letter or digit."
        )
    return name


def check_version(version: str) -> str:
    """Return ``version`` if it is like ``3`` or ``1.2.0-rc1``; else raise InvalidReference."""
    if not _VERSION.fullmatch(version):
        raise InvalidReference(
            f"The version {_show(version)} is not valid: use 1 to 63 lower-case letters, digits, '.', '_' and '-', "
            "starting and ending with a letter or digit, such as 3 or 1.2.0-rc1."
        )
    if version == ALIASES:
        raise InvalidReference(f"The version {version!r} is reserved for the folder of the aliases; use another.")
    return version


def check_alias(alias: str) -> str:
    """Return ``alias`` if it is like ``prod`` or ``team-a.candidate``; else raise InvalidReference."""
    if not _VERSION.fullmatch(alias) or alias == "sha256":
        raise InvalidReference(
            f"The alias {_show(alias)} is not valid: use 1 to 63 lower-case letters, digits, '.', '_' and '-', "
            "starting and ending with a letter or digit, such as prod; not sha256."
        )
    return alias


def check_digest(digest: str) -> str:
    """Return ``digest`` if it is ``sha256:`` and 64 lower-case hex digits; else raise InvalidReference."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidReference(f"The digest {_show(digest)} is not valid: use sha256: and 64 lower-case hex digits.")
    return digest


def parse_root(uri: str) -> StoreRoot:
    """Parse ``scheme://authority[/prefix]`` or ``file:///folder``. Raises InvalidReference."""
    if len(uri) > MAX_URI_LENGTH:
        raise InvalidReference(f"The URI is {len(uri)} characters long; at most {MAX_URI_LENGTH} are allowed.")
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in SCHEMES:
        raise InvalidReference(f"The URI {_show(uri)} must start with one of {', '.join(f'{s}://' for s in SCHEMES)}.")
    authority, _, path = rest.partition("/")
    _check_authority(uri, scheme, authority)
    path = path.removesuffix("/")
    for segment in path.split("/") if path else ():
        if not _SEGMENT.fullmatch(segment) or set(segment) == {"."}:
            raise InvalidReference(
                f"The URI {_show(uri)} has the path segment {_show(segment)}: segments are letters, digits and "
                "'._=+-', not empty and not '.' or '..'."
            )
    return StoreRoot(scheme, authority, path)


def parse_reference(uri: str) -> ModelReference:
    """Parse a model URI. Raises InvalidReference with a sentence that names the part that is wrong."""
    head, _, leaf = uri.rpartition("/")
    if not head or head.endswith(":/"):
        raise InvalidReference(
            f"The URI {_show(uri)} must be a store and a model, such as s3://bucket/prefix/name:version."
        )
    root = parse_root(head + "/" if head.endswith("//") else head)
    name, at, pinned = leaf.partition("@")
    if at and ":" in leaf:
        return ModelReference(root, check_name(name), digest=check_digest(pinned))
    if at:
        return ModelReference(root, check_name(name), alias=check_alias(pinned))
    name, colon, version = leaf.partition(":")
    if not colon:
        raise InvalidReference(f"The URI {_show(uri)} must end in name:version, name@sha256:<digest> or name@alias.")
    return ModelReference(root, check_name(name), version=check_version(version))


def _check_authority(uri: str, scheme: str, authority: str) -> None:
    if scheme == "file":
        if authority:
            raise InvalidReference(f"The URI {_show(uri)} must have three slashes, as in file:///folder/name:version.")
        return
    pattern = _AUTHORITY_WITH_PORT if scheme == "oci" else _AUTHORITY
    if not pattern.fullmatch(authority):
        raise InvalidReference(
            f"The URI {_show(uri)} must name a bucket of letters, digits, '.', '_' and '-' after {scheme}://; "
            "credentials and ports do not belong in a model URI."
        )


def _show(text: str) -> str:
    """Quote foreign text so that it cannot break a terminal or a log line, and never at full length."""
    return ascii(text if len(text) <= 200 else text[:200] + "...")
