"""One model whose rollouts are watched, and what its clients must see of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from e2e_load import Load
from e2e_models import Bundle
from e2e_world import Raw, Space

MODEL = "adder"
SIGMAS = 4.5
"""How far a share may be from its weight, in standard deviations: a right split is beyond it once in 150,000 times."""


@dataclass
class Serving:
    """A model that serves in a namespace of its own; loads upon it are written into a folder."""

    space: Space
    folder: Path
    count: int = 0

    def status(self) -> Raw:
        """Its status."""
        return self.space.status(MODEL)

    def stable(self) -> str:
        """Version that serves."""
        return str(self.status()["stable"]["version"])

    def other(self) -> Bundle:
        """A bundle of another version than the one that serves."""
        return self.space.world.bundles["adder:2" if self.stable() == "1" else "adder:1"]

    def until(self, check: Callable[[], object], what: str, seconds: float = 120) -> None:
        """Wait until a check is true."""
        self.space.until(check, what, seconds=seconds)

    def alone(self, pods: int) -> bool:
        """True when exactly so many pods are there, and all of them are ready."""
        selector = f"tidegate.dev/model={MODEL},tidegate.dev/component=server"
        return len(self.space.objects("pods", selector)) == len(self.space.ready_servers(MODEL)) == pods

    def settle(self, pods: int = 2) -> None:
        """Wait until the newest spec serves with exactly so many pods, and none is on its way out."""

        def settled() -> bool:
            return self.space.condition(MODEL).get("status") == "True" and self.alone(pods)

        self.until(settled, f"{MODEL} is Ready with {pods} pods and no other", 180)

    def next_file(self) -> Path:
        """Where the next load writes."""
        self.count += 1
        return self.folder / f"load-{self.count}.tsv"


@dataclass
class Watched:
    """What was seen of a rollout: when each weight was in effect, and the pods before promotion."""

    started: dict[int, datetime] = field(default_factory=dict)
    pods: dict[str, str] = field(default_factory=dict)


def watch(model: Serving) -> Watched:
    """Look at a rollout until it is over."""
    seen = Watched()

    def over() -> bool:
        rollout = model.status().get("rollout")
        if rollout and "stepStartedAt" in rollout:
            seen.started.setdefault(rollout["weight"], datetime.fromisoformat(rollout["stepStartedAt"]))
            seen.pods = model.space.ready_servers(MODEL, rollout["revision"])
        return model.space.condition(MODEL).get("status") == "True"

    model.until(over, "the rollout is over")
    return seen


def allowed(weight: int, requests: int) -> float:
    """How far the share of a right split may be from a weight in percent, among so many requests."""
    return SIGMAS * math.sqrt(weight / 100 * (1 - weight / 100) / requests)


def check_share(space: Space, what: str, weight: int, part: int, requests: int) -> None:
    """``part`` of so many requests is as near to a weight in percent as chance allows."""
    share, bound = part / requests, allowed(weight, requests)
    space.say(f"{what}: {share:.1%} of {requests} answers, allowed {weight} +- {100 * bound:.1f} %")
    assert abs(share - weight / 100) <= bound


def check_shares(space: Space, load: Load, seen: Watched, revision: str, *, hold: float, after: float = 0) -> None:
    """A revision had its weights of the answers, ``after`` seconds into each step of ``hold`` seconds."""
    for weight in (20, 60):
        begun = seen.started[weight].timestamp()
        shares = load.shares(begun + after, begun + hold)
        check_share(space, f"weight {weight} %", weight, shares[revision], shares.total())
