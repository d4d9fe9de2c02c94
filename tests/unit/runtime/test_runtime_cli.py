"""Promises of the operator's command: it prints what it says, and what it cannot use it says in one sentence."""

import json
import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from tidegate import __version__, cli
from tidegate.adapters import api
from tidegate.adapters.prometheus import Prometheus
from tidegate.resources.settings import DEFAULT_LIMITS, DEFAULT_REQUESTS
from tidegate.runtime import app
from tidegate.runtime.app import Options

RUN = ["run", "--packager-image", "packager:1", "--router-image", "envoy:1", "--observer-image", "observer:1"]
ROOT = Path(__file__).parents[3]


def invoke(*args: str, **env: str) -> Result:
    return CliRunner().invoke(cli.app, list(args), env={"COLUMNS": "200", "TERM": "dumb", **env})


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """Options of every operator that was started."""
    found: list[Options] = []

    def main(options: Options) -> int:
        found.append(options)
        return 0

    monkeypatch.setattr(app, "main", main)
    monkeypatch.setattr(cli, "_logging", lambda style, level: None)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "{",
        "[]",
        "1",
        "null",
        '"requests"',
        '{"requests": null}',
        '{"requests": "100m"}',
        '{"requests": ["100m"]}',
        '{"request": {"cpu": "100m"}}',
        '{"requests": {"cpu": null}}',
        '{"requests": {"cpu": {"a": 1}}}',
        '{"requests": {"cpu": "much"}}',
        '{"requests": {"cpu": true}}',
        '{"limits": {"memory": -1}}',
    ],
)
def test_resources_that_are_none_end_in_one_sentence_and_exit_code_2(started: list[Options], text: str) -> None:
    result = invoke(*RUN, f"--router-resources={text}")
    assert result.exit_code == 2
    assert "--router-resources" in result.output
    assert "is not JSON such as" in result.output
    assert "Traceback" not in result.output
    assert started == []


@pytest.mark.parametrize(
    ("text", "requests", "limits"),
    [
        ("{}", DEFAULT_REQUESTS, DEFAULT_LIMITS),
        ('{"requests": {"cpu": "1"}}', {"cpu": "1"}, DEFAULT_LIMITS),
        ('{"requests": {}, "limits": {}}', {}, {}),
        ('{"limits": {"cpu": 2, "memory": "1Gi"}}', DEFAULT_REQUESTS, {"cpu": "2", "memory": "1Gi"}),
        ('{"requests": {"cpu": 0.5}}', {"cpu": "0.5"}, DEFAULT_LIMITS),
    ],
)
def test_resources_reach_the_router_as_they_were_written(
    started: list[Options], text: str, requests: dict[str, str], limits: dict[str, str]
) -> None:
    assert invoke(*RUN, f"--router-resources={text}").exit_code == 0
    settings = started[0].settings
    assert (settings.router_requests, settings.router_limits) == (requests, limits)


@pytest.mark.parametrize(
    "args",
    [
        ["--router-replicas", "0"],
        ["--router-replicas", "many"],
        ["--drain-seconds", "-1"],
        ["--workers", "0"],
        ["--log-format", "xml"],
        ["--log-level", "loud"],
        ["--no-such-option"],
    ],
)
def test_an_option_that_cannot_be_used_is_named(started: list[Options], args: list[str]) -> None:
    result = invoke(*RUN, *args)
    assert result.exit_code == 2
    assert args[0] in result.output
    assert "Traceback" not in result.output
    assert started == []


@pytest.mark.parametrize("missing", ["--packager-image", "--router-image", "--observer-image"])
def test_an_image_that_is_missing_is_asked_for(started: list[Options], missing: str) -> None:
    place = RUN.index(missing)
    result = invoke(*RUN[:place], *RUN[place + 2 :])
    assert (result.exit_code, started) == (2, [])
    assert missing in result.output


