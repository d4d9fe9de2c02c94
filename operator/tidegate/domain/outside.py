"""Routers that are not the operator's own: what each was told, and what is seen of it, asked for in one way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tidegate.domain import direct, gateway
from tidegate.domain.diagnose import Cause
from tidegate.domain.observed import Observed
from tidegate.domain.routing import Route, RouterReport


@dataclass(frozen=True)
class Outside:
    """One kind of router.

    ``written`` is the route that it was told last, ``report`` what it does, ``ready`` whether it brings any requests,
    and ``refusal`` what it has against the route. With ``by_pods`` shares come from numbers of pods.
    """

    written: Callable[[Observed], Route | None]
    report: Callable[[Observed], RouterReport]
    ready: Callable[[Observed], bool]
    refusal: Callable[[Observed], Cause | None]
    by_pods: bool = False


def _nothing(_: Observed) -> Cause | None:
    return None


ROUTERS: Mapping[str, Outside] = {
    "GatewayAPI": Outside(gateway.written, gateway.report, gateway.accepted_once, gateway.refusal),
    "Service": Outside(direct.written, direct.report, direct.shows_pods, _nothing, by_pods=True),
}


def outside(observed: Observed) -> Outside | None:
    """The router of a model that the operator's own routers do not route."""
    return ROUTERS.get(observed.via)


def by_pods(observed: Observed) -> bool:
    """True where shares come from numbers of pods."""
    found = outside(observed)
    return found is not None and found.by_pods
