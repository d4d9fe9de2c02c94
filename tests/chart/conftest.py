"""The chart's tests run both generations of helm and render each values file once."""

import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import generate
from devcluster.gotools import ensure_tools, kubectl
from devcluster.progress import Progress

Object = dict[str, Any]
Rendered = dict[tuple[str, str, str], Object]
Render = Callable[..., Rendered]


@pytest.fixture(scope="session", params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest) -> Path:
    """Helm 4, then helm 3."""
    name: str = request.param
    return ensure_tools([name], Progress())[name]


@pytest.fixture(scope="session")
def helm4() -> Path:
    """Helm 4, where one generation is enough."""
    return ensure_tools(["helm"], Progress())["helm"]


@pytest.fixture(scope="session")
def render() -> Render:
    """Render the chart with a values file of ci/ (or none) to objects by kind, namespace and name."""

    @cache
    def cached(helm: Path, feature: str = "", *arguments: str) -> Rendered:
        values = ["--values", str(generate.CHART / "ci" / f"{feature}-values.yaml")] if feature else []
        return by_identity(generate.render(helm, *values, *arguments))

    return cached


@pytest.fixture(scope="session")
def kustomize() -> Render:
    """Build a folder with kustomize to objects by kind, namespace and name."""

    @cache
    def cached(folder: Path) -> Rendered:
        command = [str(kubectl()), "kustomize", str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stderr
        return by_identity(yaml.load_all(result.stdout, Loader=yaml.CSafeLoader))

    return cached


def by_identity(objects: Iterator[Object] | list[Object]) -> Rendered:
    """The objects by kind, namespace and name; two of the same identity are an error."""
    found: Rendered = {}
    for item in objects:
        identity = (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
        assert identity not in found, f"{identity} is there twice"
        found[identity] = item
    return found
