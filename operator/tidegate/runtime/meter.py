"""What was counted at the last look at the checks: the only thing that a running operator remembers by itself.

It is not worth a write: an operator that begins anew has no window at its first look, and one from then on. A reading
is replaced only after the status that rests on it was written, so that no request is judged twice or never.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tidegate.domain.checks.meter import window
from tidegate.domain.checks.windows import Window
from tidegate.domain.routing import RouterReport


@dataclass(frozen=True)
class Measured:
    """The routers' counts at one moment, for the pair of revisions that is compared."""

    pair: tuple[str, str]
    at: datetime
    reports: Mapping[str, RouterReport]


class Meter:
    """Readings by model. One model is looked at by one thread at a time."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], Measured] = {}

    def window(self, namespace: str, name: str, measured: Measured) -> Window | None:
        """What was counted since the last look; None when there is no earlier reading of this pair."""
        last = self._last.get((namespace, name))
        if last is None or last.pair != measured.pair:
            self.use(namespace, name, measured)
            return None
        seconds = (measured.at - last.at).total_seconds()
        return window(last.reports, measured.reports, *measured.pair, seconds)

    def use(self, namespace: str, name: str, measured: Measured) -> None:
        """The next window begins here."""
        self._last[namespace, name] = measured

    def forget(self, namespace: str, name: str) -> None:
        """Nothing is compared any more."""
        self._last.pop((namespace, name), None)
