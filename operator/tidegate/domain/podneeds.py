"""What a pod takes of a node and of a quota, by the rules of the scheduler and of the quota controller."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

from tidegate.domain.quantities import quantity

Raw = Mapping[str, Any]
Amounts = Mapping[str, int]
"""Amounts by resource, in thousandths of its unit: 500 of cpu is half a core, 1000 of memory is a byte."""
UNIT = 1000
GIBI, MEBI = 1024**3, 1024**2
BYTES = ("memory", "ephemeral-storage", "storage", "hugepages-")


def amount(text: object) -> int:
    """A Kubernetes quantity in thousandths, rounded up; text that is none counts nothing."""
    found = quantity(str(text))
    return ceil(found * UNIT) if found is not None else 0


def amounts(raw: Raw | None) -> dict[str, int]:
    """Quantities by resource."""
    return {name: amount(text) for name, text in (raw or {}).items()}


def show(resource: str, thousandths: int) -> str:
    """An amount for people, e.g. ``1``, ``1500m`` or ``2.5Gi``."""
    if resource.rpartition(".")[2].startswith(BYTES):
        size = thousandths // UNIT
        return f"{size / GIBI:.1f}".removesuffix(".0") + "Gi" if size >= GIBI else f"{size // MEBI}Mi"
    return str(thousandths // UNIT) if thousandths % UNIT == 0 else f"{thousandths}m"


@dataclass(frozen=True)
class PodNeeds:
    """What one pod asks for, and where it may run."""

    requests: Amounts
    limits: Amounts
    node_selector: Mapping[str, str] = field(default_factory=dict)
    affinity: tuple[Raw, ...] | None = None
    """Terms of the required node affinity, of which one must match; None when there is none."""
    tolerations: tuple[Raw, ...] = ()
    priority_class: str = ""
    ends: bool = False
    """True for a pod that may only run for a while."""

    @property
    def best_effort(self) -> bool:
        """True for a pod without any request or limit of cpu and memory."""
        asked = {name for kind in (self.requests, self.limits) for name, value in kind.items() if value}
        return not asked & {"cpu", "memory"}


def pod_needs(spec: Raw) -> PodNeeds:
    """What a pod with this spec needs, be it a template or a pod."""
    node_affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return PodNeeds(
        requests=pod_requests(spec),
        limits=_total(spec, "limits"),
        node_selector=dict(spec.get("nodeSelector") or {}),
        affinity=None if required is None else tuple(required.get("nodeSelectorTerms") or ()),
        tolerations=tuple(spec.get("tolerations") or ()),
        priority_class=spec.get("priorityClassName") or "",
        ends=spec.get("activeDeadlineSeconds") is not None,
    )


def pod_requests(spec: Raw) -> dict[str, int]:
    """What a pod with this spec takes of a node; a place among the node's pods is part of it."""
    return _total(spec, "requests") | {"pods": UNIT}


def _total(spec: Raw, kind: Literal["requests", "limits"]) -> dict[str, int]:
    """The sum of the containers, or the largest init container beside its sidecars where that is more.

    An init container that is always restarted is a sidecar: it runs on beside all that start after it.
    """
    running: dict[str, int] = {}
    starting: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        together = _sum((running, _asked(container, kind)))
        starting = {name: max(together.get(name, 0), starting.get(name, 0)) for name in {*together, *starting}}
        if container.get("restartPolicy") == "Always":
            running = together
    running = _sum((running, *(_asked(c, kind) for c in spec.get("containers") or ())))
    total = {name: max(running.get(name, 0), starting.get(name, 0)) for name in {*running, *starting}}
    # Resources of the pod as a whole stand in for those of its containers.
    total |= _asked(spec, kind)
    return dict(sorted(_sum((total, amounts(spec.get("overhead")))).items()))


def _asked(holder: Raw, kind: Literal["requests", "limits"]) -> dict[str, int]:
    """What a container asks for. A limit without a request is a request, as the API server has it."""
    resources = holder.get("resources") or {}
    limits = amounts(resources.get("limits"))
    return limits if kind == "limits" else limits | amounts(resources.get("requests"))


def _sum(parts: Iterable[Amounts]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total
