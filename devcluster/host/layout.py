"""Names and paths of one cluster on this host, all derived from its state folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.host.addresses import Block
from devcluster.process import write_atomic


@dataclass(frozen=True)
class Layout:
    """Where everything of the cluster ``name`` is; nothing of it is kept anywhere else."""

    name: str
    root: Path

    @property
    def tag(self) -> str:
        """Short name for kernel objects, different for equal names in different state folders."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    @property
    def veth(self) -> str:
        return f"tg-{self.tag}"  # at most 15 characters

    @property
    def cgroup(self) -> str:
        return f"tidegate-{self.name}-{self.tag}"

    @property
    def node(self) -> str:
        return f"{self.name}-node"

    @property
    def record(self) -> Path:
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def registries(self) -> Path:
        """How to reach image registries: ``<host:port>/hosts.toml``, as containerd reads it before each pull."""
        return self.config / "registries"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def components(self) -> Path:
        """One JSON file a component: what the supervisor has to run."""
        return self.root / "components"

    @property
    def status(self) -> Path:
        """What the supervisor last saw of each component."""
        return self.root / "status.json"

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    def make_folders(self) -> None:
        for folder in (self.pki, self.config, self.logs, self.components):
            folder.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)  # keys of the cluster lie below


@dataclass(frozen=True)
class Record:
    """What must outlive the process that made the cluster; written before anything else is made."""

    control_plane_only: bool
    block: int | None
    ports: tuple[int, int, int]  # API server, etcd clients, etcd peers
    ready: bool = False
    driver: str = "host"

    def network(self) -> Block | None:
        return None if self.block is None else Block(self.block)

    def save(self, path: Path) -> None:
        write_atomic(path, json.dumps(asdict(self), indent=1) + "\n")


def load_record(path: Path) -> Record | None:
    """Return the record at ``path``, or None where there is none or it cannot be read (then it is made anew)."""
    try:
        data = json.loads(path.read_text())
        api, etcd, peer = (int(port) for port in data["ports"])
        block = None if data["block"] is None else int(data["block"])
        return Record(bool(data["control_plane_only"]), block, (api, etcd, peer), bool(data["ready"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None


def require_record(layout: Layout) -> Record:
    """Return the record of a cluster that should exist, or say that there is none."""
    record = load_record(layout.record)
    if record is None:
        raise DevclusterError(f"there is no cluster '{layout.name}': make it with 'devcluster up --name {layout.name}'")
    return record
