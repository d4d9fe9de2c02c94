"""Read the ONNX Runtime settings of a model configuration, under the names of Triton's ONNX Runtime backend."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CGROUP = Path("/sys/fs/cgroup")
_GRAPH_LEVELS = {"-1": "ORT_ENABLE_BASIC", "1": "ORT_ENABLE_EXTENDED", "2": "ORT_DISABLE_ALL"}


@dataclass(frozen=True)
class SessionSettings:
    """Settings of one session. Thread counts are per model instance."""

    intra_op_threads: int
    inter_op_threads: int
    parallel: bool
    memory_arena: bool
    memory_pattern: bool
    graph_level: str
    device_seconds: float
    """How long each run holds the instance besides its own time, without the CPU: the time of an emulated device."""


def read_settings(config: Mapping[str, Any], cpus: int) -> SessionSettings:
    """Return the settings of a configuration; ``cpus`` is the number of threads where it names none.

    Raises ValueError naming the parameter that is not a number, or whose number has no meaning.
    """
    graph = str(config.get("optimization", {}).get("graph", {}).get("level", ""))
    intra = _number(config, "intra_op_thread_count", 0)
    return SessionSettings(
        # 0 means all cores of the node in ONNX Runtime, whatever the container may use.
        intra_op_threads=intra or cpus,
        inter_op_threads=_number(config, "inter_op_thread_count", 0) or 1,
        parallel=_number(config, "execution_mode", 0) == 1,
        memory_arena=_number(config, "enable_mem_arena", 1) == 1,
        memory_pattern=_number(config, "enable_mem_pattern", 1) == 1,
        graph_level=_GRAPH_LEVELS.get(graph, "ORT_ENABLE_ALL"),
        device_seconds=_number(config, "emulated_device_milliseconds", 0) / 1000,
    )


def cpu_limit(cgroup: Path = _CGROUP) -> int:
    """Return the container's CPU limit in whole cores, rounded up; 1 where it has none."""
    for quota_file, period_file in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (cgroup / quota_file).read_text(encoding="ascii").split()
            period = (cgroup / period_file).read_text(encoding="ascii").split()[0] if period_file else words[1]
        except OSError:
            continue
        if words[0] in {"max", "-1"}:
            return 1
        limit = math.ceil(int(words[0]) / int(period))
        return max(1, min(limit, len(os.sched_getaffinity(0))))
    return 1


def _number(config: Mapping[str, Any], name: str, default: int) -> int:
    entry = config.get("parameters", {}).get(name)
    if entry is None:
        return default
    text = str(entry.get("string_value", ""))
    try:
        value = int(text)
    except ValueError as error:
        raise ValueError(f"parameter {name} must be a whole number, not '{text}'") from error
    if value < 0:
        raise ValueError(f"parameter {name} must not be negative, not {value}")
    return value
