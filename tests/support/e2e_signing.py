"""Key pairs, and model-packager as the people run it who publish and sign."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devcluster.process import run
from examples.digits.publish import PACKAGER
from model_packager.keys import read_keys


@dataclass(frozen=True)
class Signer:
    """A key pair in files."""

    private: Path
    public: Path

    @property
    def key_id(self) -> str:
        """The name under which a store keeps the signatures by this key."""
        return read_keys(self.public)[0].key_id

    def secret(self, name: str, key: str) -> dict[str, Any]:
        """A Secret with the public key."""
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {key: self.public.read_text()},
        }


def signer(folder: Path, name: str) -> Signer:
    """The key pair of this name below ``folder``, made when it is first asked for."""
    found = Signer(folder / f"{name}.pem", folder / f"{name}.pub")
    if not found.private.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        found.private.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, plain))
        kind_of_public = serialization.PublicFormat.SubjectPublicKeyInfo
        found.public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, kind_of_public))
    return found


def asking_for(name: str, key: str) -> dict[str, Any]:
    """spec.verification that asks for a signature."""
    return {"signature": {"publicKeySecretRef": {"name": name, "key": key}}}


def packager(*arguments: str | Path, **variables: str) -> str:
    """What model-packager prints, with variables of the environment besides this one's."""
    return run([*PACKAGER, *arguments], timeout=120, env=dict(os.environ) | variables).strip()
