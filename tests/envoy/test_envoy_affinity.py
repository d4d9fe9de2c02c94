"""Promises to clients of a model with an affinity: a rollout moves each of them once, and only to the new revision."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import pytest
from envoy_router import Router
from envoy_stage import CANARY, NEIGHBOUR, PORT, STABLE, Stage, known, route, table

from tidegate.domain.routing import Route

HEADER = "x-user"
USERS = [f"user-{number}" for number in range(120)]
ADDRESSES = [f"10.0.{number}.7" for number in range(60)]
RPC = "/inference.GRPCInferenceService/ModelInfer"


def sticky(weight: int, **fields: str) -> Route:
    """A canary with a weight. Its name comes after stable's, as it may: its role decides on the order, not its name."""
    plain = route((STABLE, 100 - weight), (CANARY, weight))
    roles = {STABLE: "stable", CANARY: "canary"}
    told = tuple(b.model_copy(update={"role": roles[b.revision]}) for b in plain.backends)
    return plain.model_copy(update={"backends": told, "affinity": "Header", "affinity_header": HEADER} | fields)


def on_canary(stage: Stage, header: str, values: list[str]) -> set[str]:
    """Which of these clients the canary answers, asked twice each."""
    rounds = [{v for v in values if stage.router.ask(PORT, "/v2", "GET", {header: v}).text == CANARY} for _ in range(2)]
    assert rounds[0] == rounds[1], "a client changed its revision though no weight did"
    return rounds[0]


@pytest.fixture
def ready(stage: Stage) -> Stage:
    stage.serve(sticky(0))
    known(stage, STABLE, CANARY)
    return stage


def test_a_client_stays_with_the_canary_when_its_weight_rises(ready: Stage) -> None:
    before: set[str] = set()
    for weight in (5, 25, 50, 75, 100):
        ready.serve(sticky(weight))
        now = on_canary(ready, HEADER, USERS)
        assert before <= now, f"{sorted(before - now)} went back to stable at {weight} %"
        # Five standard deviations of what chance may give.
        assert abs(len(now) - weight * 1.2) <= 5 * (120 * weight / 100 * (1 - weight / 100)) ** 0.5
        before = now
    assert len(before) == len(USERS)


def test_when_the_weight_falls_only_clients_of_the_canary_move(ready: Stage) -> None:
    ready.serve(sticky(50))
    half = on_canary(ready, HEADER, USERS)
    ready.serve(sticky(10))
    assert on_canary(ready, HEADER, USERS) < half
    ready.serve(sticky(0))
    assert on_canary(ready, HEADER, USERS) == set()


def test_a_client_has_one_revision_by_http_and_by_grpc(ready: Stage) -> None:
    ready.serve(sticky(50))
    wanted = on_canary(ready, HEADER, USERS[:40])
    with grpc.insecure_channel(f"{ready.router.address}:{PORT}") as channel:
        infer = channel.unary_unary(RPC)
        asked = {user: infer(b"", timeout=10, metadata=[(HEADER, user)]) for user in USERS[:40]}
    assert {user for user, answer in asked.items() if answer.decode() == CANARY} == wanted


def test_clients_without_the_header_are_split_by_chance(ready: Stage) -> None:
    ready.serve(sticky(50))
    seen = Counter(ready.router.ask_often(PORT, "/v2", 100))
    assert 25 <= seen[CANARY] <= 75
    assert seen.total() == 100


def test_a_client_is_told_by_its_address(ready: Stage) -> None:
    by_address = {"affinity": "ClientAddress", "affinity_header": ""}
    ready.serve(sticky(50, **by_address))
    assert len(set(ready.router.ask_often(PORT, "/v2", 20))) == 1
    half = on_canary(ready, "x-forwarded-for", ADDRESSES)
    assert 10 <= len(half) <= 50
    ready.serve(sticky(75, **by_address))
    assert half <= on_canary(ready, "x-forwarded-for", ADDRESSES)


@pytest.fixture
def second(ready: Stage, tmp_path: Path) -> Iterator[Stage]:
    """Another router in front of the same pods."""
    hosts: Mapping[str, str] = {name: server.address for name, server in ready.servers.items()}
    router = Router(tmp_path, {**hosts, "": hosts[NEIGHBOUR]})
    try:
        found = Stage(router, ready.servers)
        router.write(table(sticky(0)))
        router.start()
        yield found
    finally:
        router.stop()


def test_every_router_gives_a_client_the_same_revision(ready: Stage, second: Stage) -> None:
    for stage in (ready, second):
        stage.serve(sticky(30))
        known(stage, STABLE, CANARY)
    assert on_canary(ready, HEADER, USERS) == on_canary(second, HEADER, USERS)


def test_a_request_that_names_a_revision_gets_it_whoever_asks(ready: Stage) -> None:
    ready.serve(sticky(50))
    for user in USERS[:10]:
        asked = {HEADER: user, "x-tidegate-revision": "canary"}
        assert ready.router.ask(PORT, "/v2", "GET", asked).text == CANARY
