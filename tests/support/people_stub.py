"""An API server with one ModelDeployment, whose operator is the simulated one, to try ``kubectl md`` on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import people_worlds
import yaml
from domain_objects import Raw, wire_time
from domain_world import World
from http_stub import Asked, HttpStub, Reply, stub

MODELS = "/apis/tidegate.dev/v1alpha1"
PREFIX = "tidegate.dev/"


@dataclass
class Server:
    """The stub, and what a test turns in it. ``refuse`` answers in place of the world where it gives an answer."""

    world: World
    stub: HttpStub
    kubeconfig: Path
    managed_fields: list[Raw] = field(default_factory=list)
    refusals: dict[tuple[str, str], Reply] = field(default_factory=dict)
    """Answers by method and end of the path, in place of the right ones."""
    deaf: bool = False
    """True while no operator runs."""
    silent_events: bool = False
    """True where events get lost."""

    def answer(self, asked: Asked) -> Reply:
        """What the API server says."""
        for (method, end), reply in self.refusals.items():
            if asked.method == method and asked.path.endswith(end):
                return reply
        item = people_worlds.raw(self.world)
        item["metadata"]["managedFields"] = self.managed_fields
        space = f"{MODELS}/namespaces/vision/modeldeployments"
        match asked.method, asked.path:
            case "GET", path if path == f"{space}/digits":
                return Reply(item)
            case "GET", path if path in (space, f"{MODELS}/modeldeployments"):
                return Reply({"items": [item]})
            case "GET", path if path.startswith(f"{MODELS}/namespaces/") and path.endswith("/modeldeployments"):
                return Reply({"items": []})
            case "GET", path if path == MODELS:
                return Reply({"resources": [{"name": "modeldeployments"}]})
            case "GET", "/api/v1/namespaces/vision/events":
                return Reply({"items": [] if self.silent_events else self._events()})
            case "PATCH", path if path == f"{space}/digits":
                self._patch(asked.body)
                return self.answer(Asked("GET", asked.path, {}, {}, None))
        return Reply({"message": f'modeldeployments.tidegate.dev "{asked.path.rsplit("/")[-1]}" not found'}, 404)

    def _events(self) -> list[Raw]:
        now = wire_time(self.world.cluster.now)
        return [
            {"metadata": {"uid": e.uid}, "type": e.kind, "reason": e.reason, "message": e.message, "eventTime": now}
            for e in people_worlds.events(self.world)
        ]

    def _patch(self, body: Any) -> None:
        assert body["metadata"]["uid"] == self.world.cluster.subject.uid
        for key, text in body["metadata"].get("annotations", {}).items():
            self.world.ask(key.removeprefix(PREFIX), text)
        if "spec" in body:
            self.world.edit(**body["spec"])

    def pass_time(self, seconds: float) -> None:
        """What happens while the command waits."""
        if not self.deaf:
            self.world.run(max(1, round(seconds)))


@contextmanager
def served(world: World, folder: Path, namespace: str = "vision") -> Iterator[Server]:
    """The world behind an address that a kubeconfig file names."""
    path = folder / "kubeconfig"
    with stub() as http:
        path.write_text(yaml.safe_dump(kubeconfig(http.url, namespace)))
        server = Server(world, http, path)
        http.answer = server.answer
        yield server


def kubeconfig(url: str, namespace: str) -> Raw:
    """A kubeconfig with two contexts: ``here``, which is current, and ``there``, in another namespace."""
    contexts = {"here": namespace, "there": "elsewhere"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "of-a-person"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": "u", "namespace": space}}
            for name, space in contexts.items()
        ],
    }
