"""A Service that leads to pods, as plain values: EndpointSlices follow it and the pods, and kube-proxy follows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from domain_objects import Raw, wire_time

from tidegate.domain.direct import SLICE
from tidegate.domain.labels import COMPONENT, MODEL, REVISION
from tidegate.domain.observed import Subject
from tidegate.domain.routing import Route
from tidegate.resources.front import direct_service

PROXIED_AFTER = timedelta(seconds=3)
"""How long the slowest node takes to go by changed slices."""


@dataclass(frozen=True)
class Seen:
    """A server pod as the cluster knows it."""

    name: str
    revision: str
    ready: bool


@dataclass
class ServiceState:
    """The Service as the API server has it, its slice, and where the slowest node sends connections."""

    subject: Subject
    service: Raw = field(default_factory=dict)
    shown: frozenset[str] = frozenset()
    led: frozenset[str] = frozenset()
    """Names of the pods that get connections."""
    deaf: bool = False
    """True while no controller brings slices up to date."""
    writes: list[Mapping[str, str]] = field(default_factory=list)
    """Every selector that was written."""
    _written: datetime | None = None
    _turned: datetime | None = None

    def put(self, route: Route, selector: Mapping[str, str], now: datetime) -> bool:
        """Server-side apply; True when anything changed."""
        wanted = direct_service(self.subject, route, selector)
        if {k: v for k, v in self.service.items() if k != "apiVersion"} == _without(wanted):
            return False
        if self.service.get("spec", {}).get("selector") != dict(selector):
            self.writes.append(dict(selector))
        self.service, self._written = _without(wanted), now
        return True

    def objects(self) -> list[Raw]:
        """The slice as the API server gives it."""
        if self._turned is None:
            return []
        endpoints: list[Raw] = [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": name}}
            for name in sorted(self.shown)
        ]
        meta = {"name": f"{self.subject.name}-x", "managedFields": [{"time": wire_time(self._turned)}]}
        return [{"kind": SLICE, "addressType": "IPv4", "metadata": meta, "endpoints": endpoints}]

    def wire(self) -> Raw:
        """The Service as the API server gives it."""
        assert self._written is not None
        meta: dict[str, Any] = dict(self.service["metadata"])
        return dict(self.service) | {"metadata": meta | {"managedFields": [{"time": wire_time(self._written)}]}}

    def step(self, pods: Sequence[Seen], now: datetime) -> None:
        """The endpointslice controller looks at what changed, and then the nodes do."""
        chosen = frozenset(pod.name for pod in pods if pod.ready and self.matches(pod.revision))
        if self._turned is not None and now - self._turned >= PROXIED_AFTER:
            self.led = self.shown
        if not self.deaf and (self._turned is None or chosen != self.shown):
            self.shown, self._turned = chosen, now

    @property
    def both(self) -> bool:
        """True while the selector is that of two revisions."""
        selector = self.service["spec"]["selector"]
        return selector[COMPONENT] == "server" and REVISION not in selector

    def matches(self, revision: str) -> bool:
        """True when the selector matches the server pods of a revision."""
        labels = {MODEL: self.subject.name, COMPONENT: "server", REVISION: revision}
        selector = self.service["spec"]["selector"]
        return all(labels.get(name) == value for name, value in selector.items())


def _without(manifest: Raw) -> Raw:
    return {name: value for name, value in manifest.items() if name != "apiVersion"}
