"""What the supervisor runs: one specification a program, exchanged as small JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devcluster.process import write_atomic


@dataclass(frozen=True)
class Component:
    """A program of the cluster; ``name`` is also the name of its log."""

    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)

    def request(self, folder: Path) -> None:
        """Ask the supervisor that watches ``folder`` to start this."""
        write_atomic(folder / f"{self.name}.json", json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Component:
        data = json.loads(path.read_text())
        return cls(data["name"], data["argv"], data["env"])


@dataclass(frozen=True)
class ComponentStatus:
    """What became of a component. ``exit_code`` is None while it runs; a negative one is the signal that ended it."""

    name: str
    pid: int
    exit_code: int | None = None

    @property
    def running(self) -> bool:
        return self.exit_code is None


def save_status(path: Path, components: Mapping[str, ComponentStatus]) -> None:
    write_atomic(path, json.dumps([asdict(status) for status in components.values()]))


def load_status(path: Path) -> list[ComponentStatus]:
    """Return what the supervisor wrote last; empty where it wrote nothing yet."""
    if not path.exists():
        return []
    return [ComponentStatus(**entry) for entry in json.loads(path.read_text())]
