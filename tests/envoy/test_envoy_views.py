"""Promises about a router's own state: the operator may read it and nobody may change it."""

import json
from pathlib import Path

import pytest
from envoy_router import Router
from envoy_stage import CANARY, STABLE, Stage, neighbour, route, table

from tidegate.resources.router import VIEWS_PORT

VIEWS = ["/ready", "/stats", "/stats/prometheus", "/config_dump", "/clusters", "/listeners", "/server_info"]
CONTROLS = [
    "/quitquitquit",
    "/healthcheck/fail",
    "/healthcheck/ok",
    "/drain_listeners",
    "/reset_counters",
    "/logging?level=trace",
    "/runtime_modify?a=b",
    "/cpuprofiler?enable=y",
    "/reopen_logs",
]


@pytest.mark.parametrize("path", VIEWS)
def test_the_operator_can_read_the_state_of_a_router(stage: Stage, path: str) -> None:
    assert stage.router.ask(VIEWS_PORT, path).status == 200


@pytest.mark.parametrize("path", CONTROLS)
@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
def test_nobody_can_stop_or_change_a_router_from_outside(stage: Stage, method: str, path: str) -> None:
    assert stage.router.ask(VIEWS_PORT, path, method).status == 404
    assert json.loads(stage.router.ask(VIEWS_PORT, "/server_info").text)["state"] == "LIVE"


@pytest.mark.parametrize("path", VIEWS)
def test_a_view_can_only_be_read(stage: Stage, path: str) -> None:
    assert stage.router.ask(VIEWS_PORT, path, "POST").status == 404


@pytest.mark.parametrize("path", ["/", "/memory", "/certs", "/hot_restart_version", "/heap_dump", "/help"])
def test_nothing_else_of_the_administration_is_shown(stage: Stage, path: str) -> None:
    assert stage.router.ask(VIEWS_PORT, path).status == 404


def test_the_administration_itself_listens_on_the_pods_own_loopback_only(stage: Stage) -> None:
    started = json.loads(next(a for a in stage.router.container()["args"] if a.startswith("{")))
    assert started["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_envoy_accepts_what_a_router_starts_with(tmp_path: Path) -> None:
    router = Router(tmp_path, {"": "127.0.0.1"})
    router.write(table(route((STABLE, 95), (CANARY, 5)), neighbour()))
    checked = router.validate()
    assert checked.returncode == 0, checked.stderr[-2000:]
    assert "OK" in checked.stdout


def test_envoy_starts_without_any_deprecated_setting(stage: Stage) -> None:
    assert "eprecated" not in stage.router.log.read_text()
    assert stage.router.stat("runtime.deprecated_feature_use") == 0
