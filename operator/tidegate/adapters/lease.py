"""The Lease object that says which operator acts."""

from datetime import UTC, datetime
from typing import Any

from tidegate.adapters.api import ApiServer
from tidegate.adapters.errors import NotFound


class LeaseLock:
    """Reads and writes one coordination.k8s.io Lease; every write names the version that it replaces."""

    def __init__(self, api: ApiServer, namespace: str, name: str) -> None:
        self._api = api
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name

    def read(self) -> dict[str, Any] | None:
        """The Lease as it is; None when there is none."""
        try:
            return self._api.request("GET", f"{self._folder}/{self._name}")
        except NotFound:
            return None

    def write(self, existing: dict[str, Any] | None, holder: str | None, duration: int) -> None:
        """Take, renew or (with no holder) give up the lease. Raises Conflict when somebody else was quicker."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        before = (existing or {}).get("spec", {})
        taken = before.get("holderIdentity") != holder
        spec = {
            "holderIdentity": holder or "",
            "leaseDurationSeconds": duration,
            "renewTime": now,
            "acquireTime": now if taken else before.get("acquireTime", now),
            "leaseTransitions": before.get("leaseTransitions", 0) + (1 if taken and holder else 0),
        }
        body: dict[str, Any] = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
        if existing is None:
            body["metadata"] = {"name": self._name}
            self._api.request("POST", self._folder, content_type="application/json", body=body)
            return
        body["metadata"] = {"name": self._name, "resourceVersion": existing["metadata"]["resourceVersion"]}
        self._api.request("PUT", f"{self._folder}/{self._name}", content_type="application/json", body=body)
