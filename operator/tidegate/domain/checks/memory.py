"""What a check remembers between looks: small enough for a status, and enough to go on after a restart."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tidegate.domain.checks.evidence import Bet

KEPT = 0.98


@dataclass(frozen=True)
class Tally:
    """Requests that were judged, and those of them that were bad in the sense of the check."""

    requests: int = 0
    bad: int = 0

    def plus(self, requests: int, bad: int) -> "Tally":
        """The tally with more requests."""
        return Tally(self.requests + requests, self.bad + bad)

    @property
    def percent(self) -> float:
        return 100 * self.bad / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Recent:
    """The same for both revisions, of late: at each look what came before counts 2 % less, so it reaches back 50 looks.

    It only says on which side of a margin the canary is now. A canary that was good for a day and turned bad is
    measured as bad within a minute or two.
    """

    canary_requests: float = 0.0
    canary_bad: float = 0.0
    stable_requests: float = 0.0
    stable_bad: float = 0.0

    def after(self, canary: Tally, stable: Tally) -> "Recent":
        """With one more look."""
        new = (canary.requests, canary.bad, stable.requests, stable.bad)
        return Recent(*(round(KEPT * old + more, 3) for old, more in zip(self.numbers(), new, strict=True)))

    def numbers(self) -> tuple[float, float, float, float]:
        """The four sums, in the order of the fields."""
        return self.canary_requests, self.canary_bad, self.stable_requests, self.stable_bad

    @property
    def excess_points(self) -> float:
        """How many percentage points more of the canary's requests were bad than of stable's."""
        if not self.canary_requests or not self.stable_requests:
            return 0.0
        return 100 * (self.canary_bad / self.canary_requests - self.stable_bad / self.stable_requests)


@dataclass(frozen=True)
class Memory:
    """The state of one check during one rollout.

    ``failed`` never becomes False again. ``step_requests`` counts the canary's since the current step began.
    ``canary`` and ``stable`` are what was compared with each other since the rollout began, ``recent`` the same of
    late; ``limited`` is what was held against the absolute limit, ``noise`` what was asked of stable twice. The bets
    are the evidence against "no worse than stable", "no worse than the limit", "no worse than stable plus the margin",
    "no worse than so much noise" and "there is so much noise". ``breached_seconds`` is for PromQL: how long the value
    has been beyond its limit without a break.
    """

    failed: bool = False
    step_requests: int = 0
    canary: Tally = field(default_factory=Tally)
    stable: Tally = field(default_factory=Tally)
    limited: Tally = field(default_factory=Tally)
    noise: Tally = field(default_factory=Tally)
    recent: Recent = field(default_factory=Recent)
    against_stable: Bet = field(default_factory=Bet)
    against_limit: Bet = field(default_factory=Bet)
    against_margin: Bet = field(default_factory=Bet)
    above_noise: Bet = field(default_factory=Bet)
    against_noise: Bet = field(default_factory=Bet)
    breached_seconds: float = 0.0

    def at_a_new_step(self) -> "Memory":
        """The memory when the weight has risen: the evidence stays, the minimum of requests starts again."""
        return replace(
            self,
            step_requests=0,
            against_stable=self.against_stable.at_a_new_step(),
            against_limit=self.against_limit.at_a_new_step(),
            against_margin=self.against_margin.at_a_new_step(),
            above_noise=self.above_noise.at_a_new_step(),
        )

    def to_wire(self) -> dict[str, Any]:
        """JSON for a status: at most a few hundred bytes; what is at its default is left out."""
        wire: dict[str, Any] = {"failed": True} if self.failed else {}
        for name, number in (("stepRequests", self.step_requests), ("breachedSeconds", self.breached_seconds)):
            wire |= {name: number} if number else {}
        for name, tally in self._tallies().items():
            wire |= {name: [tally.requests, tally.bad]} if tally != Tally() else {}
        wire |= {"recent": list(self.recent.numbers())} if self.recent != Recent() else {}
        for name, bet in self._bets().items():
            wire |= {name: {"looks": bet.looks, "unplaced": bet.unplaced, "logs": list(bet.logs)}} if bet.logs else {}
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "Memory":
        """The memory that ``to_wire`` wrote. Raises ValueError, TypeError or KeyError for anything else."""
        stable_bet, limit_bet, margin_bet, above_noise, against_noise = (_bet(wire.get(name)) for name in cls()._bets())
        tallies = (Tally(*(int(n) for n in wire.get(name, (0, 0)))) for name in cls()._tallies())
        canary, stable, limited, noise = tallies
        return cls(
            failed=wire.get("failed", False) is True,
            step_requests=int(wire.get("stepRequests", 0)),
            canary=canary,
            stable=stable,
            limited=limited,
            noise=noise,
            recent=Recent(*(float(n) for n in wire.get("recent", ()))),
            against_stable=stable_bet,
            against_limit=limit_bet,
            against_margin=margin_bet,
            above_noise=above_noise,
            against_noise=against_noise,
            breached_seconds=float(wire.get("breachedSeconds", 0.0)),
        )

    def _tallies(self) -> dict[str, Tally]:
        return {"canary": self.canary, "stable": self.stable, "limited": self.limited, "noise": self.noise}

    def _bets(self) -> dict[str, Bet]:
        return {
            "againstStable": self.against_stable,
            "againstLimit": self.against_limit,
            "againstMargin": self.against_margin,
            "aboveNoise": self.above_noise,
            "againstNoise": self.against_noise,
        }


def _bet(wire: Mapping[str, Any] | None) -> Bet:
    if wire is None:
        return Bet()
    return Bet(int(wire["looks"]), float(wire["unplaced"]), tuple(float(value) for value in wire["logs"]))


@dataclass(frozen=True)
class Terms:
    """What all checks of a rollout share, and this check's part of the error probability.

    ``alpha`` is the highest probability with which this check may roll back a canary that is equal to stable and
    within the limits, over the whole rollout. ``min_requests`` of the canary in the current step hold back a Pass,
    never a Fail.
    """

    alpha: float
    min_requests: int = 100

    @property
    def needed(self) -> float:
        return 1 / self.alpha
