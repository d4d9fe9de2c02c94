"""How a signature is laid out in a registry: an OCI artifact that refers to the image of its bundle.

A verifier finds it by a tag, from the digest of the bundle and the id of a key, and needs to list nothing. The
``subject`` is for everyone else: registries with the referrers API show by it which signatures an image has.
"""

from __future__ import annotations

import json
from typing import Final

from model_packager.errors import InvalidReference, SignatureInvalid
from model_packager.manifest import digest_of
from model_packager.stores.oci_layout import MANIFEST_TYPE
from model_packager.uri import check_digest

SIGNATURE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
EMPTY: Final = b"{}"  # the configuration of artifacts that have none
KEY_ANNOTATION: Final = "dev.tidegate.signature.key"
_EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
_TAG: Final = "_sig."
_TAG_KEY_DIGITS: Final = 32  # a tag has at most 128 characters


def signature_tag(digest: str, key_id: str) -> str:
    """The tag of the signature of a bundle by a key."""
    return f"{_TAG}{digest.removeprefix('sha256:')}.{key_id[:_TAG_KEY_DIGITS]}"


def signature_manifest(data: bytes, key_id: str, image: bytes) -> bytes:
    """The manifest for the signature ``data`` of the bundle with the image manifest ``image``."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": SIGNATURE_TYPE,
        "config": _descriptor(_EMPTY_TYPE, EMPTY),
        "layers": [_descriptor(SIGNATURE_TYPE, data)],
        "subject": _descriptor(MANIFEST_TYPE, image),
        "annotations": {KEY_ANNOTATION: key_id},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def parse_signature_manifest(data: bytes, where: str) -> tuple[str, int]:
    """Digest and size of the signature. Raises SignatureInvalid for what is not the manifest of one."""
    try:
        fields = json.loads(data)
        (layer,) = fields["layers"]
        digest, size = check_digest(str(layer["digest"])), int(layer["size"])
        if layer["mediaType"] != SIGNATURE_TYPE or size < 1:
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, InvalidReference) as error:
        raise SignatureInvalid(f"{where} is not a signature; sign the bundle again.") from error
    return digest, size


def _descriptor(media_type: str, data: bytes) -> dict[str, str | int]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}
