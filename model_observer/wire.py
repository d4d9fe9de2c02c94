"""The few messages that the observer speaks, described by their numbers in the two published interfaces.

Both interfaces come as Python packages, but one of them installs a top-level package ``envoy``, which the package with
Envoy's own program does as well. Of its hundreds of messages four are needed here. Fields that are not described are
kept out of sight by protobuf, as its rules for unknown fields demand, so a newer Envoy can be read as well.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pb2, message_factory, struct_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

EXT_PROC = "envoy.service.ext_proc.v3"
INFERENCE = "inference"
Kinds = dict[str, tuple[int, str]]
"""Fields of a message by name: number and type; ``*`` repeats, ``<T>`` maps text to T, a dotted name is a message."""
MESSAGES: dict[str, Kinds] = {
    f"{EXT_PROC}.HeaderValue": {"key": (1, "string"), "value": (2, "string"), "raw_value": (3, "bytes")},
    f"{EXT_PROC}.HeaderMap": {"headers": (1, f"*.{EXT_PROC}.HeaderValue")},
    f"{EXT_PROC}.HttpHeaders": {"headers": (1, f".{EXT_PROC}.HeaderMap"), "end_of_stream": (3, "bool")},
    f"{EXT_PROC}.HttpBody": {"body": (1, "bytes"), "end_of_stream": (2, "bool")},
    f"{EXT_PROC}.HttpTrailers": {"trailers": (1, f".{EXT_PROC}.HeaderMap")},
    f"{EXT_PROC}.ProcessingRequest": {
        "request_headers": (2, f".{EXT_PROC}.HttpHeaders"),
        "response_headers": (3, f".{EXT_PROC}.HttpHeaders"),
        "request_body": (4, f".{EXT_PROC}.HttpBody"),
        "response_body": (5, f".{EXT_PROC}.HttpBody"),
        "request_trailers": (6, f".{EXT_PROC}.HttpTrailers"),
        "response_trailers": (7, f".{EXT_PROC}.HttpTrailers"),
        "attributes": (9, "<.google.protobuf.Struct>"),
    },
    f"{INFERENCE}.InferParameter": {
        "bool_param": (1, "bool"),
        "int64_param": (2, "int64"),
        "string_param": (3, "string"),
        "double_param": (4, "double"),
        "uint64_param": (5, "uint64"),
    },
    f"{INFERENCE}.InferTensorContents": {
        "bool_contents": (1, "*bool"),
        "int_contents": (2, "*int32"),
        "int64_contents": (3, "*int64"),
        "uint_contents": (4, "*uint32"),
        "uint64_contents": (5, "*uint64"),
        "fp32_contents": (6, "*float"),
        "fp64_contents": (7, "*double"),
        "bytes_contents": (8, "*bytes"),
    },
    f"{INFERENCE}.InferTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "*int64"),
        "parameters": (4, f"<.{INFERENCE}.InferParameter>"),
        "contents": (5, f".{INFERENCE}.InferTensorContents"),
    },
    f"{INFERENCE}.InferRequestedOutput": {
        "name": (1, "string"),
        "parameters": (2, f"<.{INFERENCE}.InferParameter>"),
    },
    f"{INFERENCE}.ModelInferRequest": {
        "parameters": (4, f"<.{INFERENCE}.InferParameter>"),
        "inputs": (5, f"*.{INFERENCE}.InferTensor"),
        "outputs": (6, f"*.{INFERENCE}.InferRequestedOutput"),
        "raw_input_contents": (7, "*bytes"),
    },
    f"{INFERENCE}.ModelInferResponse": {
        "outputs": (5, f"*.{INFERENCE}.InferTensor"),
        "raw_output_contents": (6, "*bytes"),
    },
}
SCALARS = {
    "string": Field.TYPE_STRING,
    "bytes": Field.TYPE_BYTES,
    "bool": Field.TYPE_BOOL,
    "int32": Field.TYPE_INT32,
    "int64": Field.TYPE_INT64,
    "uint32": Field.TYPE_UINT32,
    "uint64": Field.TYPE_UINT64,
    "float": Field.TYPE_FLOAT,
    "double": Field.TYPE_DOUBLE,
}


def _field(name: str, number: int, kind: str) -> Field:
    repeated = kind.startswith("*")
    kind = kind.removeprefix("*")
    field = Field(name=name, number=number, label=Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL)
    if kind.startswith("."):
        field.type, field.type_name = Field.TYPE_MESSAGE, kind
    else:
        field.type = SCALARS[kind]
    return field


def _message(full_name: str, kinds: Kinds) -> descriptor_pb2.DescriptorProto:
    package, _, name = full_name.rpartition(".")
    message = descriptor_pb2.DescriptorProto(name=name)
    for field_name, (number, kind) in kinds.items():
        if kind.startswith("<"):
            entry = "".join(part.capitalize() for part in field_name.split("_")) + "Entry"
            pair = [_field("key", 1, "string"), _field("value", 2, kind.strip("<>"))]
            nested = message.nested_type.add(name=entry, field=pair)
            nested.options.map_entry = True
            kind = f"*.{package}.{name}.{entry}"
        message.field.append(_field(field_name, number, kind))
    return message


def _pool() -> DescriptorPool:
    # A pool of its own: another package in this process may describe the same interfaces in the common one.
    pool = DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    for package in (EXT_PROC, INFERENCE):
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        file.dependency.append(struct_pb2.DESCRIPTOR.name)
        owned = {name: kinds for name, kinds in MESSAGES.items() if name.rpartition(".")[0] == package}
        file.message_type.extend(_message(name, kinds) for name, kinds in owned.items())
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()


def _class(name: str) -> type[Message]:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


ProcessingRequest = _class(f"{EXT_PROC}.ProcessingRequest")
ModelInferRequest = _class(f"{INFERENCE}.ModelInferRequest")
ModelInferResponse = _class(f"{INFERENCE}.ModelInferResponse")


def parser(kind: type[Message]) -> Callable[[bytes], Any]:
    """A function from bytes to a message of that kind; raises ValueError for bytes that are none."""

    def parse(data: bytes) -> Any:
        message = kind()
        try:
            message.ParseFromString(data)
        except DecodeError as error:
            raise ValueError(f"not a {kind.DESCRIPTOR.name}") from error
        return message

    return parse
