"""A router in front of two revisions, and what the operator reads of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from envoy_router import Router, eventually
from envoy_servers import RevisionServer

from tidegate.adapters.envoy import EnvoyTelemetry
from tidegate.domain.routing import Backend, Route, RouterReport, Table, knows, up_to_date

STABLE, CANARY = "digits-aaaa1111", "digits-bbbb2222"
NEIGHBOUR = "neighbour"
"""Name of the server behind every other model."""
DIGESTS = {STABLE: "sha256:" + "a" * 64, CANARY: "sha256:" + "b" * 64}
PORT = 20007
NOWHERE = "no-pod.invalid."
"""A name without an address."""


def route(*weights: tuple[str, int], timeout: int = 30, model: str = "digits", port: int = PORT) -> Route:
    """A model's revisions and their weights."""
    split = tuple(Backend(revision=r, weight=w, digest=DIGESTS.get(r, "")) for r, w in weights)
    return Route(model=model, port=port, timeout_seconds=timeout, backends=split)


def neighbour(model: str = "other") -> Route:
    """The route of another model."""
    return route((f"{model}-cccc3333", 100), model=model, port=PORT + 1)


def table(*routes: Route) -> Table:
    """A table with these routes."""
    return Table(routes={r.model: r for r in routes})


@dataclass
class Stage:
    """The router, the servers behind it, and the operator's view."""

    router: Router
    servers: dict[str, RevisionServer]
    telemetry: EnvoyTelemetry = field(default_factory=EnvoyTelemetry)

    def serve(self, *routes: Route) -> RouterReport:
        """Write a table and wait until the router says, as the operator asks it, that it serves exactly that."""
        wanted = table(*routes)
        self.router.write(wanted)
        found: RouterReport = eventually("the router has the whole table", lambda: self._served(wanted))
        return found

    def report(self, wanted: Table, revisions: Sequence[str] = ()) -> RouterReport:
        """What the operator reads now."""
        (found,) = self.telemetry.reports([self.router.pod], wanted, revisions)
        return found

    def _served(self, wanted: Table) -> RouterReport | None:
        found = self.report(wanted)
        return found if up_to_date(found, wanted) else None


@contextmanager
def standing(
    folder: Path, first: Table, names: Sequence[str], others: str, absent: Sequence[str] = ()
) -> Iterator[Stage]:
    """A router with its first table, in front of a server for each name; all end with the block.

    Every other revision leads to ``others``, the name of a server or an address. Those of ``absent`` have no address.
    """
    servers = {name: RevisionServer(name).start() for name in names}
    hosts = {name: server.address for name, server in servers.items()} | dict.fromkeys(absent, NOWHERE)
    router = Router(folder, hosts | {"": servers[others].address if others in servers else others})
    router.write(first)
    try:
        router.start()
        yield Stage(router, servers)
    finally:
        router.stop()
        for server in servers.values():
            server.stop()


def known(stage: Stage, *revisions: str) -> None:
    """Wait until the router knows the pods of these revisions."""
    for revision in revisions:
        eventually(f"the pods of {revision} are known", partial(_knows, stage, revision))


def _knows(stage: Stage, revision: str) -> bool:
    return knows(stage.report(table()), revision, frozenset({stage.servers[revision].address}))
