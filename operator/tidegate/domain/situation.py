"""Everything one look at a ModelDeployment has worked out, before it is told as status and events."""

from dataclasses import dataclass

from tidegate.api.status import Override, RolloutStatus, StartupStatus
from tidegate.domain.artifact import Resolution
from tidegate.domain.choice import Choice
from tidegate.domain.diagnose import Cause
from tidegate.domain.revision import StoredRevision
from tidegate.domain.routing import Route
from tidegate.domain.traffic import Fleet


@dataclass(frozen=True)
class Situation:
    """``settled`` is True when every ready router splits requests as wanted; ``routers_ready`` when there is any.

    ``startup`` is what was measured before this look. ``gateway`` names the Gateway that routes, where one does.
    """

    resolution: Resolution
    cause: Cause | None = None
    target: StoredRevision | None = None
    stable: StoredRevision | None = None
    stable_fleet: Fleet | None = None
    canary: StoredRevision | None = None
    canary_fleet: Fleet | None = None
    rollout: RolloutStatus | None = None
    promoted: bool = False
    choice: Choice | None = None
    route: Route | None = None
    settled: bool = False
    startup: StartupStatus | None = None
    routers_ready: bool = False
    gateway: str = ""

    @property
    def given_up(self) -> bool:
        """True when what spec asks for was tried and does not run."""
        return self.override is not None or (self.rollout is not None and self.rollout.aborted is not None)

    @property
    def override(self) -> Override | None:
        """What runs instead of what spec asks for."""
        return self.choice.override if self.choice else None

    @property
    def in_place(self) -> bool:
        """True when the revision that should run is the stable one."""
        return self.target is not None and self.stable is not None and self.target.name == self.stable.name

    @property
    def first(self) -> bool:
        """True until some revision has served."""
        return self.stable is None
