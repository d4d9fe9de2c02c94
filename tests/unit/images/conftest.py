"""Make the modules of the ONNX Runtime backend importable as its own processes import them: from its folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "images" / "triton-cpu" / "backends" / "onnxruntime"))
