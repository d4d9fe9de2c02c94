"""Values are described, shown in an example, and refused with a sentence when they are wrong."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import generate

Object = dict[str, Any]

SCHEMA: Object = json.loads((generate.CHART / "values.schema.json").read_text())
VALUES: Object = yaml.safe_load((generate.CHART / "values.yaml").read_text())
# Parts of the Kubernetes API, which has its own schema for them, and what a parent chart shares.
FOREIGN = {"/kubernetesObject", "/kubernetesList/items", "/global"}


def nested(schema: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    yield path, schema
    for name, child in [*schema.get("properties", {}).items(), *schema.get("definitions", {}).items()]:
        yield from nested(child, f"{path}/{name}")
    if isinstance(schema.get("items"), dict):
        yield from nested(schema["items"], f"{path}/items")


def template(helm: Path, settings: str) -> subprocess.CompletedProcess[str]:
    command = [str(helm), "template", "tidegate", str(generate.CHART), "--set", settings]
    command += ["--kube-version", generate.KUBE_VERSION]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("setting", "where", "why"),
    [
        ("replica=3", "", "replica"),
        ("replicas=two", "replicas", "integer"),
        ("replicas=-1", "replicas", "0"),
        ("image.name=x", "image", "name"),
        ("image.repository=tidegate/operator:1.0", "image", "repository"),
        ("image.digest=sha256:12", "image", "digest"),
        ("image.pullPolicy=Sometimes", "image", "pullPolicy"),
        ("router.replicas=0", "router", "replicas"),
        ("router.resources.limit.cpu=1", "router", "resources"),
        ("drainSeconds=forty", "drainSeconds", "integer"),
        ("workers=0", "workers", "1"),
        ("logFormat=xml", "logFormat", "json"),
        ("clusterDomain=Cluster.local", "clusterDomain", "pattern"),
        ("watchNamespaces=vision", "watchNamespaces", "array"),
        ("watchNamespaces={Vision}", "watchNamespaces", "pattern"),
        ("watchNamespaces={a,a}", "watchNamespaces", "items"),
        ("metrics.port=80", "metrics", "port"),
        ("metrics.podMonitor.interval=often", "podMonitor", "interval"),
        ("podDisruptionBudget.maxUnavailable=0", "podDisruptionBudget", "maxUnavailable"),
        ("crds.keep=maybe", "crds", "keep"),
        ("podAnnotations.count=3", "podAnnotations", "string"),
        ("prometheus.url=prometheus:9090", "prometheus", "url"),
        ("prometheus.url=http://me:secret@prometheus", "prometheus", "url"),
        ("prometheus.url=http://prometheus?x=1", "prometheus", "url"),
        ("prometheus.tokenSecretRef.key=a/b", "tokenSecretRef", "key"),
        ("prometheus.token=abc", "prometheus", "token"),
        ("gatewayAPI.enabled=often", "gatewayAPI", "boolean"),
    ],
)
def test_a_wrong_value_is_refused_and_named(helm: Path, setting: str, where: str, why: str) -> None:
    result = template(helm, setting)
    assert result.returncode != 0
    assert "values don't meet the specifications of the schema" in result.stderr
    assert where in result.stderr
    assert why in result.stderr


def test_a_service_monitor_without_its_service_is_refused(helm: Path) -> None:
    settings = "metrics.serviceMonitor.enabled=true,metrics.service.enabled=false"
    result = template(helm, settings)
    assert result.returncode != 0
    assert "metrics.serviceMonitor.enabled needs metrics.service.enabled" in result.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("prometheus.tokenSecretRef.name=a", "need prometheus.url"),
        ("prometheus.caConfigMapRef.name=a", "need prometheus.url"),
        ("prometheus.url=http://p,prometheus.tokenSecretRef.name=a", "a token is never sent in the clear"),
    ],
)
def test_a_prometheus_that_could_not_work_is_refused(helm: Path, settings: str, sentence: str) -> None:
    result = template(helm, settings)
    assert result.returncode != 0
    assert sentence in result.stderr


def test_an_unknown_key_is_refused_everywhere() -> None:
    ours = {path: schema for path, schema in nested(SCHEMA) if schema.get("type") == "object" and path not in FOREIGN}
    assert len(ours) >= 20
    assert [path for path, schema in ours.items() if schema.get("additionalProperties", True) is True] == []


def test_the_schema_describes_no_value_that_does_not_exist() -> None:
    def compare(schema: Object, values: Object, path: str) -> None:
        assert set(schema["properties"]) - {"global"} == set(values), path
        for name, child in schema["properties"].items():
            if "properties" in child:
                compare(child, values[name], f"{path}.{name}")

    compare(SCHEMA, VALUES, "")


def test_every_value_is_set_by_an_example_in_ci() -> None:
    shown: set[str] = set()
    for path in (generate.CHART / "ci").glob("*-values.yaml"):
        shown |= set(paths(yaml.safe_load(path.read_text())))
    missing = [key for key, _, _ in generate.leaves(SCHEMA, VALUES) if not any(is_below(path, key) for path in shown)]
    assert missing == []


def test_every_value_is_in_the_readmes_table() -> None:
    readme = (generate.CHART / "README.md").read_text()
    for key, default, description in generate.leaves(SCHEMA, VALUES):
        assert f"| `{key}` | `{json.dumps(default)}` | {description} |" in readme


def paths(values: Object, prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{name}.")


def is_below(path: str, key: str) -> bool:
    return path == key or path.startswith(f"{key}.")
