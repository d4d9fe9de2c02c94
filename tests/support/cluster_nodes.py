"""What a node does, played against a real API server: the kubelet, the packager's Jobs, and the routers.

The controller manager is real: it makes the pods, and nothing but this runs them. A pod that is bound to no node is
gone as soon as it is deleted.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from domain_objects import digest, uri

from tidegate.adapters.api import ApiServer
from tidegate.adapters.errors import NotFound
from tidegate.domain import names
from tidegate.domain.checks.windows import Bucket, Histogram, Traffic
from tidegate.domain.labels import COMPONENT, CONFIG
from tidegate.domain.observed import PodView, shard_label
from tidegate.domain.routing import RouterReport, Table

Raw = dict[str, Any]
REQUESTS_PER_SECOND = 50
READY: Raw = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [{"name": "triton", "ready": True, "state": {"running": {}}}],
}
CONTRACT: Raw = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 10]}], "maxBatchSize": 8}
STORE = {
    uri(v): {"digest": digest(v), "name": "digits", "version": str(v), "sizeBytes": 4096, **CONTRACT}
    for v in range(1, 8)
}


def waiting(reason: str, message: str) -> Raw:
    """Status of a pod whose server's container does not start."""
    state = {"waiting": {"reason": reason, "message": message}}
    return _unready([{"name": "triton", "state": state}])


def crashed(message: str) -> Raw:
    """Status of a pod whose server ended."""
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}
    backing_off = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    return _unready([{"name": "triton", "state": backing_off, "lastState": ended}])


def _running(address: str) -> Raw:
    """Status of a ready pod."""
    return READY | {"podIP": address, "podIPs": [{"ip": address}]}


