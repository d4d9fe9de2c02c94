"""How long a pod took to start, part by part, from the times that Kubernetes keeps of it; and what follows from that.

Kubernetes keeps times in whole seconds, by the clocks of the API server and of the node. It cannot tell apart what one
container does: ``fetch`` holds the check of every file, for the packager hashes while it fetches, and ``load`` holds
the warm-up, for Triton answers that a model is ready only after it. ``pull`` is all that happens before a container
starts: volumes, the sandbox, pulling its image. Image volumes have no ``fetch``: their bundle comes with ``pull``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from statistics import median

from tidegate.domain.diagnose import FETCH_CONTAINER, SERVER_CONTAINER
from tidegate.domain.observed import PodView, Raw, parse_time

DEFAULT_DEADLINE = timedelta(minutes=15)
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(hours=1)
SLACK = 10
"""How many times as long as before a start may take."""


@dataclass(frozen=True)
class Startup:
    """Seconds of one start; a part is None when nothing tells it.

    The parts add up to ``total`` when all of them are there.
    """

    total: float
    schedule: float | None = None
    pull: float | None = None
    fetch: float | None = None
    load: float | None = None

    @property
    def placed(self) -> float:
        """Seconds from when the pod had a node: how long it waited for one says nothing about the next start."""
        return self.total - (self.schedule or 0)


def startup(pod: PodView) -> Startup | None:
    """How the start of a ready pod went; None for one that is not ready, or that was started more than once.

    A pod that lost its readiness and got it back without a restart looks as if it had taken that long: record what is
    seen first.
    """
    meta = pod.raw["metadata"]
    created, ready = parse_time(meta.get("creationTimestamp")), _since(pod, "Ready")
    fetching, serving = _status(pod, FETCH_CONTAINER), _status(pod, SERVER_CONTAINER)
    if created is None or ready is None or serving is None or _restarted(serving):
        return None
    scheduled, started = _since(pod, "PodScheduled"), _time(serving, "running", "startedAt")
    fetch = pull = None
    if fetching is None:
        pull = _between(scheduled, started)
    elif not _restarted(fetching):
        begun, done = _time(fetching, "terminated", "startedAt"), _time(fetching, "terminated", "finishedAt")
        before, after = _between(scheduled, begun), _between(done, started)
        fetch = _between(begun, done)
        pull = before + after if before is not None and after is not None else None
    return Startup(
        total=_between(created, ready) or 0.0,
        schedule=_between(created, scheduled),
        pull=pull,
        fetch=fetch,
        load=_between(started, ready),
    )


def typical(starts: Iterable[Startup]) -> Startup | None:
    """The median of each part over several starts; None without any."""
    found = list(starts)
    if not found:
        return None

    def middle(values: Iterable[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return median(known) if known else None

    return Startup(
        total=median(s.total for s in found),
        schedule=middle(s.schedule for s in found),
        pull=middle(s.pull for s in found),
        fetch=middle(s.fetch for s in found),
        load=middle(s.load for s in found),
    )


def progress_deadline(given: timedelta | None, measured: float | None) -> timedelta:
    """How long a revision may take to become ready.

    What a user gave wins. Else it is ten times the seconds that an earlier revision was measured to take from its node
    to ready, at least 5 minutes and at most an hour; without a measurement 15 minutes.
    """
    if given is not None:
        return given
    if measured is None or not isfinite(measured) or measured < 0:
        return DEFAULT_DEADLINE
    return timedelta(seconds=min(max(measured * SLACK, SHORTEST.total_seconds()), LONGEST.total_seconds()))


def _since(pod: PodView, condition: str) -> datetime | None:
    found = pod.conditions.get(condition, {})
    return parse_time(found.get("lastTransitionTime")) if found.get("status") == "True" else None


def _status(pod: PodView, name: str) -> Raw | None:
    return next((c for c in pod.containers() if c["name"] == name), None)


def _restarted(container: Raw) -> bool:
    return bool(container.get("restartCount"))


def _time(container: Raw, state: str, at: str) -> datetime | None:
    return parse_time(container.get("state", {}).get(state, {}).get(at))


def _between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds between two times; clocks that differ do not make time run backwards."""
    return max(0.0, (end - start).total_seconds()) if start and end else None
