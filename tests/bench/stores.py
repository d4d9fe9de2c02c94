"""Push and pull of 1 GB against the plain client of the same store, one after the other in the same run.

``PLAIN_PYTHON tests.bench.stores`` prints a table. Each of the two is timed inside its process, without its imports,
on content that the other has not seen; caches of the machine are warm for both.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from model_packager import placing, transfer
from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.manifest import parse_root
from model_packager.stores import open_store
from tests.support.registry_server import running_registry
from tests.support.s3_server import running_s3
from tests.support.store_bundles import rewrite_manifest

ROUNDS = 3
LARGE_BYTES = 1_000_000_000
NAME = "large"


@dataclass
class Place:
    """Where one kind of store is: the root for us, and the place of a copy for its plain client."""

    kind: str
    root: Callable[[int], str]
    plain: Callable[[int], str]


def small_bundle(folder: Path) -> Path:
    """A bundle of a tiny model."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    )
    source = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), source)
    request = ExportRequest(
        source=str(source), name=NAME, version="1", out=folder / "bundle", source_options=SourceOptions(opset=18)
    )
    export(request, lambda line: None)
    return folder / "bundle"


def fill(bundle: Path, seed: int) -> None:
    """Let the bundle hold one file of 1 GB that no other round has sent; every store starts empty."""
    random = np.random.default_rng(seed)
    with (bundle / f"models/{NAME}/1/weights.bin").open("wb") as file:
        for _ in range(100):
            file.write(random.bytes(LARGE_BYTES // 100))
    rewrite_manifest(bundle)


def ours(verb: str, bundle: Path, place: Place, number: int) -> float:
    """Seconds of one push, verification of the folder included, or of one pull."""
    root = parse_root(place.root(number))
    store = open_store(root, create=True)
    started = time.perf_counter()
    if verb == "push":
        transfer.push(bundle, root, store)
    else:
        reference = next(iter(store.list_versions(NAME)))
        digest = store.read_pointer(NAME, reference)
        assert digest is not None
        manifest = transfer.read_manifest(transfer.ModelReference(root, NAME, version=reference), store, digest)
        started = time.perf_counter()
        placing.pull(manifest, store, bundle)
    return time.perf_counter() - started


def plain(python: str, verb: str, folder: Path, place: Place, number: int) -> float:
    """Seconds of the plain client."""
    program = Path(__file__).with_name("plain_client.py")
    command = [python, str(program), place.kind, verb, str(folder), place.plain(number)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600).stdout)


@contextmanager
def places(scratch: Path) -> Iterator[list[Place]]:
    """A folder, a real S3 server and a real registry."""
    with ExitStack() as stack:
        for name in ("s3", "registry"):
            (scratch / name).mkdir()
        s3 = stack.enter_context(running_s3(scratch / "s3"))
        registry = stack.enter_context(running_registry(scratch / "registry"))
        os.environ.update(s3.environment)
        s3.bucket("bench")
        yield [
            Place("file", lambda n: f"file://{scratch}/ours-{n}", lambda n: f"{scratch}/plain-{n}"),
            Place("s3", lambda n: f"s3://bench/ours-{n}", lambda n: f"bench/plain-{n}"),
            Place(
                "oci", lambda n: f"oci://{registry.address}/ours-{n}", lambda n: f"{registry.address}/plain-{n}/large:1"
            ),
        ]


def measure(python: str, place: Place, bundle: Path, scratch: Path) -> dict[str, tuple[float, float]]:
    """Median seconds of ours and of the plain client, by verb; who goes first changes from round to round."""
    taken: dict[str, tuple[list[float], list[float]]] = {"push": ([], []), "pull": ([], [])}
    for number in range(ROUNDS):
        for verb, (mine, theirs) in taken.items():
            if verb == "push":
                fill(bundle, number)
            turns = [0, 1] if number % 2 == 0 else [1, 0]
            for turn in turns:
                target = bundle if verb == "push" else scratch / f"pulled-{turn}"
                os.sync()
                if turn == 0:
                    mine.append(ours(verb, target, place, number))
                else:
                    target.mkdir(exist_ok=True)
                    theirs.append(plain(python, verb, target, place, number))
            for turn in turns if verb == "pull" else ():
                shutil.rmtree(scratch / f"pulled-{turn}")
        print(f"{place.kind}: round {number + 1} of {ROUNDS} done", file=sys.stderr, flush=True)
    return {verb: (statistics.median(mine), statistics.median(theirs)) for verb, (mine, theirs) in taken.items()}


def main(python: str) -> None:
    """Measure every store and print the table."""
    print("| store | verb | plain client | plain MB/s | model-packager MB/s | ratio |\n|---|---|---|---|---|---|")
    clients = {"file": "copy of the folder", "s3": "boto3", "oci": "oras"}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        scratch = Path(folder)
        bundle = small_bundle(scratch)
        with places(scratch) as found:
            for place in found:
                for verb, (mine, theirs) in measure(python, place, bundle, scratch).items():
                    rates = LARGE_BYTES / theirs / 1e6, LARGE_BYTES / mine / 1e6
                    print(
                        f"| {place.kind} | {verb} | {clients[place.kind]} | {rates[0]:.0f} | {rates[1]:.0f} "
                        f"| {theirs / mine:.2f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main(sys.argv[1])
