"""Give each cluster its own block of private addresses, clear of the host's and of other clusters' networks."""

from __future__ import annotations

import json
import socket
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from devcluster.errors import DevclusterError
from devcluster.process import run

# 10.128.0.0/16 to 10.191.0.0/16: one block a cluster.
_FIRST_BLOCK, _LAST_BLOCK = 128, 191


@dataclass(frozen=True)
class Block:
    """A /16 and the networks that one cluster makes of it."""

    index: int

    def _network(self, offset: int, prefix: int) -> IPv4Network:
        return IPv4Network((int(self.whole.network_address) + offset, prefix))

    @property
    def whole(self) -> IPv4Network:
        return IPv4Network(f"10.{self.index}.0.0/16")

    @property
    def link(self) -> IPv4Network:
        """Network of the veth pair between the host and the node."""
        return self._network(0, 30)

    @property
    def host_ip(self) -> IPv4Address:
        return self.link[1]

    @property
    def node_ip(self) -> IPv4Address:
        return self.link[2]

    @property
    def services(self) -> IPv4Network:
        return self._network(16 << 8, 20)

    @property
    def dns_ip(self) -> IPv4Address:
        """ClusterIP of the DNS Service: the tenth of the range, as kubeadm has it."""
        return self.services[10]

    @property
    def pods(self) -> IPv4Network:
        return self._network(64 << 8, 18)

    @property
    def simulated_pods(self) -> IPv4Network:
        """Addresses that simulated nodes report for their pods; nothing answers there."""
        return self._network(128 << 8, 17)


def choose_block(taken: Collection[int], in_use: Iterable[IPv4Network]) -> Block:
    """Return the first block that no cluster in ``taken`` holds and that overlaps no network ``in_use``.

    Raises DevclusterError when every block is in use.
    """
    networks = list(in_use)
    for index in range(_FIRST_BLOCK, _LAST_BLOCK + 1):
        block = Block(index)
        if index not in taken and not any(block.whole.overlaps(network) for network in networks):
            return block
    raise DevclusterError(
        f"no free address block in 10.{_FIRST_BLOCK}.0.0 to 10.{_LAST_BLOCK}.255.255: take down clusters that you no "
        "longer need (devcluster down --name NAME)"
    )


def host_networks() -> list[IPv4Network]:
    """Networks that this host has routes to, without the default route."""
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"], timeout=30))
    found = (route["dst"] for route in routes if route.get("dst", "default") != "default")
    networks = (IPv4Network(destination, strict=False) for destination in found)
    return [network for network in networks if network.prefixlen > 0]


def free_ports(count: int) -> list[int]:
    """Return ``count`` TCP ports of the loopback address that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [int(item.getsockname()[1]) for item in sockets]
