"""Everything about a cluster that the configuration of its components depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from devcluster.host.addresses import Block
from devcluster.host.layout import Layout, Record

# Service addresses of a control plane without nodes: nothing answers there.
_BARE_SERVICES, _BARE_API_SERVICE = "10.127.0.0/16", "10.127.0.1"


@dataclass(frozen=True)
class Plan:
    """One cluster: its folder, its record, the programs it runs."""

    layout: Layout
    record: Record
    tools: Mapping[str, Path]

    @cached_property
    def block(self) -> Block | None:
        return self.record.network()

    @property
    def full(self) -> bool:
        """True for a cluster with a node, False for a control plane only."""
        return self.block is not None

    @property
    def api_host(self) -> str:
        return str(self.block.node_ip) if self.block else "127.0.0.1"

    @property
    def api_url(self) -> str:
        return f"https://{self.api_host}:{self.record.ports[0]}"

    @property
    def etcd_url(self) -> str:
        return f"https://127.0.0.1:{self.record.ports[1]}"

    @property
    def etcd_peer_url(self) -> str:
        return f"https://127.0.0.1:{self.record.ports[2]}"

    @property
    def services(self) -> str:
        return str(self.block.services) if self.block else _BARE_SERVICES

    @property
    def api_names(self) -> list[str]:
        """Names and addresses that clients reach the API server by."""
        service = str(self.block.services[1]) if self.block else _BARE_API_SERVICE
        short = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        return [*short, "kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", service, self.api_host]

    def pki(self, file: str) -> str:
        return str(self.layout.pki / file)

    def config(self, file: str) -> str:
        return str(self.layout.config / file)