def _unready(containers: Sequence[Raw]) -> Raw:
    filled = [{"image": "i", "imageID": "", "ready": False, "restartCount": 0, **c} for c in containers]
    return {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": filled}


class Kubelet:
    """Runs the pods of one namespace.

    By digest: ``sick`` gives the status of a revision's pods, ``contracts`` the verdict beside any other one, and
    ``differing`` has those whose answers are not the recorded ones. ``router_address`` gives the address of a router's
    pod.
    """

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._folder = f"/api/v1/namespaces/{namespace}/pods"
        self._count = 0
        self.store: Mapping[str, Raw] = dict(STORE)
        self.sick: dict[str, Raw] = {}
        self.contracts: dict[str, str] = {}
        self.differing: set[str] = set()
        self.router_address: Callable[[str], str] | None = None

    def pods(self) -> list[Raw]:
        """Every pod of the namespace."""
        return list(self._api.request("GET", self._folder)["items"])

    def sync(self) -> bool:
        """Bring every pod to where it should be; True when any of them changed."""
        changed = False
        for pod in self.pods():
            wanted = self._status(pod)
            if wanted is None or "deletionTimestamp" in pod["metadata"]:
                continue
            self.patch(pod["metadata"]["name"], wanted)
            changed = True
        return changed

    def patch(self, name: str, status: Raw) -> None:
        """Write a pod's status; a pod that is gone meanwhile is none of a kubelet's business."""
        kind = "application/merge-patch+json"
        try:
            self._api.request("PATCH", f"{self._folder}/{name}/status", content_type=kind, body={"status": status})
        except NotFound:
            return

    def _status(self, pod: Raw) -> Raw | None:
        """The status a pod should get now; None when it is as it should be."""
        labels = pod["metadata"]["labels"]
        phase = pod.get("status", {}).get("phase")
        component = labels.get(COMPONENT)
        if component in ("resolve", "parity"):
            ended = phase in ("Succeeded", "Failed")
            return None if ended else _ended(self._resolved(pod) if component == "resolve" else self._replayed(pod))
        digest_label = pod["metadata"].get("annotations", {}).get("tidegate.dev/digest", "")
        if component == "server" and digest_label in self.sick:
            sick = self.sick[digest_label]
            return None if pod.get("status", {}).get("containerStatuses") == sick["containerStatuses"] else sick
        if phase == "Running":
            return None
        if component == "router" and self.router_address:
            return _running(self.router_address(pod["metadata"]["name"]))
        self._count += 1
        address = f"10.{self._count >> 16 & 255}.{self._count >> 8 & 255}.{self._count & 255}"
        return _running(address)

    def _resolved(self, pod: Raw) -> dict[str, Raw]:
        """What each container reports of the store."""
        found = {}
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
            asked, options = container["args"][1], container["args"]
            if container["name"] == "resolve":
                absent = {"reason": "ArtifactNotFound", "message": f"{asked} does not exist"}
                found["resolve"] = self.store.get(asked, absent)
            elif "reason" not in found["resolve"]:
                old, new = options[options.index("--digest") + 1], found["resolve"]["digest"]
                verdict = self.contracts.get(new, "Compatible")
                found["contract"] = {"old": old, "new": new, "verdict": verdict, "message": "the input 'x' is new"}
        return found

    def _replayed(self, pod: Raw) -> dict[str, Raw]:
        """What the golden cases gave."""
        options = pod["spec"]["containers"][0]["args"]
        digest_asked = options[options.index("--digest") + 1]
        report = {"digest": digest_asked, "cases": 3, "servers": options.count("--endpoint"), "maxAbs": 0.0}
        differs = {"reason": "ParityFailed", "message": "1 of 3 answers are not the recorded ones."}
        return {"parity": report | (differs if digest_asked in self.differing else {})}


def _ended(reports: Mapping[str, Raw]) -> Raw:
    """Status of a Job's pod whose containers ended with these reports; the last one is no init container."""
    failed = any("reason" in report for report in reports.values())
    statuses = []
    for name, report in reports.items():
        code = int("reason" in report)
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": json.dumps(report)}
        status = {"name": name, "ready": False, "restartCount": 0, "image": "i", "imageID": ""}
        statuses.append(status | {"state": {"terminated": ended}})
    return {
        "phase": "Failed" if failed else "Succeeded",
        "initContainerStatuses": statuses[:-1],
        "containerStatuses": statuses[-1:],
    }


@dataclass
class Loaded:
    """What one router read last, and at which poke."""

    mark: str = ""
    files: Mapping[str, Any] = field(default_factory=dict)


class Routers:
    """The routers of one namespace. Each reads the ConfigMap when it starts and when it is poked, as kubelets bring it.

    ``distort`` is given every set of reports before the operator gets it.
    """

    def __init__(self, api: ApiServer, kubelet: Kubelet, namespace: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now
        self._begun = now()
        self._kubelet = kubelet
        self.wrong: dict[str, float] = {}
        """Share of the requests that fail, by revision."""
        self._folder = f"/api/v1/namespaces/{namespace}/configmaps"
        self._loaded: dict[str, Loaded] = {}
        self.distort: Callable[[tuple[RouterReport, ...]], tuple[RouterReport, ...]] = lambda reports: reports

    def reports(
        self, routers: Sequence[PodView], table: Table, revisions: Sequence[str] = ()
    ) -> tuple[RouterReport, ...]:
        """One report a router that has an address."""
        addresses = self._addresses()
        found = [self._report(pod, addresses) for pod in routers if pod.address]
        counts = {revision: self._counts(revision) for revision in revisions}
        return self.distort(tuple(replace(report, traffic=counts) for report in found))

    def _counts(self, revision: str) -> Traffic:
        """Every revision gets as many requests a second, whatever its weight."""
        asked = int(REQUESTS_PER_SECOND * (self._now() - self._begun).total_seconds())
        wrong = int(asked * self.wrong.get(revision, 0.0))
        return Traffic(asked, wrong, Histogram((Bucket(10.0, 11.0, asked),)))

    def _addresses(self) -> dict[str, frozenset[str]]:
        """Ready pods by revision, as DNS gives them."""
        found: dict[str, set[str]] = {}
        for pod in map(PodView, self._kubelet.pods()):
            if pod.ready and pod.revision:
                found.setdefault(pod.revision, set()).add(pod.address)
        return {name: frozenset(known) for name, known in found.items()}

    def _report(self, pod: PodView, addresses: Mapping[str, frozenset[str]]) -> RouterReport:
        mark = pod.annotations.get(CONFIG, "")
        loaded = self._loaded.get(pod.name)
        if loaded is None or loaded.mark != mark:
            loaded = self._loaded[pod.name] = Loaded(mark, self._read(shard_label(pod.raw) or 0))
        files = loaded.files
        clusters = [c["name"] for c in files.get("cds.json", {}).get("resources", ())]
        routes = {n[4:-5]: f["version_info"] for n, f in files.items() if n.startswith("rds-")}
        return RouterReport(
            pod=pod.name,
            listeners=files.get("lds.json", {}).get("version_info", ""),
            clusters=files.get("cds.json", {}).get("version_info", ""),
            routes=routes,
            endpoints={c: addresses.get(c.rsplit("-", 1)[0], frozenset()) for c in clusters},
        )

    def _read(self, shard: int) -> Mapping[str, Any]:
        try:
            data = self._api.request("GET", f"{self._folder}/{names.router(shard)}")["data"]
        except NotFound:
            return {}
        return {name: json.loads(text) for name, text in data.items()}
