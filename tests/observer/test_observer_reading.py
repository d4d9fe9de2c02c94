"""Promises of the operator's side: an observer that lies, floods or is silent gives no data; objects are complete."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from envoy_servers import loopback
from envoy_stage import CANARY, DIGESTS, PORT, STABLE, route
from observer_stage import sampled_route, watching

from tidegate.adapters.observer import SCHEMA, ObserverTelemetry, read_windows
from tidegate.domain.observed import Owner, PodView
from tidegate.domain.routing import Table, clusters_version, listeners_version, route_version
from tidegate.domain.watching import Watched, Watching, watching_version
from tidegate.resources import envoy, observer, tap
from tidegate.resources.settings import Settings

SETTINGS = Settings(packager_image="packager", router_image="envoy", observer_image="observer")
OWNERS = (Owner("digits", "uid-1"),)
GOOD = {"schema": SCHEMA, "run": "r", "plan": "p", "pairs": []}
ENTRY = {"model": "m", "answered": "a", "replayed": "b", "compared": 3, "agreed": 2}
BAD: dict[str, Any] = {
    "another schema": GOOD | {"schema": "v2"},
    "no run": {key: value for key, value in GOOD.items() if key != "run"},
    "pairs are a number": GOOD | {"pairs": 7},
    "a pair is a text": GOOD | {"pairs": ["x"]},
    "negative": GOOD | {"pairs": [ENTRY | {"compared": -1, "agreed": -2}]},
    "more agreed than compared": GOOD | {"pairs": [ENTRY | {"agreed": 4}]},
    "a fraction": GOOD | {"pairs": [ENTRY | {"agreed": 0.5}]},
    "infinite": GOOD | {"pairs": [ENTRY | {"compared": float("inf")}]},
    "true": GOOD | {"pairs": [ENTRY | {"agreed": True}]},
}


@pytest.mark.parametrize("windows", BAD.values(), ids=BAD)
def test_counts_that_are_none_are_refused(windows: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_windows(windows)


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Somebody at an observer's port."""
    host = loopback()
    listening = socket.create_server((host, observer.VIEWS_PORT))

    def run() -> None:
        try:
            while True:
                serve(listening.accept()[0])
        except OSError:
            return

    threading.Thread(target=run, daemon=True).start()
    try:
        yield host
    finally:
        listening.close()


