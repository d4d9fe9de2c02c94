"""Manifests that an attacker wrote: in a folder, and in a store where their digest is right."""

from __future__ import annotations

import json

import pytest
from hostile_manifests import BYTES, CHANGED, canonical
from hostile_stage import Stage, refused

COMMANDS = (["verify", "{bundle}"], ["inspect", "{store}/small:1"], ["pull", "{store}/small:1", "--to", "target"])


def _hold(stage: Stage, manifest: bytes, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    (stage.bundle / "manifest.json").write_bytes(manifest)
    stage.publish(manifest)
    for command in COMMANDS:
        refused(stage, command, "BundleInvalid", words, capfd)


@pytest.mark.parametrize("what", CHANGED)
def test_a_manifest_with_a_hostile_field_is_refused(stage: Stage, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    change, words = CHANGED[what]
    fields = json.loads((stage.bundle / "manifest.json").read_bytes())
    change(fields)
    _hold(stage, canonical(fields), words, capfd)


@pytest.mark.parametrize("what", BYTES)
def test_bytes_that_are_no_canonical_manifest_are_refused(
    stage: Stage, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    change, words = BYTES[what]
    _hold(stage, change((stage.bundle / "manifest.json").read_bytes()), words, capfd)
