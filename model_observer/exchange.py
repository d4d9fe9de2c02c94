"""One request with its answer, as the router saw them pass."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

HTTP_INFER = re.compile(r"/v2/models/[A-Za-z0-9._-]{1,200}(/versions/[0-9]{1,18})?/infer")
GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"
OVERHEAD = 2048
"""Bytes that an exchange is taken to cost beside its bodies."""


class Protocol(StrEnum):
    """How the model was asked."""

    HTTP = "http"
    GRPC = "grpc"


@dataclass(frozen=True)
class Answer:
    """``ok`` is the server's own word; ``headers`` have lower-case names; ``body`` as it was sent."""

    ok: bool
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Exchange:
    """``revision`` answered. ``headers`` are the request's, with lower-case names, as far as they shape the body."""

    protocol: Protocol
    path: str
    headers: Mapping[str, str]
    body: bytes
    revision: str
    answer: Answer

    @property
    def size(self) -> int:
        """Bytes that are held for it."""
        return len(self.body) + len(self.answer.body) + OVERHEAD
