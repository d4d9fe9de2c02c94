"""From what the routers have counted at two looks to the window that the checks judge."""

from collections.abc import Mapping
from typing import Protocol

from tidegate.domain.checks.windows import Reading, Traffic, Window, between


class Counted(Protocol):
    """A router's report: what it has counted since it started, by revision."""

    @property
    def traffic(self) -> Mapping[str, Traffic]: ...


def readings(reports: Mapping[str, Counted], stable: str, canary: str) -> dict[str, Reading]:
    """What each router has counted, by router; one that did not count for both revisions is left out."""
    return {
        router: Reading(stable=report.traffic[stable], canary=report.traffic[canary])
        for router, report in reports.items()
        if stable in report.traffic and canary in report.traffic
    }


def window(
    before: Mapping[str, Counted], after: Mapping[str, Counted], stable: str, canary: str, seconds: float
) -> Window:
    """Stable's and the canary's requests between two looks that were ``seconds`` apart, over all routers.

    A window covers both revisions or neither: a router that did not count for both at both looks adds nothing, and
    where none did, ``stable`` and ``canary`` of the window are None. A router that restarted counts from 0.
    """
    old, new = readings(before, stable, canary), readings(after, stable, canary)
    both = {router for router in old.keys() & new.keys() if not _begun_anew(old[router], new[router])}
    found = between({r: old[r] for r in both}, {r: new[r] for r in both})
    return Window(seconds, *found) if found else Window(seconds)


def _begun_anew(old: Reading, new: Reading) -> bool:
    """True when a router that did not restart counts one revision from 0, because it had forgotten it meanwhile.

    Only a restart sets all counts back; without one, the other revision's counts are older than this window.
    """
    pairs = ((old.stable, new.stable), (old.canary, new.canary))
    gone_back = any(now.requests < was.requests for was, now in pairs)
    gone_on = any(now.requests >= was.requests > 0 for was, now in pairs)
    return gone_back and gone_on
