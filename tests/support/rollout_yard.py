"""Pods of two revisions that start and end slowly, and routers that take over a weight one after the other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tidegate.domain.rollout.sizing import Pods, Scene, Sizes


@dataclass
class Side:
    """Pods of one revision."""

    wanted: int = 0
    starting: int = 0
    ready: int = 0
    leaving: int = 0

    @property
    def there(self) -> int:
        return self.starting + self.ready + self.leaving

    def seen(self) -> Pods:
        alive = self.starting + self.ready
        return Pods(wanted=self.wanted, ready=self.ready, alive=alive, leaving=self.leaving)

    def resize(self) -> None:
        """What a Deployment does: pods that are not ready go first."""
        while self.starting + self.ready < self.wanted:
            self.starting += 1
        while self.starting and self.starting + self.ready > self.wanted:
            self.starting -= 1
        while self.ready > self.wanted:
            self.ready -= 1
            self.leaving += 1


@dataclass
class Yard:
    """One rollout; ``routed`` is the canary's share at each router."""

    stable: Side
    canary: Side
    weight: int
    chance: Random
    routed: list[int] = field(default_factory=list)
    most: int = 0

    def __post_init__(self) -> None:
        self.routed = self.routed or [self.weight, self.weight]
        self.most = self.there

    @property
    def there(self) -> int:
        """Pods that hold a place now."""
        return self.stable.there + self.canary.there

    def scene(self) -> Scene:
        settled = set(self.routed) == {self.weight}
        return Scene(stable=self.stable.seen(), canary=self.canary.seen(), weight=self.weight, settled=settled)

    def obey(self, asked: Sizes) -> None:
        """Ask for what was decided; the cluster does it a moment later."""
        self.stable.wanted, self.canary.wanted, self.weight = asked.stable, asked.canary, asked.weight

    def pass_time(self, *, all_of_it: bool = False) -> None:
        """Some of what is under way is done."""
        sides = [self.stable, self.canary]
        self.chance.shuffle(sides)
        for side in sides:
            if all_of_it or self.chance.random() < 0.8:
                side.resize()
            started = side.starting if all_of_it else self.chance.randint(0, side.starting)
            side.starting -= started
            side.ready += started
            side.leaving = 0 if all_of_it else self.chance.randint(0, side.leaving)
            self.most = max(self.most, self.there)
        for index in range(len(self.routed)):
            if all_of_it or self.chance.random() < 0.6:
                self.routed[index] = self.weight

    def run(self, law: Callable[[Scene], Sizes], check: Callable[[], None], looks: int = 2000) -> int:
        """Look again and again until nothing changes any more; how many looks that took."""
        quiet = 0
        for look in range(looks):
            before = repr(self)
            self.obey(law(self.scene()))
            check()
            self.pass_time(all_of_it=quiet > 0)
            check()
            quiet = quiet + 1 if repr(self) == before else 0
            if quiet == 2:
                return look
        raise AssertionError(f"not at rest after {looks} looks: {self}")


@dataclass
class GpuYard(Yard):
    """A yard with so many accelerators; a pod takes one from when it is placed until it has gone.

    Nobody else asks for them. Pods of stable are placed first, as they would be that had one before.
    """

    accelerators: int = 0

    def free(self) -> int:
        """Accelerators that nobody holds."""
        return self.accelerators - sum(s.ready + s.leaving for s in (self.stable, self.canary))

    def pass_time(self, *, all_of_it: bool = False) -> None:
        """Pods that end are gone a moment later; those that wait become ready where there is an accelerator."""
        for side in (self.stable, self.canary):
            side.resize()
        self.most = max(self.most, self.there)
        for side in (self.stable, self.canary):
            side.leaving = 0
            started = min(side.starting, max(0, self.free()))
            side.starting -= started
            side.ready += started
        self.routed = [self.weight for _ in self.routed]

    def waiting(self) -> int:
        """Canary pods without a place."""
        return self.canary.starting
