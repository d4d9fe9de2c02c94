"""Hostile ONNX files, each written by a function ``(work, outside) -> None`` as ``evil.onnx``."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Build = Callable[[Path, Path], object]
IMAGE = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 4])
SCORES = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])
WEIGHTS = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
PRODUCT = helper.make_node("MatMul", ["image", "w"], ["scores"])


def model(
    nodes: list[NodeProto] | None = None, weights: TensorProto | None = None, *, opset: int = 18, **parts: object
) -> ModelProto:
    """image [n, 4] -> scores [n, 3]; what is given replaces the good part."""
    graph = helper.make_graph(
        [PRODUCT] if nodes is None else nodes, "model",
        parts.pop("inputs", [IMAGE]), parts.pop("outputs", [SCORES]),
        [numpy_helper.from_array(WEIGHTS, "w") if weights is None else weights],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("evil.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **parts)


def good_model() -> ModelProto:
    """What the others are broken versions of."""
    made = model()
    del made.opset_import[1:]
    return made


def external(location: str, name: str = "w", **entries: object) -> TensorProto:
    """A tensor whose 48 bytes are said to be in the file ``location``."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def write(work: Path, made: ModelProto) -> None:
    """Past every check of the onnx package."""
    (work / "evil.onnx").write_bytes(made.SerializeToString())


def raw(data: bytes) -> Build:
    return lambda work, outside: (work / "evil.onnx").write_bytes(data)


def made(*arguments: object, **parts: object) -> Build:
    return lambda work, outside: write(work, model(*arguments, **parts))  # type: ignore[arg-type]


def at(location: str, *, prepare: Callable[[Path, Path], object] | None = None, **entries: object) -> Build:
    """External data at ``location``, where ``{outside}`` is an absolute path; ``prepare`` makes what is there."""

    def build(work: Path, outside: Path) -> None:
        if prepare is not None:
            prepare(work, outside)
        write(work, model(weights=external(location.format(outside=outside), **entries)))

    return build


def _data(work: Path, outside: Path) -> None:
    (work / "data").write_bytes(WEIGHTS.tobytes())


def _in_branch(work: Path, outside: Path) -> None:
    """The tensor is in the body of an If, where a check of the main graph does not look."""
    bodies = []
    for name in ("then", "else"):
        constant = helper.make_node("Constant", [], [f"{name}_w"], value=external("../outside/secret", f"{name}_t"))
        product = helper.make_node("MatMul", ["image", f"{name}_w"], [f"{name}_scores"])
        result = helper.make_tensor_value_info(f"{name}_scores", TensorProto.FLOAT, None)
        bodies.append(helper.make_graph([constant, product], name, [], [result]))
    true = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
    choice = helper.make_node("If", ["c"], ["scores"], then_branch=bodies[0], else_branch=bodies[1])
    write(work, model([true, choice]))


def _sparse(location: str) -> Build:
    def build(work: Path, outside: Path) -> None:
        broken = model()
        del broken.graph.initializer[:]
        values = external(location.format(outside=outside), "w", length=16)
        values.dims[:] = [4]
        indices = numpy_helper.from_array(np.arange(4, dtype=np.int64), "w_indices")
        broken.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 3]))
        write(work, broken)

    return build


def _in_function(work: Path, outside: Path) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=external("../outside/secret"))
    body = [constant, helper.make_node("MatMul", ["x", "w"], ["y"])]
    function = helper.make_function("evil.example", "F", ["x"], ["y"], body, [helper.make_opsetid("", 18)])
    call = helper.make_node("F", ["image"], ["scores"], domain="evil.example")
    write(work, model([call], functions=[function]))