def test_every_option_reaches_the_operator(started: list[Options]) -> None:
    args = "--router-replicas 3 --drain-seconds 50 --watch-namespace a --watch-namespace b --lease-namespace ops"
    args += " --lease-name lead --metrics-port 0 --workers 4 --cluster-domain example.org"
    assert invoke(*RUN, *args.split()).exit_code == 0
    (options,) = started
    assert (options.namespaces, options.lease_namespace, options.lease_name) == (("a", "b"), "ops", "lead")
    assert (options.metrics_port, options.workers) == (0, 4)
    settings = options.settings
    assert (settings.packager_image, settings.router_image) == ("packager:1", "envoy:1")
    assert (settings.router_replicas, settings.drain_seconds) == (3, 50)
    assert (settings.operator_namespace, settings.cluster_domain) == ("ops", "example.org")


def test_options_can_come_from_the_environment(started: list[Options]) -> None:
    env = {"TIDEGATE_PACKAGER_IMAGE": "p:2", "TIDEGATE_ROUTER_IMAGE": "r:2", "TIDEGATE_DRAIN_SECONDS": "7"}
    env["TIDEGATE_OBSERVER_IMAGE"] = "o:2"
    assert invoke("run", **env).exit_code == 0
    settings = started[0].settings
    assert (settings.packager_image, settings.router_image, settings.drain_seconds) == ("p:2", "r:2", 7)


def test_a_prometheus_reaches_the_operator_and_none_is_none(started: list[Options], tmp_path: Path) -> None:
    assert invoke(*RUN).exit_code == 0
    assert invoke(*RUN, "--prometheus-url", "http://prometheus:9090").exit_code == 0
    assert invoke(*RUN, TIDEGATE_PROMETHEUS_URL="https://thanos", TIDEGATE_PROMETHEUS_TOKEN_FILE="/t").exit_code == 0
    assert [isinstance(options.prometheus, Prometheus) for options in started] == [False, True, True]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--prometheus-url", "prometheus:9090"], "is no address"),
        (["--prometheus-url", "http://prometheus", "--prometheus-token-file", "/t"], "a token is sent by https only"),
        (["--prometheus-url", "https://p", "--prometheus-ca-file", "/absent/ca.crt"], "does not exist"),
        (["--prometheus-token-file", "/t"], "a token or certificates without an address"),
        (["--prometheus-ca-file", "/ca.crt"], "a token or certificates without an address"),
    ],
)
def test_a_prometheus_that_could_not_work_ends_in_one_sentence(
    started: list[Options], args: list[str], sentence: str
) -> None:
    result = invoke(*RUN, *args)
    assert (result.exit_code, started) == (2, [])
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_without_a_cluster_the_operator_ends_with_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.setattr(cli, "_logging", lambda style, level: None)
    result = invoke(*RUN, "--metrics-port", "0")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("tidegate: there is no cluster to work with: ")
    assert "Traceback" not in result.stderr


def test_the_crd_is_printed_as_yaml_and_is_the_one_in_the_repository() -> None:
    result = invoke("crd")
    assert result.exit_code == 0
    printed = yaml.safe_load(result.output)
    assert printed["kind"] == "CustomResourceDefinition"
    assert printed["metadata"]["name"] == "modeldeployments.tidegate.dev"
    assert printed == yaml.safe_load((ROOT / "crds" / "modeldeployments.tidegate.dev.yaml").read_text())


def test_the_version_is_printed() -> None:
    assert invoke("version").output == f"{__version__}\n"


def record(message: str, *args: Any, **more: Any) -> dict[str, Any]:
    made = logging.LogRecord(
        "tidegate.runtime.queue", logging.WARNING, __file__, 1, message, args, more.get("exc_info")
    )
    made.created = 1767323045.25
    line = cli.JsonFormatter().format(made)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_of_the_json_log_says_when_where_and_what() -> None:
    found = record("%s is tried again in %.1f s: %s", "n/a", 0.2, 'it said "no"\nand more')
    assert found == {
        "time": "2026-01-02T03:04:05.250000Z",
        "level": "warning",
        "logger": "tidegate.runtime.queue",
        "message": 'n/a is tried again in 0.2 s: it said "no"\nand more',
    }
    assert datetime.fromisoformat(found["time"]).timestamp() == 1767323045.25


def test_a_line_of_the_json_log_holds_the_whole_traceback() -> None:
    try:
        raise ValueError("bug")
    except ValueError:
        found = record("failed", exc_info=sys.exc_info())
    assert found["message"] == "failed"
    assert found["error"].startswith("Traceback")
    assert found["error"].endswith("ValueError: bug")
