"""What a running operator remembers by itself: the last counts, and evidence that is not written yet.

Neither is worth a write every two seconds. An operator that begins anew has no window at its first look, and one from
then on; it goes on from evidence that is half a minute old at most. A reading is replaced together with the evidence
that rests on it, so that no request is judged twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tidegate.api.status import ModelDeploymentStatus
from tidegate.domain.checks.comparisons import Comparisons, agreement
from tidegate.domain.checks.meter import readings, window
from tidegate.domain.checks.windows import Window
from tidegate.domain.rollout.carry import WRITE_AFTER, decisions, with_evidence
from tidegate.domain.routing import RouterReport
from tidegate.ports import Found


@dataclass(frozen=True)
class Measured:
    """The routers' counts at one moment, for the pair of revisions that is compared."""

    pair: tuple[str, str]
    at: datetime
    reports: Mapping[str, RouterReport]
    comparisons: Mapping[str, Comparisons] = field(default_factory=dict)


class Meter:
    """Readings and evidence by model. One model is looked at by one thread at a time."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], Measured] = {}
        self._carried: dict[tuple[str, str], ModelDeploymentStatus] = {}
        self._written: dict[tuple[str, str], datetime] = {}

    def recall(self, found: Found) -> ModelDeploymentStatus:
        """The status as read, with the evidence that was not written."""
        carried = self._carried.get((found.subject.namespace, found.subject.name))
        return with_evidence(found.status, carried) if carried else found.status

    def keeps(self, found: Found, status: ModelDeploymentStatus, now: datetime) -> bool:
        """True when the status differs from the one in the cluster by evidence alone, which is kept here for now."""
        key = (found.subject.namespace, found.subject.name)
        self._carried[key] = status
        written = self._written.setdefault(key, now)
        same = decisions(status) == decisions(found.status)
        if same and now - written < WRITE_AFTER:
            return True
        self._written[key] = now
        return False

    def window(self, namespace: str, name: str, measured: Measured) -> Window | None:
        """What was counted since the last look; None when there is no earlier reading of this pair."""
        last = self._last.get((namespace, name))
        if last is None or last.pair != measured.pair:
            self.use(namespace, name, measured)
            return None
        if new := {pod: found for pod, found in measured.comparisons.items() if pod not in last.comparisons}:
            # An observer counts from when it is first seen; the routers' window goes on.
            last = replace(last, comparisons={**last.comparisons, **new})
            self.use(namespace, name, last)
        seconds = (measured.at - last.at).total_seconds()
        found = window(last.reports, measured.reports, *measured.pair, seconds)
        if found.canary is None and readings(measured.reports, *measured.pair):
            # Other routers than then, or routers that did not count then: the next look has something to compare with.
            self.use(namespace, name, measured)
        return replace(found, agreement=agreement(last.comparisons, measured.comparisons, name, *measured.pair))

    def use(self, namespace: str, name: str, measured: Measured) -> None:
        """The next window begins here."""
        self._last[namespace, name] = measured

    def forget(self, namespace: str, name: str) -> None:
        """Nothing is compared any more."""
        for memory in (self._last, self._carried, self._written):
            memory.pop((namespace, name), None)