def _recursive_function(work: Path, outside: Path) -> None:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("evil.example", 1)]
    again = helper.make_node("F", ["x"], ["y"], domain="evil.example")
    function = helper.make_function("evil.example", "F", ["x"], ["y"], [again], opsets)
    call = helper.make_node("F", ["image"], ["scores"], domain="evil.example")
    write(work, model([call], functions=[function]))


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited field of protobuf, for messages that no library would write."""
    size, length = bytearray(), len(data)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + data


def nested(depth: int) -> Build:
    """``depth`` graphs inside each other: model.graph.node[0].attribute[0].g.node[0]..."""
    graph = _field(2, b"innermost")
    for _ in range(depth):
        attribute = _field(1, b"then_branch") + _field(6, graph) + b"\xa0\x01\x05"
        graph = _field(1, _field(4, b"If") + _field(5, attribute))
    return raw(b"\x08\x08" + _field(7, graph))


def dims(*sizes: int, data: bytes = b"") -> TensorProto:
    """Weights that claim ``sizes``."""
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=sizes, raw_data=data)


def _bomb(sizes: list[int]) -> list[NodeProto]:
    shape = helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array(sizes, dtype=np.int64)))
    return [
        shape, helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("MatMul", ["image", "w"], ["product"]),
        helper.make_node("Add", ["product", "zero"], ["scores"]),
    ]  # fmt: skip


def _tensor(name: str, kind: int = TensorProto.FLOAT, shape: tuple[object, ...] = ("n", 4)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


class Touch:
    """Pickled, it runs a command when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def pickled(name: str) -> Build:
    return lambda work, outside: (work / name).write_bytes(pickle.dumps(Touch(outside.parent / "executed")))


