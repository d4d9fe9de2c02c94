"""ONNX files made to read, write or run what they must not, or to exhaust the machine."""

from __future__ import annotations

import pytest
from hostile_onnx import ONNX
from hostile_stage import Stage, refused


@pytest.mark.parametrize("what", ONNX)
def test_a_hostile_onnx_file_is_refused_with_a_reason(
    stage: Stage, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    build, reason, words = ONNX[what]
    build(stage.work, stage.outside)
    arguments = ["export", "evil.onnx", "--name", "small", "--version", "2", "-o", "out"]
    refused(stage, arguments, reason, words, capfd)
