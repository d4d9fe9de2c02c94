"""What a person sees of long work on a terminal, and a script never does."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest


def _on_a_terminal(*arguments: str | Path) -> tuple[dict[str, object], str]:
    """The JSON on standard output, and the text that a terminal got from standard error."""
    terminal, child = pty.openpty()
    command = [sys.executable, "-m", "model_packager.cli", *map(str, arguments), "--output", "json"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=child, env=environment)
    os.close(child)
    shown = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        shown += data
    os.close(terminal)
    assert process.stdout is not None
    said = process.stdout.read()
    assert process.wait(60) == 0, shown
    return json.loads(said), shown.decode()


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_a_transfer_is_shown_on_a_terminal(bundle: Path, tmp_path: Path, verb: str) -> None:
    root = f"file://{tmp_path}/store"
    result, shown = _on_a_terminal("push", bundle, root)
    if verb == "pull":
        result, shown = _on_a_terminal("pull", f"{root}/small:1", "--to", tmp_path / "there")
    assert str(result["digest"]).startswith("sha256:")
    assert {"push": "publishing", "pull": "fetching"}[verb] in shown
    assert "━" in shown


def test_the_stages_of_an_export_are_shown_with_their_seconds(onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _, shown = _on_a_terminal("export", onnx_file, "--name", "small", "--version", "1", "-o", out)
    for stage in ("loading ", "comparing with the source (", "writing the bundle ("):
        assert stage in shown
    assert " s)" in shown
