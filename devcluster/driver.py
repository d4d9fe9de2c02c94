"""The interface of a development cluster, whichever driver made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class SimulatedNodes:
    """Nodes that exist in the API only: pods bound to them become Running at once, nothing executes.

    ``allocatable`` are Kubernetes quantities by resource name. ``tainted`` keeps ordinary pods off them: a pod then
    needs a toleration of ``kwok.x-k8s.io/node=fake:NoSchedule``.
    """

    count: int
    prefix: str = "simulated"
    allocatable: Mapping[str, str] = field(
        default_factory=lambda: {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"}
    )
    labels: Mapping[str, str] = field(default_factory=dict)
    tainted: bool = True


@dataclass(frozen=True)
class Status:
    """What a cluster looks like now; ``problems`` say what is wrong and where to look, empty when all is well."""

    name: str
    driver: str
    running: bool
    problems: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        return self.running and not self.problems


class Cluster(Protocol):
    """A running cluster. Every method raises DevclusterError with one clear sentence where it cannot do its part."""

    @property
    def name(self) -> str: ...

    @property
    def kubeconfig(self) -> Path:
        """File that gives administrator access; self-contained."""
        ...

    def load_image(self, image: str) -> list[str]:
        """Make ``image`` (a docker-archive file, or a name in local storage) runnable; return the names loaded.

        An image that the node has already, by name and content, is skipped and not in the answer.
        """
        ...

    def add_simulated_nodes(self, nodes: SimulatedNodes) -> None:
        """Create ``nodes`` and return when they are Ready; repeating it changes nothing."""
        ...

    def status(self) -> Status: ...

    def down(self) -> None:
        """Remove all that was made for this cluster; repeating it changes nothing."""
        ...
