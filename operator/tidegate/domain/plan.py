"""What should be: the answer of :func:`tidegate.domain.compute.compute`, in the terms of the domain.

A plan names everything that should exist for one ModelDeployment; what exists and is not in the plan goes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from tidegate.api.v1alpha1 import Gateway, SecretKeyReference, SecretReference
from tidegate.domain.revision import StoredRevision
from tidegate.domain.routing import Route, Table
from tidegate.domain.scaling.policy import State
from tidegate.domain.watching import Watching


@dataclass(frozen=True)
class Base:
    """The bundle that serves now, by digest: what a new one must not take away from its clients."""

    digest: str
    uri: str
    credentials: SecretReference | None


@dataclass(frozen=True)
class Resolve:
    """A Job that reads one bundle's manifest, and checks its signature where there is a ``public_key``.

    With a ``base`` it also compares the contract of the two.
    """

    key: str
    attempt: int
    uri: str
    digest: str | None
    credentials: SecretReference | None
    service_account: str | None
    image_pull_secrets: tuple[str, ...] = ()
    public_key: SecretKeyReference | None = None
    base: Base | None = None


@dataclass(frozen=True)
class Replay:
    """A Job that replays a revision's golden cases on its ready pods, whose ``addresses`` are plain IP addresses."""

    revision: str
    attempt: int
    uri: str
    digest: str
    addresses: tuple[str, ...]
    credentials: SecretReference | None
    service_account: str | None
    image_pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workload:
    """The pods of one revision."""

    revision: StoredRevision
    replicas: int
    role: Literal["stable", "canary"]


@dataclass(frozen=True)
class Poke:
    """A router pod that should read its configuration now; the kubelet would let it wait for over a minute."""

    pod: str
    mark: str


@dataclass(frozen=True)
class Event:
    """One line in the history that people read."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """Everything that should exist, and when to look again.

    A plan without a ``route`` touches nothing that exists. The route is in the ``table`` of the model's router, or is
    attached to the ``gateway``, or else is the ``selector`` of the model's Service. ``unread`` names revisions that
    still get requests but whose ControllerRevision is gone or cannot be read: their objects stay as they are. ``again``
    is None when nothing but an event can change the answer. ``looked`` says that the window of requests was used up:
    the next one begins now.
    ``watching`` is what the namespace's observer should watch; None leaves it as it is. ``scaling`` is what the policy
    of the size learned, for the next look.
    """

    resolve: Resolve | None = None
    revisions: tuple[StoredRevision, ...] = ()
    workloads: tuple[Workload, ...] = ()
    unread: frozenset[str] = frozenset()
    route: Route | None = None
    table: Table | None = None
    gateway: Gateway | None = None
    selector: Mapping[str, str] | None = None
    pokes: tuple[Poke, ...] = ()
    events: tuple[Event, ...] = ()
    again: timedelta | None = None
    looked: bool = False
    replay: Replay | None = None
    watching: Watching | None = None
    scaling: State | None = None
