"""What holds for every manifest, path, reference and tensor, not only for the ones that were thought of."""

from __future__ import annotations

import json
import os
import string
from pathlib import PurePosixPath

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx.helper import np_dtype_to_tensor_dtype

from model_packager.errors import BundleInvalid, InvalidReference
from model_packager.export.tensors import Array, datatype_of, from_binary, numpy_dtype, to_binary
from model_packager.manifest import (
    Compatibility,
    Contract,
    File,
    Golden,
    Manifest,
    Provenance,
    Source,
    Tensor,
    parse_manifest,
    parse_reference,
)
from model_packager.paths import identity, path_problem

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
paths = st.lists(
    st.text(string.ascii_letters + string.digits + "._- é", min_size=1, max_size=8), min_size=1, max_size=4
)
texts = st.text(st.characters(codec="utf-8"), max_size=10)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    name = draw(names)
    free = draw(st.lists(paths.map("/".join), max_size=6))
    chosen = {identity(path): path for path in free if path_problem(path) is None}
    folders = {str(parent) for key in chosen for parent in PurePosixPath(key).parents}
    usable = [p for key, p in chosen.items() if key not in folders and key.split("/")[0] != "models"]
    listed = sorted([*usable, f"models/{name}/config.pbtxt"])
    tensors = st.builds(
        Tensor,
        name=st.text(string.ascii_letters, min_size=1, max_size=5),
        datatype=st.sampled_from(["FP32", "INT64", "BYTES"]),
        shape=st.lists(st.integers(-1, 100), max_size=3).map(lambda rest: (-1, *rest)),
    )
    some = st.lists(tensors, min_size=1, max_size=3, unique_by=lambda tensor: tensor.name).map(tuple)
    hashes = st.integers(0, 2**256 - 1).map(lambda value: f"{value:064x}")
    return Manifest(
        name=name,
        version=draw(names),
        files=tuple(File(path=path, size=draw(st.integers(0, 1 << 40)), sha256=draw(hashes)) for path in listed),
        contract=Contract(inputs=draw(some), outputs=draw(some), max_batch_size=draw(st.integers(0, 64))),
        compatibility=Compatibility(opset=18, ir_version=8, opset_domains={"ai.onnx": 18}, min_onnxruntime="1.19"),
        golden=Golden(cases=(), tolerances={}),
        provenance=Provenance(
            source=Source(framework="onnx", framework_version="1", format="onnx", digest=f"sha256:{draw(hashes)}"),
            tools=draw(st.dictionaries(names, names, max_size=3)),
        ),
    )


@given(manifests())
def test_a_manifest_survives_the_round_trip_with_its_digest(manifest: Manifest) -> None:
    data = manifest.canonical_bytes()
    again = parse_manifest(data, expected_digest=manifest.digest())
    assert again == manifest
    assert again.canonical_bytes() == data


@given(manifests(), manifests())
def test_different_manifests_have_different_digests(first: Manifest, second: Manifest) -> None:
    assert (first == second) == (first.digest() == second.digest())


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_manifest_or_one_named_error(data: bytes) -> None:
    message = ""
    try:
        parse_manifest(data)
    except BundleInvalid as error:
        message = str(error)
    assert message.isprintable()


@given(manifests(), st.data())
def test_a_manifest_with_anything_put_anywhere_is_refused_or_canonical(manifest: Manifest, data: st.DataObject) -> None:
    fields = json.loads(manifest.canonical_bytes())
    target = fields
    while True:
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(target[key], dict | list) or not target[key] or data.draw(st.booleans()):
            target[key] = data.draw(json_values)
            break
        target = target[key]
    changed = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    accepted = b""
    try:
        accepted = parse_manifest(changed).canonical_bytes()
    except BundleInvalid as error:
        accepted = changed if str(error).isprintable() else b"an error that breaks a terminal"
    assert accepted == changed


@given(st.text(max_size=60) | paths.map("/".join))
@example("a/../b")
@example("a\u2024\u2024/b")
def test_an_accepted_path_stays_inside_the_folder(path: str) -> None:
    if path_problem(path) is None:
        joined = os.path.normpath(os.path.join("/bundle", path))
        assert joined == f"/bundle/{path}"
        assert path.isprintable()


@given(st.text(max_size=80) | st.from_regex(r"(s3|file)://[a-z./:@%?]{0,30}"))
def test_any_text_is_a_reference_with_one_spelling_or_one_named_error(text: str) -> None:
    message = ""
    try:
        reference = parse_reference(text)
        assert str(reference) == text
        assert (reference.version is None) != (reference.digest is None)
    except InvalidReference as error:
        message = str(error)
    assert message.isprintable()


@given(
    arrays.arrays(
        dtype=st.sampled_from(["bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64"]),
        shape=arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_numbers_survive_the_wire_bit_for_bit(array: Array) -> None:
    datatype = datatype_of("x", np_dtype_to_tensor_dtype(array.dtype))
    back = from_binary(to_binary(array, datatype), datatype, array.shape)
    assert back.dtype == numpy_dtype(datatype)
    assert back.tobytes() == array.tobytes()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), max_size=5))
def test_text_survives_the_wire(values: list[str]) -> None:
    array = np.asarray(values, dtype=object)
    assert list(from_binary(to_binary(array, "BYTES"), "BYTES", array.shape)) == values
