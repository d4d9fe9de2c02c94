"""Every address that the API accepts is one that the packager understands in the same way."""

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_packager.errors import InvalidReference
from model_packager.stores.oci import open_oci
from model_packager.uri import parse_reference
from tidegate.api.rules import violations
from tidegate.api.types import Format
from tidegate.api.v1alpha1 import BundleUri, Model
from tidegate.domain.revision import Pins, Revision
from tidegate.resources.packager import CREDENTIAL_KEYS

PATTERN = next(part for part in get_args(BundleUri) if isinstance(part, Format)).pattern
# What an address is made of, and what somebody may try instead.
STORES = ("s3://models", "gs://my_models", "az://models", "oci://r.example:5000", "oci://r", "file://", "pvc://claim")
FOLDERS = ("", "/team", "/a.b_c-d", "/..", "/.", "/.a", "//", "/a+b=c", "/Team", "/a%2fb", "/ ", "/a\n", "/-a", "/a__b")
NAMES = ("/digits", "/d-1", "/Digits", "/", "", "/d.1", "/-d", "/" + "d" * 63, "/" + "d" * 64)
PINS = (":3", ":1.2.0-rc1", ":V3", ":3.", ":aliases", "@prod", "@sha256:" + "a" * 64, "@sha256:" + "A" * 64, "", ":3\n")


def accepted(uri: str) -> bool:
    """True when the API takes the address."""
    try:
        Model(uri=uri)
    except ValueError:
        return False
    return violations({"spec": {"model": {"uri": uri}}}) == []


def understood(uri: str) -> bool:
    """True when the packager does, for one of the stores of a cluster and without an alias."""
    try:
        found = parse_reference(uri)
        if found.root.scheme == "oci":
            open_oci(found.root)
    except InvalidReference:
        return False
    return found.root.scheme in CREDENTIAL_KEYS and found.alias is None


@pytest.mark.parametrize("store", STORES)
def test_the_api_and_the_packager_agree_on_every_kind_of_address(store: str) -> None:
    uris = [store + folder + name + pin for folder in FOLDERS for name in NAMES for pin in PINS]
    differ = [uri for uri in uris if accepted(uri) != understood(uri)]
    assert differ == []
    assert any(map(accepted, uris)) is (store.partition(":")[0] in CREDENTIAL_KEYS)


@given(st.from_regex(PATTERN, fullmatch=True, alphabet=st.characters(max_codepoint=126)))
def test_whatever_the_api_accepts_is_fetched_from_where_it_says(uri: str) -> None:
    if not accepted(uri):
        assert len(uri) > 1024 or uri.endswith(":aliases") or len(re.split("[:@]", uri.rpartition("/")[2])[0]) > 63
        return
    assert understood(uri)
    found = parse_reference(uri)
    pinned = Revision(
        digest="sha256:" + "a" * 64, uri=uri, model_name=found.name, server={}, pins=Pins(packager_image="p")
    )
    again = parse_reference(pinned.bundle_uri)
    assert (again.root, again.name, again.digest) == (found.root, found.name, pinned.digest)
