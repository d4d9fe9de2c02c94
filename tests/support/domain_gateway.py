"""A Gateway made of plain values: it accepts a changed route after a while, and gives the accepted weights then."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gateway_status import parent_status

from tidegate.api.v1alpha1 import Gateway
from tidegate.domain.observed import Subject
from tidegate.domain.routing import Route
from tidegate.resources.gateway import grpc_route, http_route

Raw = dict[str, Any]
ACCEPT_AFTER = timedelta(seconds=2)


@dataclass
class GatewayState:
    """Both routes as the API server has them, and the weights in effect by kind and Service."""

    subject: Subject
    routes: dict[str, Raw] = field(default_factory=dict)
    effective: dict[str, dict[str, int]] = field(default_factory=dict)
    refused: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """What the Gateway has against a kind of route: reason and message by type of condition."""
    deaf: bool = False
    """True while no controller looks at routes."""
    _changed: dict[str, datetime | None] = field(default_factory=dict)

    def put(self, route: Route, gateway: Gateway) -> bool:
        """Server-side apply of both; True when any of them changed."""
        wanted = [http_route(self.subject, route, gateway), grpc_route(self.subject, route, gateway)]
        changed = [self._apply(item) for item in wanted]
        return any(changed)

    def _apply(self, item: Raw) -> bool:
        old = self.routes.get(item["kind"])
        if old and old["spec"] == item["spec"] and old["metadata"]["annotations"] == item["metadata"]["annotations"]:
            return False
        generation = old["metadata"]["generation"] if old else 0
        # As in Kubernetes, an annotation alone makes no new generation.
        same = old is not None and old["spec"] == item["spec"]
        meta = item["metadata"] | {"generation": generation if same else generation + 1}
        self.routes[item["kind"]] = item | {"metadata": meta, "status": old["status"] if old else {}}
        if not same:
            self._changed[item["kind"]] = None
        return True

    def objects(self) -> list[Raw]:
        """The routes as the API server gives them."""
        return list(self.routes.values())

    def weights(self, kind: str) -> dict[str, int]:
        """Positive weights that were written, by Service."""
        rules = self.routes[kind]["spec"].get("rules") or [{}]
        references = rules[-1].get("backendRefs", ())
        return {ref["name"]: ref["weight"] for ref in references if ref["weight"]}

    def step(self, now: datetime) -> None:
        """The controller looks at what changed."""
        for kind, item in () if self.deaf else self.routes.items():
            since = self._changed[kind] = self._changed.get(kind) or now
            if now - since >= ACCEPT_AFTER:
                refused = self.refused.get(kind, {})
                item["status"] = parent_status(item, now, **refused)
                if not refused:
                    self.effective[kind] = self.weights(kind)
