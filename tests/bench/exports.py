"""What an export costs over the framework's own exporter, by part, and how long ``--help`` takes.

``python -m tests.bench.exports`` prints two tables. The framework's exporter and ours run in turn in one process, after
one run of each that is not counted, so that imports and compiled code are warm for both.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions

ROUNDS = 3
HELP_RUNS = 11
PARTS = ("loading", "converting", "comparing", "writing")


def _network() -> nn.Module:
    """A convolutional network of 11 million parameters, about the size of a ResNet-18."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, stride=4, padding=3), nn.ReLU()]
    for width in (64, 128, 256):
        layers += [nn.Conv2d(width, width * 2, 3, stride=2, padding=1), nn.BatchNorm2d(width * 2), nn.ReLU()]
        layers += [nn.Conv2d(width * 2, width * 2, 3, padding=1), nn.BatchNorm2d(width * 2), nn.ReLU()]
    layers += [nn.Conv2d(512, 1024, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1024, 1000)).eval()


def _torch(folder: Path) -> tuple[str, dict[str, Any], Callable[[], None]]:
    model, image = _network(), torch.randn(2, 3, 224, 224)
    batch = torch.export.Dim("batch", min=1, max=32)
    program = torch.export.export(model, (image,), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "network.pt2")
    np.savez(folder / "sample.npz", input=image.numpy())

    def plain() -> None:
        loaded = torch.export.load(folder / "network.pt2")
        torch.onnx.export(loaded, dynamo=True, opset_version=18, verbose=False).save(folder / "plain.onnx")

    return str(folder / "network.pt2"), {"max_batch_size": 8, "rtol": 1e-2, "atol": 1e-3}, plain


def _forest(folder: Path) -> tuple[str, dict[str, Any], Callable[[], None]]:
    import skops.io
    from skl2onnx import to_onnx

    random = np.random.default_rng(0)
    rows = random.standard_normal((2000, 30)).astype(np.float32)
    model = RandomForestClassifier(100, max_depth=12, random_state=0).fit(rows, rows[:, 0] > 0)
    skops.io.dump(model, folder / "forest.skops")
    np.savez(folder / "rows.npz", input=rows[:64])

    def plain() -> None:
        loaded = skops.io.load(
            folder / "forest.skops", trusted=skops.io.get_untrusted_types(file=folder / "forest.skops")
        )
        made = to_onnx(loaded, rows[:1], target_opset=18, options={"zipmap": False})
        (folder / "plain.onnx").write_bytes(made.SerializeToString())

    trusted = SourceOptions(opset=18, trust=tuple(skops.io.get_untrusted_types(file=folder / "forest.skops")))
    return str(folder / "forest.skops"), {"sample": folder / "rows.npz", "source_options": trusted}, plain


def _ours(source: str, options: dict[str, Any], out: Path) -> dict[str, float]:
    """Seconds by part."""
    marks: list[tuple[str, float]] = []

    def say(line: str) -> None:
        marks.append((line.split()[0], time.perf_counter()))

    request = ExportRequest(
        **{"source": source, "name": "bench", "version": "1", "out": out, "source_options": SourceOptions(opset=18)}
        | options
    )
    export(request, say)
    marks.append(("done", time.perf_counter()))
    taken = dict.fromkeys(PARTS, 0.0)
    part = PARTS[0]
    for (name, start), (_, end) in pairwise(marks):
        part = name if name in PARTS else part
        taken[part] += end - start
    return taken


def _row(name: str, make: Callable[[Path], tuple[str, dict[str, Any], Callable[[], None]]]) -> str:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        source, options, plain = make(Path(folder))
        theirs: list[float] = []
        ours: list[dict[str, float]] = []
        for number in range(ROUNDS + 1):
            started = time.perf_counter()
            plain()
            theirs.append(time.perf_counter() - started)
            ours.append(_ours(source, options, Path(folder) / f"bundle-{number}"))
    own = statistics.median(theirs[1:])
    parts = {part: statistics.median(run[part] for run in ours[1:]) for part in PARTS}
    total = statistics.median(sum(run.values()) for run in ours[1:])
    cells = " | ".join(f"{parts[part]:.2f}" for part in PARTS)
    return f"| {name} | {own:.2f} | {cells} | {total:.2f} | {total / own:.2f} |"


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    print("| model | framework's exporter s | " + " s | ".join(PARTS) + " s | total s | total / exporter |")
    print("|---|---|---|---|---|---|---|---|")
    for name, make in {"torch, 11 M parameters": _torch, "scikit-learn, 100 trees": _forest}.items():
        print(_row(name, make), flush=True)
    program = str(Path(sys.executable).with_name("model-packager"))
    turns = [(_seconds([program, "--help"]), _seconds([sys.executable, "-c", ""])) for _ in range(HELP_RUNS)]
    shown, empty = (statistics.median(column) for column in zip(*turns, strict=True))
    print("\n| command | median s | over an empty Python program |\n|---|---|---|")
    print(f"| model-packager --help | {shown:.3f} | {shown / empty:.1f} |")


if __name__ == "__main__":
    main()
