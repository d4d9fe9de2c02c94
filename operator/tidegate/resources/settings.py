"""What an installation decides for every model: images and sizes of the operator's own parts."""

from dataclasses import dataclass, field

from tidegate.domain.revision import Pins

DEFAULT_REQUESTS = {"cpu": "100m", "memory": "128Mi"}
DEFAULT_LIMITS = {"memory": "512Mi"}
READY_TIMEOUT_SECONDS = 5
"""On a busy node answers take seconds. Were all pods of a model unready at once, its Service would refuse requests."""


@dataclass(frozen=True)
class Settings:
    """``drain_seconds`` is how long a pod serves on after it is told to go; it must exceed DNS staleness."""

    packager_image: str
    router_image: str
    observer_image: str = "tidegate/observer"
    router_replicas: int = 2
    router_requests: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_REQUESTS))
    router_limits: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    drain_seconds: int = 40
    operator_namespace: str = "tidegate-system"
    cluster_domain: str = "cluster.local"
    image_pull_policy: str = "IfNotPresent"

    @property
    def pins(self) -> Pins:
        """What revisions that are made now keep of this."""
        return Pins(
            packager_image=self.packager_image,
            drain_seconds=self.drain_seconds,
            ready_timeout_seconds=READY_TIMEOUT_SECONDS,
        )
