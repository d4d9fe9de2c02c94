"""Public keys to verify with: from a file of PEM, or from the environment, where a cluster puts a Secret.

A key is known by its id, the sha256 of its PEM as OpenSSL writes it (``openssl pkey -pubin -in key | sha256sum``). It
is the hint that OpenSSF model signing leaves in a signature, so a signature says by which key it was made, and a
verifier finds it by the key that it trusts.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_packager.errors import InvalidUsage, MissingExtra, PublicKeyInvalid

VARIABLE: Final = "MODEL_PACKAGER_PUBLIC_KEY"
"""Holds public keys as PEM text. Whatever reads a bundle for use then demands a signature by one of them."""

MAX_KEYS: Final = 8  # each one is a request to the store
MAX_KEY_BYTES: Final = 64 * 1024
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key on an elliptic curve. ``pem`` is in the form that ``key_id`` is the sha256 of."""

    key_id: str
    pem: bytes


def demanded_keys(key: Path | None) -> tuple[PublicKey, ...]:
    """The keys of which one must have signed, from the file ``key`` or from the environment; none means no demand.

    Raises PublicKeyInvalid for a source that is no list of public keys, also an empty one, and InvalidUsage for two
    sources: one would weaken what the other demands.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        return read_keys(key) if key is not None else ()
    if key is not None:
        raise InvalidUsage(f"Give either --key or the variable {VARIABLE}, not both; it is not clear which one counts.")
    return parse_keys(given, f"The variable {VARIABLE}")


def read_keys(path: Path) -> tuple[PublicKey, ...]:
    """The public keys in a PEM file, at least one. Raises PublicKeyInvalid."""
    if not path.is_file():
        raise PublicKeyInvalid(f"The public key {path} does not exist; make one with openssl ec -pubout.")
    with path.open("rb") as file:
        data = file.read(MAX_KEY_BYTES + 1)
    return parse_keys(data.decode("utf-8", "replace"), f"The file {path}")


def parse_keys(text: str, where: str) -> tuple[PublicKey, ...]:
    """All public keys in PEM text. One that cannot be used is refused, not passed over. Raises PublicKeyInvalid."""
    if len(text) > MAX_KEY_BYTES:
        raise PublicKeyInvalid(
            f"{where} has more than {MAX_KEY_BYTES} characters; it must hold public keys as PEM only."
        )
    if "PRIVATE KEY-----" in text:
        raise PublicKeyInvalid(
            f"{where} holds a private key; give the public one (openssl ec -pubout) and keep this one."
        )
    starts = list(_BEGIN.finditer(text))
    if not starts:
        raise PublicKeyInvalid(f"{where} holds no public key; it must be PEM text with -----BEGIN PUBLIC KEY-----.")
    if len(starts) > MAX_KEYS:
        raise PublicKeyInvalid(f"{where} holds {len(starts)} keys; at most {MAX_KEYS} are allowed.")
    ends = [*(found.start() for found in starts[1:]), len(text)]
    keys = [_parse(text[found.start() : end], where) for found, end in zip(starts, ends, strict=True)]
    return tuple({key.key_id: key for key in keys}.values())


def _parse(block: str, where: str) -> PublicKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    except ModuleNotFoundError as error:
        raise missing(error) from error
    try:
        key = serialization.load_pem_public_key(block.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PublicKeyInvalid(f"{where} holds a block that is no public key in PEM; replace or remove it.") from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise PublicKeyInvalid(f"{where} holds a key of another kind; keys must be on one of {', '.join(_CURVES)}.")
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(hashlib.sha256(pem).hexdigest(), pem)


def missing(error: ModuleNotFoundError) -> MissingExtra:
    """The failure for an installation without the packages for signatures."""
    return MissingExtra(f"Signatures need the Python package {error.name}; pip install 'tidegate[sign]'.")
