"""What is to be observed: one JSON file, written by the operator and read again whenever it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from model_packager.schema import MAX_TENSORS, BatchSize, Datatype, Dimension, Frozen, Text

logger = logging.getLogger(__name__)
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Host = Annotated[str, Field(pattern=r"^[a-zA-Z0-9.-]{1,253}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
MAX_BYTES = 1024 * 1024
"""A ConfigMap holds no more."""
LOOK_SECONDS = 1.0


class Revision(Frozen):
    """One revision, and the name under which its ready pods are found (a headless Service)."""

    name: Name
    host: Host
    http_port: Port = 8000
    grpc_port: Port = 8001


class Tolerances(Frozen):
    """When two answers mean the same.

    ``probability``: largest difference of any probability of a row. Other numbers: ``absolute`` plus ``relative`` times
    the larger of the two.
    """

    probability: Share = 0.1
    relative: Share = 0.01
    absolute: Share = 1e-6


class Output(Frozen):
    """An output of the model's contract. ``labelled``: it has one score for each label.

    The labels themselves decide nothing, and there may be a hundred thousand of them.
    """

    name: Text
    datatype: Datatype
    shape: Annotated[tuple[Dimension, ...], Field(max_length=32)]
    labelled: bool = False


class Model(Frozen):
    """One model: what its contract says of its answers, and the revisions that are compared with each other.

    ``max_batch_size`` 0 means that the first dimension is no batch.
    """

    name: Name
    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=MAX_TENSORS)]
    max_batch_size: BatchSize = 0
    revisions: Annotated[tuple[Revision, ...], Field(max_length=8)]
    tolerances: Tolerances = Tolerances()
    max_replays_per_second: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 10.0


class Plan(Frozen):
    """Everything that is observed. ``version`` is the operator's word for this content, and comes back with counts."""

    version: Annotated[Text, Field(max_length=64)] = "none"
    models: Annotated[tuple[Model, ...], Field(max_length=256)] = ()

    def of(self, revision: str) -> tuple[Model, Revision] | None:
        """The revision of that name, and its model."""
        return next(((m, r) for m in self.models for r in m.revisions if r.name == revision), None)


class PlanInvalid(Exception):
    """The file cannot be used; the text says where and why."""


def read(path: Path) -> Plan:
    """The plan in a file. Raises PlanInvalid."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PlanInvalid(f"{path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise PlanInvalid(f"{path} has more than {MAX_BYTES} bytes")
    try:
        return Plan.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise PlanInvalid(f"{path}: {where or 'the file'}: {fault['msg']}") from error


async def follow(path: Path, use: Callable[[Plan], None], seconds: float = LOOK_SECONDS) -> None:
    """Hand over the plan whenever the file has changed, for ever; one that cannot be used changes nothing.

    The file is looked at by its identity and time: the kubelet replaces a folder's link, never a file's content.
    """
    seen: object = None
    while True:
        now = _identity(path)
        if now != seen:
            seen = now
            try:
                use(await asyncio.to_thread(read, path))
            except PlanInvalid as error:
                logger.error("the plan is not used, the last good one stays: %s", error)
        await asyncio.sleep(seconds)


def _identity(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return "absent"
    return found.st_ino, found.st_mtime_ns, found.st_size
