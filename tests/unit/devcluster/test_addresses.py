"""Two clusters, and the host's own networks, never share an address."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest

from devcluster.errors import DevclusterError
from devcluster.host.addresses import Block, choose_block, free_ports


def test_the_networks_of_a_cluster_do_not_overlap_and_stay_in_its_block() -> None:
    block = Block(130)
    networks = [block.link, block.services, block.pods, block.simulated_pods]
    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))
    assert all(network.subnet_of(block.whole) for network in networks)
    assert block.dns_ip in block.services
    assert {block.host_ip, block.node_ip} == set(block.link.hosts())


def test_a_second_cluster_gets_another_block() -> None:
    first = choose_block(set(), [])
    assert choose_block({first.index}, []).index != first.index


@pytest.mark.parametrize(
    ("route", "first_free"), [("10.128.7.0/24", 129), ("10.128.0.0/14", 132), ("10.200.0.0/16", 128)]
)
def test_a_block_that_the_host_has_a_route_into_is_not_taken(route: str, first_free: int) -> None:
    assert choose_block(set(), [IPv4Network(route)]).index == first_free


def test_a_host_that_routes_all_of_the_range_is_told_so() -> None:
    with pytest.raises(DevclusterError, match="no free address block"):
        choose_block(set(), [IPv4Network("10.0.0.0/8")])


def test_when_every_block_is_taken_the_error_says_what_to_do() -> None:
    with pytest.raises(DevclusterError, match="devcluster down"):
        choose_block(set(range(128, 192)), [])


def test_ports_of_a_control_plane_differ() -> None:
    assert len(set(free_ports(3))) == 3
