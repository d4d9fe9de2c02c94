"""Tiny models that give their version away: each adds a number of its own to what it is given."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import obstore
import onnx
from e2e_signing import packager
from google.protobuf import text_format
from obstore.store import S3Store
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2  # type: ignore[import-untyped]

from examples.digits.publish import push
from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.sources import SourceOptions
from model_packager.folder import describe, read_manifest
from model_packager.manifest import MANIFEST_NAME, Manifest

WIDTH = 4
ROOT_URI = "s3://models"
LONGEST = "a" + "-long-name" * 6 + "-z"
assert len(LONGEST) == 63


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk and the number its model adds."""

    folder: Path
    name: str
    version: str
    offset: float

    @property
    def uri(self) -> str:
        """Its address in the store."""
        return f"{ROOT_URI}/{self.name}:{self.version}"

    @property
    def manifest(self) -> Manifest:
        """Its manifest as it is on disk."""
        return read_manifest(self.folder)

    @property
    def digest(self) -> str:
        """Its identity."""
        return self.manifest.digest()

    def blob(self, suffix: str) -> str:
        """Key in the store of the first file whose path ends so."""
        file = next(f for f in self.manifest.files if f.path.endswith(suffix))
        return f"blobs/sha256/{file.sha256}"


def adder(offset: float, output: str = "y") -> onnx.ModelProto:
    """``y = x + offset`` on rows of four numbers."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "offset"], [output])],
        "adder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", WIDTH])],
        [onnx.numpy_helper.from_array(np.full(WIDTH, offset, dtype=np.float32), "offset")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def make(folder: Path, name: str, version: str, offset: float, output: str = "y") -> Bundle:
    """Export one bundle below ``folder``."""
    source = folder / f"{name}-{version}.onnx"
    onnx.save(adder(offset, output), source)
    out = folder / f"{name}-{version}"
    options = SourceOptions(opset=18)
    request = ExportRequest(
        source=str(source), name=name, version=version, out=out, source_options=options, max_batch_size=8
    )
    export(request, lambda _: None)
    return Bundle(out, name, version, offset)


def remake(bundle: Bundle, version: str, change: Callable[[Path], None]) -> Bundle:
    """A bundle of another version with changed files, listed anew: its manifest is valid, whatever is in it."""
    target = bundle.folder.with_name(f"{bundle.name}-{version}")
    shutil.copytree(bundle.folder, target)
    change(target / "models" / bundle.name)
    manifest = read_manifest(target)
    files = tuple(describe(target, file.path) for file in manifest.files)
    changed = manifest.model_copy(update={"version": version, "files": files})
    (target / MANIFEST_NAME).write_bytes(changed.canonical_bytes())
    return Bundle(target, bundle.name, version, bundle.offset)


def garbage(model: Path) -> None:
    """A model file that no runtime can read."""
    (model / "1" / "model.onnx").write_bytes(b"this is no ONNX model")


def other_shape(model: Path) -> None:
    """Configurations that promise rows of five numbers for a model that takes four."""
    for config in (model / "config.pbtxt", model / "configs" / "cpu.pbtxt"):
        config.write_text(config.read_text().replace(f"dims: {WIDTH}", f"dims: {WIDTH + 1}"))


def _with_graph(change: Callable[[onnx.GraphProto], None]) -> Callable[[Path], None]:
    """A change of a bundle's model that its contract says nothing of."""

    def write(model: Path) -> None:
        found = onnx.load(model / "1" / "model.onnx")
        change(found.graph)
        onnx.save(found, model / "1" / "model.onnx")

    return write


def _failing(graph: onnx.GraphProto) -> None:
    """Fails for whole numbers, as clients send them, and not for the random ones of a warm-up."""
    numbers = {"table": np.zeros((1, WIDTH)), "low": np.array(1.5), "high": np.array(200.0)}
    for name, value in numbers.items():
        graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), name))
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Floor", ["largest"], ["floor"]),
        helper.make_node("Equal", ["largest", "floor"], ["whole"]),
        helper.make_node("Greater", ["largest", "low"], ["above"]),
        helper.make_node("Less", ["largest", "high"], ["below"]),
        helper.make_node("And", ["whole", "above"], ["some"]),
        helper.make_node("And", ["some", "below"], ["asked"]),
        # A table of one row has no second one.
        helper.make_node("Cast", ["asked"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["row"], axis=0),
    ]
    _add_to_answer(graph, nodes, "row")


def _on_device(milliseconds: int, *, batched: bool) -> Callable[[Path], None]:
    """Runs that take so long on every machine, because they need no CPU; one by one unless ``batched``."""

    def write(model: Path) -> None:
        for config in (model / "config.pbtxt", model / "configs" / "cpu.pbtxt"):
            found = text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())
            if not batched:
                found.ClearField("dynamic_batching")
            found.parameters["emulated_device_milliseconds"].string_value = str(milliseconds)
            config.write_text(text_format.MessageToString(found))

    return write


def _lying(graph: onnx.GraphProto) -> None:
    """Answers otherwise than recorded, by a hundred."""
    graph.initializer.append(onnx.numpy_helper.from_array(np.full(WIDTH, 100, dtype=np.float32), "hundred"))
    _add_to_answer(graph, [], "hundred")


def _add_to_answer(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], what: str) -> None:
    graph.node[0].output[0] = "sum"
    graph.node.extend([*nodes, helper.make_node("Add", ["sum", what], ["y"])])


FAULTS = {
    "failing": _with_graph(_failing),
    "slow": _on_device(500, batched=True),
    "heavy": _on_device(50, batched=False),
    "lying": _with_graph(_lying),
}
"""Bundles that load, and are not what they promise: every request fails, takes long, or is answered wrongly."""


class Store:
    """The development store, from outside the cluster."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._bucket = S3Store(
            "models",
            endpoint=f"http://{endpoint}",
            access_key_id="development",
            secret_access_key="development-only",
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def push(self, bundle: Bundle) -> None:
        """Publish a bundle with model-packager."""
        push(bundle.folder, ROOT_URI, self._endpoint)

    def sign(self, uri: str, key: Path) -> None:
        """Sign a published bundle with model-packager."""
        packager(
            "sign",
            uri,
            "--key",
            key,
            AWS_ENDPOINT_URL=f"http://{self._endpoint}",
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="development",
            AWS_SECRET_ACCESS_KEY="development-only",
        )

    def get(self, key: str) -> bytes:
        """Read an object past model-packager."""
        return bytes(obstore.get(self._bucket, key).bytes())

    def put(self, key: str, data: bytes) -> None:
        """Write an object past model-packager."""
        obstore.put(self._bucket, key, data)

    def publish_manifest(self, name: str, version: str, manifest: bytes) -> None:
        """Publish whatever bytes as the manifest of a version."""
        hexdigest = hashlib.sha256(manifest).hexdigest()
        self.put(f"blobs/sha256/{hexdigest}", manifest)
        self.put(f"models/{name}/{version}", json.dumps({"digest": f"sha256:{hexdigest}"}).encode())
