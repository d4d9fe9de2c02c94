"""Everything one look at a ModelDeployment has worked out, before it is told as status and events."""

from dataclasses import dataclass

from tidegate.api.autoscaling import ScalingStatus
from tidegate.api.status import Override, RolloutStatus, StartupStatus
from tidegate.domain.artifact import Resolution
from tidegate.domain.choice import Choice
from tidegate.domain.diagnose import Cause
from tidegate.domain.direct import percent, selected
from tidegate.domain.revision import StoredRevision
from tidegate.domain.rollout.steps import FULL
from tidegate.domain.routing import Route
from tidegate.domain.traffic import Fleet


@dataclass(frozen=True)
class Situation:
    """``settled`` is True when every ready router splits requests as wanted; ``routers_ready`` when there is any.

    ``startup`` is what was measured before this look. ``gateway`` names the Gateway that routes, where one does.
    ``by_pods`` is True where a Service routes, so that shares come from numbers of pods, and ``strangers`` counts the
    pods of other revisions that keep it from selecting both of a rollout.
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
    scaling: ScalingStatus | None = None
    gateway: str = ""
    by_pods: bool = False
    strangers: int = 0

    @property
    def router(self) -> str:
        """Who routes, as sentences name it."""
        if self.by_pods:
            return "the Service"
        return f"Gateway {self.gateway}" if self.gateway else "every router"

    @property
    def unrouted(self) -> str:
        """Why pods that are ready get no request while nobody routes, as sentences go on."""
        if self.by_pods:
            return "the Service does not lead to any yet"
        return f"Gateway {self.gateway} has not accepted the routes" if self.gateway else "no router is"

    @property
    def pods_told(self) -> str:
        """The share that pods make of a rollout's connections, where they do."""
        stable, canary = self.stable_fleet, self.canary_fleet
        shared = self.route is not None and len(selected(self.route)) > 1
        if not (self.by_pods and shared and stable and canary and self.rollout):
            return ""
        made = f"{canary.ready} of {canary.ready + stable.ready} ready pods are of {canary.revision}"
        return f"{made}: {percent(canary.ready, stable.ready)} % of new connections, {self.rollout.weight} % are wanted"

    def share(self, revision: str) -> int:
        """Share of a revision in percent: as told to routers, or as ready pods make it."""
        if self.route is None:
            return 0
        fleets = [f for f in (self.stable_fleet, self.canary_fleet) if f and self.route.weight(f.revision)]
        if not self.by_pods or len(fleets) < 2 or not any(f.ready for f in fleets):
            return self.route.weight(revision)
        stable, canary = fleets
        share = percent(canary.ready, stable.ready)
        return {canary.revision: share, stable.revision: FULL - share}.get(revision, 0)

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