def answer(body: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        connection.close()

    return serve


def trickle(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b" ")
        time.sleep(0.2)


def flood(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b" " * 65536)


SERVERS: dict[str, Callable[[socket.socket], None]] = {
    "not JSON": answer(b"{"),
    "another schema": answer(json.dumps(BAD["another schema"]).encode()),
    "deep": answer(b"[" * 100_000),
    "hangs up": lambda connection: connection.close(),
    "trickles": trickle,
    "floods": flood,
}


def pod(host: str, name: str = "o1") -> PodView:
    return PodView({"metadata": {"name": name}, "status": {"podIP": host}})


@pytest.mark.parametrize("serve", SERVERS.values(), ids=SERVERS)
def test_an_observer_that_gives_no_counts_is_left_out_in_bounded_time(serve: Callable[[socket.socket], None]) -> None:
    with server(serve) as bad, server(answer(json.dumps(GOOD | {"pairs": [ENTRY]}).encode())) as good:
        begun = time.monotonic()
        found = ObserverTelemetry().comparisons([pod(bad), pod(good, "o2"), pod("", "new")])
        assert set(found) == {"o2"}
        assert time.monotonic() - begun < 12


def test_an_observer_that_is_not_there_is_left_out() -> None:
    assert ObserverTelemetry().comparisons([pod(loopback())]) == {}


def test_models_come_and_go_without_touching_others() -> None:
    digits = watching().models["digits"]
    other = Watched(model="other", revisions=("other-1", "other-2"), outputs=digits.outputs)
    both = Watching().with_model("other", other, {"digits", "other"}).with_model("digits", digits, {"digits", "other"})
    assert list(both.models) == ["digits", "other"]
    assert both.with_model("digits", None, {"digits", "other"}).models == {"other": other}
    assert both.with_model("digits", digits, {"digits"}).models == {"digits": digits}
    assert watching_version(both) != watching_version(both.with_model("digits", None, {"digits", "other"}))
    assert Watching.model_validate_json(both.model_dump_json(by_alias=True)) == both


def test_a_version_of_the_plan_covers_everything_in_it() -> None:
    assert watching_version(watching(1.0)) != watching_version(watching(2.0))
    found = observer.config_map("vision", OWNERS, watching(), SETTINGS, "17")
    assert json.loads(found["data"][observer.PLAN_KEY])["version"] == watching_version(watching())
    assert Watching.model_validate_json(found["data"][observer.WATCHING_KEY]) == watching()
    assert found["metadata"]["resourceVersion"] == "17"
    assert "resourceVersion" not in observer.config_map("vision", OWNERS, watching(), SETTINGS, None)["metadata"]


def test_the_observer_runs_without_rights_and_with_bounds() -> None:
    spec = observer.deployment("vision", OWNERS, SETTINGS)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["image"] == "observer"
    assert "memory" in container["resources"]["limits"]
    assert [v for v in spec["volumes"] if "persistentVolumeClaim" in v or "hostPath" in v] == []


def test_the_observer_can_send_nothing_to_anybody_but_model_servers_and_dns() -> None:
    rules = observer.network_policy("vision", OWNERS, SETTINGS)["spec"]
    assert rules["policyTypes"] == ["Ingress", "Egress"]
    ports = {p["port"]: rule.get("to") for rule in rules["egress"] for p in rule["ports"]}
    servers = [{"podSelector": {"matchLabels": {"tidegate.dev/component": "server"}}}]
    assert ports == {8000: servers, 8001: servers, 53: None}


def test_the_routers_find_the_observer_by_the_name_of_its_service() -> None:
    service = observer.service("vision", OWNERS)
    rendered = json.loads(envoy.files(Table(routes={"digits": sampled_route(5, 100, 0)}), "vision", "x.y")["cds.json"])
    cluster = next(c for c in rendered["resources"] if c["name"] == service["metadata"]["name"])
    address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert address == {
        "address": "tidegate-observer.vision.svc.x.y.",
        "port_value": service["spec"]["ports"][0]["port"],
    }
    assert cluster["circuit_breakers"]["thresholds"][0]["max_requests"] == 8
    assert cluster["connect_timeout"] == "0.25s"


def test_a_table_without_samples_has_no_trace_of_an_observer_but_the_filter_that_is_off() -> None:
    plain = Table(routes={"digits": route((STABLE, 100), (CANARY, 0))})
    files = envoy.files(plain, "vision", "x.y")
    assert "observer" not in files["cds.json"] + files["rds-digits.json"]
    assert '"disabled":true' in files["lds.json"]


def test_sampling_is_part_of_the_versions_that_it_changes_and_of_no_other() -> None:
    plain, sampled = route((STABLE, 100), (CANARY, 0)), sampled_route(5, 100, 0)
    assert plain.model_copy(update={"sample_percent": 0}) == plain
    assert route_version(plain) != route_version(sampled) != route_version(sampled_route(6, 100, 0))
    tables = [Table(routes={"digits": r}) for r in (plain, sampled, sampled_route(6, 100, 0))]
    assert listeners_version(tables[0]) == listeners_version(tables[1])
    assert clusters_version(tables[0]) != clusters_version(tables[1]) == clusters_version(tables[2])


def test_routes_that_a_request_chooses_by_itself_are_no_random_sample() -> None:
    pinned = {"match": {"safe_regex": {"regex": "/v2"}}, "route": {"cluster": "digits-aaaa1111-http"}}
    config = {"virtual_hosts": [{"name": "digits", "routes": [pinned]}]}
    assert tap.with_twins(sampled_route(5, 100, 0), config) == config


def test_a_twin_keeps_everything_of_its_route_but_what_makes_it_a_sample() -> None:
    config = json.loads(
        envoy.files(Table(routes={"digits": sampled_route(5, 60, 40)}), "vision", "x.y")["rds-digits.json"]
    )
    routes = config["resources"][0]["virtual_hosts"][0]["routes"]
    twins = [r for r in routes if "runtime_fraction" in r["match"]]
    assert len(twins) == 2
    for twin in twins:
        following = routes[routes.index(twin) + 1]
        assert twin["route"] == following["route"]
        share = twin["match"]["runtime_fraction"]["default_value"]
        assert share == {"numerator": 50_000, "denominator": "MILLION"}
    assert DIGESTS[STABLE] in json.dumps(twins)
    assert sampled_route(5, 60, 40).port == PORT


def test_every_object_of_the_observer_goes_with_the_last_model() -> None:
    made = [
        observer.service("vision", OWNERS),
        observer.deployment("vision", OWNERS, SETTINGS),
        observer.network_policy("vision", OWNERS, SETTINGS),
        observer.config_map("vision", OWNERS, watching(), SETTINGS, None),
    ]
    for item in made:
        assert [o["uid"] for o in item["metadata"]["ownerReferences"]] == ["uid-1"]
        assert item["metadata"]["labels"]["tidegate.dev/component"] == "observer"