LOAD, RUN = "not a readable ONNX model", "cannot (load|run) the model"
ONNX: dict[str, tuple[Build, str, str]] = {
    "external data above the folder": (at("../outside/secret"), "ExportFailed", LOAD),
    "external data by a detour above the folder": (at("store/../../outside/secret"), "ExportFailed", LOAD),
    "external data at an absolute path": (at("{outside}/secret"), "ExportFailed", LOAD),
    "external data that is a device": (at("/dev/zero"), "ExportFailed", LOAD),
    "external data through a link": (
        at("link", prepare=lambda w, o: (w / "link").symlink_to(o / "secret")), "ExportFailed", LOAD),
    "external data through a linked folder": (
        at("link/secret", prepare=lambda w, o: (w / "link").symlink_to(o)), "ExportFailed", LOAD),
    "external data through a link to a device": (
        at("link", prepare=lambda w, o: (w / "link").symlink_to("/dev/zero")), "ExportFailed", LOAD),
    "external data that is a hard link": (
        at("hard", prepare=lambda w, o: os.link(o / "secret", w / "hard")), "ExportFailed", LOAD),
    "external data that is a pipe": (at("pipe", prepare=lambda w, o: os.mkfifo(w / "pipe")), "ExportFailed", LOAD),
    "external data that is a folder": (at("store"), "ExportFailed", LOAD),
    "external data that is missing": (at("nowhere"), "ExportFailed", LOAD),
    "external data without a place": (at(""), "ExportFailed", LOAD),
    "external data with a null character": (at("data\0x", prepare=_data), "ExportFailed", LOAD),
    "external data with backslashes": (at("..\\outside\\secret"), "ExportFailed", LOAD),
    "external data with full-width dots": (at("\uff0e\uff0e/outside/secret"), "ExportFailed", LOAD),
    "external data by a file URL": (at("file://{outside}/secret"), "ExportFailed", LOAD),
    "external data at a negative offset": (at("data", prepare=_data, offset=-8, length=48), "ExportFailed", LOAD),
    "external data of a negative length": (at("data", prepare=_data, length=-1), "ExportFailed", LOAD),
    "external data at a huge offset": (at("data", prepare=_data, offset=1 << 62, length=48), "ExportFailed", "."),
    "external data at an offset beyond 64 bits": (at("data", prepare=_data, offset=1 << 70), "ExportFailed", LOAD),
    "external data of a huge length": (at("data", prepare=_data, length=1 << 62), "ExportFailed", "."),
    "external data at an offset that is no number": (at("data", prepare=_data, offset="0x10"), "ExportFailed", LOAD),
    "external data in a branch": (_in_branch, "ExportFailed", LOAD),
    "external data in a sparse tensor": (_sparse("../outside/secret"), "ExportFailed", LOAD),
    "absolute external data in a sparse tensor": (_sparse("{outside}/secret"), "ExportFailed", LOAD),
    "external data in a function": (_in_function, "ExportFailed", LOAD),
    "an empty file": (raw(b""), "ExportFailed", "."),
    "a truncated file": (raw(good_model().SerializeToString()[:-20]), "ExportFailed", LOAD),
    "a length beyond the file": (raw(b"\x3a\xff\xff\xff\xff\x0f"), "ExportFailed", LOAD),
    "random bytes": (raw(bytes(np.random.default_rng(5).integers(0, 256, 4096, np.uint8))), "ExportFailed", LOAD),
    "a pickle that is called ONNX": (pickled("evil.onnx"), "ExportFailed", LOAD),
    "weights of huge dimensions": (made(weights=dims(1 << 40, 1 << 20)), "ExportFailed", RUN),
    "weights whose size overflows": (made(weights=dims(1 << 62, 4)), "ExportFailed", RUN),
    "weights of negative dimensions": (made(weights=dims(-4, 3)), "ExportFailed", RUN),
    "fewer weights than dimensions": (made(weights=dims(4, 3, data=b"\0" * 8)), "ExportFailed", RUN),
    "weights of an unknown type": (
        made(weights=TensorProto(name="w", data_type=999, dims=[4, 3], raw_data=b"\0" * 48)), "ExportFailed", RUN),
    "an input of huge dimensions": (
        made(inputs=[_tensor("image", shape=("n", 1 << 40))]), "(InvalidUsage|ExportFailed)", "."),
    "an input whose size overflows": (
        made(inputs=[_tensor("image", shape=("n", 1 << 62, 1 << 62))]), "ExportFailed", "."),
    "an input of a negative dimension": (made(inputs=[_tensor("image", shape=("n", -4))]), "ExportFailed", "."),
    "an input of an unknown type": (made(inputs=[_tensor("image", 999)]), "ExportFailed", "999"),
    "an input without a type": (made(inputs=[onnx.ValueInfoProto(name="image")]), "ExportFailed", "image"),
    "an input that is a sequence": (
        made(inputs=[helper.make_tensor_sequence_value_info("image", 1, None)]), "ExportFailed", "sequence"),
    "an input with a line break in its name": (
        made([helper.make_node("MatMul", ["a\nb", "w"], ["scores"])], inputs=[_tensor("a\nb")]), "ExportFailed", "."),
    "an input with a terminal escape in its name": (
        made([helper.make_node("MatMul", ["\x1b[2J", "w"], ["scores"])], inputs=[_tensor("\x1b[2J")]),
        "ExportFailed", "."),
    "an input without a name": (
        made([helper.make_node("MatMul", ["", "w"], ["scores"])], inputs=[_tensor("")]), "ExportFailed", "."),
    "an input name of 100,000 characters": (
        made([helper.make_node("MatMul", ["x" * 100_000, "w"], ["scores"])], inputs=[_tensor("x" * 100_000)]),
        "ExportFailed", "."),
    "two inputs of one name": (made(inputs=[IMAGE, IMAGE]), "InvalidUsage", "the same name"),
    "1,000 inputs": (made(inputs=[IMAGE, *(_tensor(f"i{n}") for n in range(999))]), "ExportFailed", "."),
    "no output": (made(outputs=[]), "ExportFailed", "."),
    "no graph": (raw(ModelProto(ir_version=8).SerializeToString()), "ExportFailed", "."),
    "a cycle": (
        made([helper.make_node("Add", ["image", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
              helper.make_node("MatMul", ["b", "w"], ["scores"])]), "ExportFailed", RUN),
    "20,000 nested branches": (nested(20_000), "ExportFailed", LOAD),
    "20 nested branches without inputs": (nested(20), "ExportFailed", "."),
    "a function that calls itself": (_recursive_function, "ExportFailed", "."),
    "an unknown operator": (made([helper.make_node("Explode", ["image"], ["scores"])]), "ExportFailed", RUN),
    "an operator of an unknown domain": (
        made([helper.make_node("Explode", ["image"], ["scores"], domain="evil.example")]), "ExportFailed", "."),
    "a compiled model at another place": (
        made([helper.make_node("EPContext", ["image"], ["scores"], domain="com.microsoft", embed_mode=0,
                               ep_cache_context="../outside/secret")]), "ExportFailed", "."),
    "an opset of the future": (made(opset=9999), "ExportFailed", "."),
    "an IR version of the far future": (
        raw(ModelProto(ir_version=1 << 62, graph=good_model().graph).SerializeToString()), "ExportFailed", "."),
    "4 EiB of zeros": (made(_bomb([1 << 30, 1 << 30])), "ExportFailed", RUN),
    "zeros whose size overflows": (made(_bomb([1 << 62, 1 << 62])), "ExportFailed", RUN),
    "zeros of a negative size": (made(_bomb([-5, 3])), "ExportFailed", RUN),
}  # fmt: skip
