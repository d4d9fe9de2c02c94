"""Install, upgrade and uninstall against a real API server, with helm 4 and helm 3."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_server import control_plane

from charts import generate
from devcluster.gotools import kubectl

Run = Callable[..., str]

SYSTEM = generate.NAMESPACE
SAMPLES = generate.ROOT / "manifests" / "samples"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:tidegate-operator"
CRD = "crd/modeldeployments.tidegate.dev"


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run a program against a control plane without nodes and return what it prints."""

    def command(*arguments: str | Path, fails: bool = False) -> str:
        line = [*map(str, arguments), "--kubeconfig", str(kubeconfig)]
        result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert (result.returncode != 0) == fails, f"{line}: {result.stdout}{result.stderr}"
        return result.stdout

    with control_plane("chart") as kubeconfig:
        for namespace in (SYSTEM, generate.OVERLAY_NAMESPACE):
            command(kubectl(), "create", "namespace", namespace)
        yield command


@pytest.fixture(scope="module")
def release(run: Run, helm: Path) -> Iterator[None]:
    """The chart installed with its defaults, and the sample applied."""
    run(helm, "install", "tidegate", generate.CHART, "--namespace", SYSTEM)
    run(kubectl(), "apply", "-k", SAMPLES)
    yield
    run(helm, "uninstall", "tidegate", "--namespace", SYSTEM)


@pytest.mark.usefixtures("release")
def test_uninstall_keeps_the_models_and_a_new_install_takes_them_back(run: Run, helm: Path) -> None:
    before = run(kubectl(), "get", "md/digits", "-n", "demo", "-o", "jsonpath={.metadata.uid}")
    run(helm, "uninstall", "tidegate", "--namespace", SYSTEM)
    kinds, label = "deployments,clusterroles,clusterrolebindings,roles", "app.kubernetes.io/instance=tidegate"
    assert run(kubectl(), "get", kinds, "-A", "-l", label, "-o", "name") == ""
    run(helm, "install", "tidegate", generate.CHART, "--namespace", SYSTEM)
    assert run(kubectl(), "get", "md/digits", "-n", "demo", "-o", "jsonpath={.metadata.uid}") == before != ""


@pytest.mark.usefixtures("release")
def test_helm_upgrade_upgrades_the_crd(run: Run, helm: Path, tmp_path: Path) -> None:
    newer = shutil.copytree(generate.CHART, tmp_path / "tidegate")
    template = newer / "templates" / "crds" / "modeldeployments.tidegate.dev.yaml"
    template.write_text(template.read_text().replace("    - md\n", "    - md\n    - mdep\n"))
    run(helm, "upgrade", "tidegate", newer, "--namespace", SYSTEM)
    assert "mdep" in run(kubectl(), "get", CRD, "-o", "jsonpath={.spec.names.shortNames}")


@pytest.mark.usefixtures("release")
def test_the_api_server_lets_the_operator_do_this_and_not_that(run: Run) -> None:
    for verb, resource, namespace, answer in (
        ("patch", "deployments.apps", "demo", "yes"),
        ("patch", "modeldeployments.tidegate.dev:status", "demo", "yes"),
        ("patch", "modeldeployments.tidegate.dev", "demo", "no"),
        ("get", "secrets", "demo", "no"),
        ("delete", "pods", "demo", "no"),
        ("create", "leases.coordination.k8s.io", SYSTEM, "yes"),
        ("update", "leases.coordination.k8s.io/tidegate-operator", SYSTEM, "yes"),
        ("update", "leases.coordination.k8s.io/another", SYSTEM, "no"),
        ("create", "leases.coordination.k8s.io", "demo", "no"),
    ):
        name, _, sub = resource.partition(":")
        question = ["auth", "can-i", verb, name, "--namespace", namespace, "--as", ACCOUNT, "--subresource", sub]
        said = run(kubectl(), *question, fails=answer == "no")
        assert said.strip() == answer, (verb, resource, namespace)


@pytest.mark.parametrize("folder", [generate.BASE, generate.NAMESPACED], ids=lambda path: path.name)
def test_the_api_server_takes_the_plain_manifests(run: Run, folder: Path) -> None:
    applied = run(kubectl(), "apply", "--server-side", "--dry-run=server", "--force-conflicts", "-k", folder)
    assert "deployment.apps/tidegate-operator serverside-applied (server dry run)" in applied
