"""Exporting ONNX files: what the bundle says is what the graph does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from google.protobuf import text_format
from onnx import ModelProto, TensorProto, helper
from tritonclient.grpc import model_config_pb2 as pb  # type: ignore[import-untyped]

from model_packager.errors import ExportFailed, InvalidUsage, PackagerError, ParityFailed
from model_packager.export import compare as comparing
from model_packager.export.golden import read_case
from model_packager.export.pipeline import export
from model_packager.export.request import ExportRequest
from model_packager.export.runtime import save
from model_packager.export.sources import SourceOptions
from model_packager.export.triton import ServingOptions
from model_packager.folder import read_manifest, verify_folder
from model_packager.manifest import Manifest

FLOAT = TensorProto.FLOAT


def _request(source: Path, out: Path, **options: Any) -> ExportRequest:
    defaults = ExportRequest(
        source=str(source), name="m", version="1", out=out, source_options=SourceOptions(opset=18), max_batch_size=8
    )
    return replace(defaults, **options)


def _model(
    nodes: list[onnx.NodeProto], inputs: dict[str, list[Any]], outputs: dict[str, list[Any]], **options: Any
) -> ModelProto:
    kind = options.pop("kind", FLOAT)
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
        options.pop("weights", []),
    )
    opsets = options.pop("opsets", {"": 18})
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=options.pop("ir_version", 8))


def _export(model: ModelProto, tmp_path: Path, **options: Any) -> Manifest:
    onnx.save(model, tmp_path / "m.onnx")
    return export(_request(tmp_path / "m.onnx", tmp_path / "out", **options), lambda line: None)


def _config(out: Path, path: str, name: str = "small") -> Any:
    return text_format.Parse((out / "models" / name / path).read_text(), pb.ModelConfig())


def test_the_bundle_verifies_and_has_the_promised_layout(pristine_bundle: Path) -> None:
    manifest = verify_folder(pristine_bundle)
    paths = {file.path for file in manifest.files}
    model = "models/small/"
    assert {f"{model}config.pbtxt", f"{model}configs/cpu.pbtxt", f"{model}configs/gpu.pbtxt"} <= paths
    assert {f"{model}1/model.onnx", "README.md"} <= paths
    assert manifest.compatibility.opset == 18
    assert manifest.compatibility.ir_version <= 10


def test_the_contract_is_what_a_client_sees(pristine_bundle: Path) -> None:
    contract = read_manifest(pristine_bundle).contract
    assert [(t.name, t.datatype, t.shape) for t in contract.inputs] == [("image", "FP32", (-1, 6))]
    assert [(t.name, t.datatype, t.shape) for t in contract.outputs] == [
        ("label", "INT64", (-1, 1)),
        ("scores", "FP32", (-1, 4)),
    ]
    assert contract.max_batch_size == 32


def test_exporting_the_same_again_gives_the_same_digest(onnx_file: Path, pristine_bundle: Path, tmp_path: Path) -> None:
    """In a fresh process, so that no order of hashing or caching is shared."""
    command = [sys.executable, "-m", "model_packager.cli", "export", str(onnx_file), "--name", "small"]
    subprocess.run([*command, "--version", "1", "-o", str(tmp_path / "again")], check=True, capture_output=True)
    assert read_manifest(tmp_path / "again").digest() == read_manifest(pristine_bundle).digest()


def test_exporting_onto_an_equal_bundle_changes_nothing(onnx_file: Path, bundle: Path) -> None:
    before = (bundle / "manifest.json").stat().st_mtime_ns
    request = _request(onnx_file, bundle, name="small", max_batch_size=32)
    assert export(request, lambda line: None).digest() == read_manifest(bundle).digest()
    assert (bundle / "manifest.json").stat().st_mtime_ns == before


def test_golden_cases_are_what_the_model_answers(pristine_bundle: Path) -> None:
    manifest = read_manifest(pristine_bundle)
    session = onnxruntime.InferenceSession(pristine_bundle / "models/small/1/model.onnx")
    assert {case.batch_size for case in manifest.golden.cases} >= {1, 2, 3, 32}
    for case in manifest.golden.cases:
        inputs, expected = read_case(pristine_bundle, case.name)
        assert len(inputs["image"]) == case.batch_size
        label, scores = session.run(["label", "scores"], inputs)
        np.testing.assert_array_equal(label.reshape(-1, 1), expected["label"])
        np.testing.assert_allclose(scores, expected["scores"], rtol=1e-3, atol=1e-5)


def test_configurations_bound_the_queue_and_warm_every_bucket(pristine_bundle: Path) -> None:
    config = _config(pristine_bundle, "config.pbtxt")
    assert (config.name, config.backend, config.default_model_filename) == ("small", "onnxruntime", "model.onnx")
    assert config.max_batch_size == 32
    policy = config.dynamic_batching.default_queue_policy
    assert (policy.max_queue_size, policy.default_timeout_microseconds) == (256, 10_000_000)
    assert policy.timeout_action == pb.ModelQueuePolicy.REJECT
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 2, 4, 8, 16, 32]
    assert all(list(warmup.inputs["image"].dims) == [6] for warmup in config.model_warmup)
    label, scores = config.output
    assert (list(label.dims), label.HasField("reshape"), list(label.reshape.shape)) == ([1], True, [])
    assert (list(scores.dims), scores.HasField("reshape")) == ([4], False)


def test_each_device_has_its_configuration(pristine_bundle: Path) -> None:
    cpu, gpu = (_config(pristine_bundle, f"configs/{device}.pbtxt") for device in ("cpu", "gpu"))
    assert [group.kind for group in cpu.instance_group] == [pb.ModelInstanceGroup.KIND_CPU]
    assert [group.kind for group in gpu.instance_group] == [pb.ModelInstanceGroup.KIND_GPU]
    assert cpu.parameters["intra_op_thread_count"].string_value == "1"
    assert "intra_op_thread_count" not in gpu.parameters


def test_instances_and_threads_fit_the_container(onnx_file: Path, tmp_path: Path) -> None:
    serving = ServingOptions(instances=2, threads=3)
    export(_request(onnx_file, tmp_path / "out", name="small", serving=serving), lambda line: None)
    cpu, gpu = (_config(tmp_path / "out", f"configs/{device}.pbtxt") for device in ("cpu", "gpu"))
    assert [config.instance_group[0].count for config in (cpu, gpu)] == [2, 2]
    assert cpu.parameters["intra_op_thread_count"].string_value == "3"


def test_names_can_be_changed_to_fit_an_existing_contract(onnx_file: Path, tmp_path: Path) -> None:
    names = {"image": "x", "scores": "logits", "label": "class"}
    manifest = export(_request(onnx_file, tmp_path / "out", rename=names), lambda line: None)
    assert [tensor.name for tensor in manifest.contract.inputs] == ["x"]
    assert [tensor.name for tensor in manifest.contract.outputs] == ["class", "logits"]


def test_labels_go_to_the_output_with_as_many_scores(onnx_file: Path, tmp_path: Path) -> None:
    manifest = export(_request(onnx_file, tmp_path / "out", labels=("a", "b", "c", "d")), lambda line: None)
    assert [tensor.labels for tensor in manifest.contract.outputs] == [None, ("a", "b", "c", "d")]


def test_a_newer_ir_version_is_lowered_to_what_servers_load(tmp_path: Path) -> None:
    model = _model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 2]}, {"y": ["n", 2]}, ir_version=11)
    manifest = _export(model, tmp_path)
    assert manifest.compatibility.ir_version == 10
    assert onnx.load(tmp_path / "out/models/m/1/model.onnx").ir_version == 10


def test_documentation_and_traces_of_the_exporter_do_not_reach_the_bundle(tmp_path: Path) -> None:
    model = _model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 2]}, {"y": ["n", 2]})
    model.doc_string = model.graph.doc_string = "/home/someone/train.py"
    model.graph.node[0].metadata_props.add(key="stack_trace", value="/home/someone/train.py")
    _export(model, tmp_path)
    assert b"someone" not in (tmp_path / "out/models/m/1/model.onnx").read_bytes()


def test_weights_listed_as_inputs_are_not_asked_of_clients(tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.ones((2,), dtype=np.float32), "w")
    model = _model(
        [helper.make_node("Add", ["x", "w"], ["y"])], {"x": ["n", 2], "w": [2]}, {"y": ["n", 2]}, weights=[weights]
    )
    assert [tensor.name for tensor in _export(model, tmp_path).contract.inputs] == ["x"]


UNBATCHED: dict[str, tuple[ModelProto, str]] = {
    "a fixed size": (
        _model([helper.make_node("Relu", ["x"], ["y"])], {"x": [4, 2]}, {"y": [4, 2]}),
        "fixed shape [4, 2]",
    ),
    "a scalar output": (
        _model([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], {"x": ["n", 2]}, {"y": []}),
        "fixed shape [1]",
    ),
    "rows that depend on each other": (
        _model(
            [
                helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
                helper.make_node("Sub", ["x", "mean"], ["y"]),
            ],
            {"x": ["n", 2]},
            {"y": ["n", 2]},
            weights=[onnx.numpy_helper.from_array(np.asarray([0]), "axes")],
        ),
        "depends on the other rows",
    ),
    "more rows than asked": (
        _model([helper.make_node("Concat", ["x", "x"], ["y"], axis=0)], {"x": ["n", 2]}, {"y": ["m", 2]}),
        "has the shape [2, 2] for a batch of 1",
    ),
    "the batch moved to another dimension": (
        _model([helper.make_node("Transpose", ["x"], ["y"])], {"x": ["n", 2]}, {"y": ["m", "k"]}),
        "has the shape [2, 1] for a batch of 1",
    ),
}


@pytest.mark.parametrize("what", UNBATCHED)
def test_a_batch_dimension_that_is_not_real_is_not_promised(tmp_path: Path, what: str) -> None:
    model, words = UNBATCHED[what]
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "s.npz", x=np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32))
    said: list[str] = []
    manifest = export(_request(tmp_path / "m.onnx", tmp_path / "out", sample=tmp_path / "s.npz"), said.append)
    assert manifest.contract.max_batch_size == 0
    assert any("maximum batch size is 0" in line and words in line for line in said), said
    config = _config(tmp_path / "out", "config.pbtxt", "m")
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert "maximum batch size is 0" in (tmp_path / "out/README.md").read_text()


def test_a_scalar_output_is_served_as_one_value_because_servers_have_no_scalars(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0), helper.make_node("Neg", ["y"], ["z"])]
    manifest = _export(_model(nodes, {"x": [3]}, {"y": [], "z": []}), tmp_path)
    assert [(tensor.name, tensor.shape) for tensor in manifest.contract.outputs] == [("y", (1,)), ("z", (1,))]
    assert "reshape" not in (tmp_path / "out/models/m/config.pbtxt").read_text()
    session = onnxruntime.InferenceSession(tmp_path / "out/models/m/1/model.onnx")
    y, z = session.run(["y", "z"], {"x": np.asarray([1, 2, 4], np.float32)})
    assert (y.tolist(), z.tolist()) == ([7.0], [-7.0])


def _custom_domain() -> ModelProto:
    node = helper.make_node("Strange", ["x"], ["y"], domain="com.example")
    return _model([node], {"x": ["n", 2]}, {"y": ["n", 2]}, opsets={"": 18, "com.example": 1})


def _sequence() -> ModelProto:
    model = _model([helper.make_node("SequenceConstruct", ["x"], ["y"])], {"x": ["n", 2]}, {})
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, ["n", 2]))
    model.graph.output.append(helper.make_value_info("y", kind))
    return model


def _relu(**options: Any) -> ModelProto:
    return _model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 2]}, {"y": ["n", 2]}, **options)


FAILED: dict[str, tuple[ModelProto, dict[str, Any], type[PackagerError], str]] = {
    "operators of a foreign domain": (_custom_domain(), {}, ExportFailed, "domain 'com.example'"),
    "an output that is no tensor": (_sequence(), {}, ExportFailed, "only tensors can be served"),
    "a scalar input": (
        _model([helper.make_node("Relu", ["x"], ["y"])], {"x": []}, {"y": []}),
        {},
        ExportFailed,
        "The input 'x' is a scalar, which no server takes",
    ),
    "bfloat16 inputs": (_relu(kind=TensorProto.BFLOAT16), {}, ExportFailed, "type BFLOAT16"),
    "an opset of the future": (_relu(opsets={"": 99}), {}, ExportFailed, "opset 99"),
    "a name with a line break": (
        _model([helper.make_node("Relu", ["x\ny"], ["y"])], {"x\ny": ["n", 2]}, {"y": ["n", 2]}),
        {},
        ExportFailed,
        r"does not fit into a manifest: name is 'x\\ny'",
    ),
    "renaming what is not there": (_relu(), {"rename": {"z": "a"}}, InvalidUsage, "no input or output 'z'"),
    "renaming to a taken name": (_relu(), {"rename": {"x": "y"}}, InvalidUsage, "the same name"),
    "labels that fit no output": (_relu(), {"labels": ("a", "b", "c")}, InvalidUsage, "There are 3 labels"),
    "a name that is none": (_relu(), {"name": "Big"}, PackagerError, "model name 'Big'"),
    "a version that is none": (_relu(), {"version": "v 1"}, PackagerError, "version 'v 1'"),
    "no sample where one is needed": (
        _model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", "t"]}, {"y": ["n", "t"]}),
        {},
        InvalidUsage,
        "pass --sample",
    ),
}


@pytest.mark.parametrize("what", FAILED)
def test_what_cannot_be_served_is_refused_and_leaves_no_bundle(tmp_path: Path, what: str) -> None:
    model, options, error, words = FAILED[what]
    with pytest.raises(error, match=words):
        _export(model, tmp_path, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


SAMPLES: dict[str, tuple[dict[str, Any] | bytes, str]] = {
    "another name": ({"z": np.ones((2, 2), np.float32)}, "the sample has z"),
    "another shape": ({"x": np.ones((2, 3), np.float32)}, "the sample has [2, 3]"),
    "another rank": ({"x": np.ones(2, np.float32)}, "the sample has [2]"),
    "no rows": ({"x": np.ones((0, 2), np.float32)}, "none empty"),
    "nothing": ({}, "at least one array"),
    "pickled objects": ({"x": np.asarray([[{}, {}]], dtype=object)}, "plain arrays"),
    "not an archive": (b"hello", "is not an .npz file"),
    "a truncated archive": (b"PK\x03\x04", "is not an .npz file"),
}


@pytest.mark.parametrize("what", SAMPLES)
def test_a_sample_that_does_not_fit_is_refused(tmp_path: Path, what: str) -> None:
    content, words = SAMPLES[what]
    sample = tmp_path / "s.npz"
    if isinstance(content, bytes):
        sample.write_bytes(content)
    else:
        np.savez(sample, **content)
    with pytest.raises(InvalidUsage) as refused:
        _export(_relu(), tmp_path, sample=sample)
    assert words in str(refused.value)


def test_a_model_that_answers_differently_leaves_no_bundle(
    onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = comparing._answer
    monkeypatch.setattr(comparing, "_answer", lambda converted, inputs: [a + 1 for a in answer(converted, inputs)])
    with pytest.raises(ParityFailed, match=r"The output 'scores' is .* where the source says"):
        export(_request(onnx_file, tmp_path / "out"), lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_not_overwritten(onnx_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InvalidUsage, match="not empty and not a bundle"):
        export(_request(onnx_file, tmp_path), lambda line: None)


def test_another_bundle_is_not_overwritten(onnx_file: Path, bundle: Path) -> None:
    before = read_manifest(bundle)
    with pytest.raises(InvalidUsage, match="already holds the bundle"):
        export(_request(onnx_file, bundle, version="2"), lambda line: None)
    assert verify_folder(bundle) == before


def test_large_weights_go_to_a_file_beside_the_model(tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.ones((64, 64), dtype=np.float32), "w")
    model = _model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ["n", 64]}, {"y": ["n", 64]}, weights=[weights]
    )
    path = save(model, tmp_path, inline_limit=1000)
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    (answer,) = onnxruntime.InferenceSession(path).run(None, {"x": np.ones((2, 64), np.float32)})
    assert (answer == 64).all()
    assert len(model.graph.initializer[0].raw_data) == 64 * 64 * 4


def test_a_profile_is_measured_on_request(onnx_file: Path, tmp_path: Path) -> None:
    manifest = export(_request(onnx_file, tmp_path / "out", profile=True), lambda line: None)
    assert manifest.profile is not None
    assert [point.batch_size for point in manifest.profile.points] == [1, 2, 4, 8]
    assert all(0 < point.p50_ms <= point.p95_ms for point in manifest.profile.points)
