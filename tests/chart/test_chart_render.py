"""What the chart installs, feature by feature, with helm 4 and helm 3."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from charts import generate
from tidegate.cli import app

Object = dict[str, Any]
Rendered = dict[tuple[str, str, str], Object]
Render = Callable[..., Rendered]

SYSTEM = generate.NAMESPACE
FEATURES = sorted(path.name.removesuffix("-values.yaml") for path in (generate.CHART / "ci").glob("*-values.yaml"))
CRD = ("CustomResourceDefinition", "", "modeldeployments.tidegate.dev")
DEPLOYMENT = ("Deployment", SYSTEM, "tidegate-operator")


def pod(rendered: Rendered, name: str = "tidegate-operator") -> Object:
    spec: Object = rendered["Deployment", SYSTEM, name]["spec"]["template"]["spec"]
    return spec


def arguments(rendered: Rendered) -> dict[str, str]:
    """Flags of the operator with their values; flags that repeat are joined by commas."""
    flags: dict[str, str] = {}
    for argument in pod(rendered)["containers"][0]["args"][1:]:
        name, _, value = argument.partition("=")
        flags[name] = f"{flags[name]},{value}" if name in flags else value
    return flags


def run(helm: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(helm), *command], capture_output=True, text=True, timeout=60, check=False)


def test_the_chart_passes_helms_own_lint(helm: Path) -> None:
    result = run(helm, "lint", "--strict", str(generate.CHART))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("feature", FEATURES)
def test_helm_3_and_helm_4_install_the_same_objects(render: Render, helm: Path, helm4: Path, feature: str) -> None:
    assert render(helm, feature) == render(helm4, feature)


def test_the_default_install_is_complete(render: Render, helm: Path) -> None:
    assert set(render(helm)) == {
        CRD,
        DEPLOYMENT,
        ("ServiceAccount", SYSTEM, "tidegate-operator"),
        ("ClusterRole", "", "tidegate-operator"),
        ("ClusterRoleBinding", "", "tidegate-operator"),
        ("Role", SYSTEM, "tidegate-operator-lease"),
        ("RoleBinding", SYSTEM, "tidegate-operator-lease"),
        ("ClusterRole", "", "tidegate-viewer"),
        ("ClusterRole", "", "tidegate-editor"),
        ("PodDisruptionBudget", SYSTEM, "tidegate-operator"),
        ("Service", SYSTEM, "tidegate-operator-metrics"),
    }


def test_the_operator_gets_its_flags(render: Render, helm4: Path) -> None:
    assert pod(render(helm4))["containers"][0]["args"][0] == "run"
    assert arguments(render(helm4)) == {
        "--packager-image": "tidegate/packager:0.1.0",
        "--observer-image": "tidegate/observer:0.1.0",
        "--router-image": "envoyproxy/envoy:v1.40.0",
        "--router-replicas": "2",
        "--drain-seconds": "40",
        "--cluster-domain": "cluster.local",
        "--lease-namespace": "$(TIDEGATE_LEASE_NAMESPACE)",
        "--lease-name": "tidegate-operator",
        "--metrics-port": "8080",
        "--workers": "8",
        "--log-format": "json",
        "--log-level": "info",
    }


@pytest.mark.parametrize("feature", ["", *FEATURES])
def test_the_operator_takes_every_flag_that_the_chart_gives(render: Render, helm4: Path, feature: str) -> None:
    (deployment,) = (item for (kind, _, _), item in render(helm4, feature).items() if kind == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    name, *flags = container["args"]
    cli = typer.main.get_command(app)
    assert isinstance(cli, TyperGroup)
    # Reads and checks the flags without running the command; a flag it does not know is an error.
    cli.commands[name].make_context(name, flags)


def test_prometheus_is_asked_with_the_token_and_certificates_that_are_mounted(render: Render, helm4: Path) -> None:
    spec = pod(render(helm4, "prometheus"))
    given = arguments(render(helm4, "prometheus"))
    assert given["--prometheus-url"] == "https://thanos.monitoring.svc:9091/prefix"
    mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for flag, name, source in (
        ("--prometheus-token-file", "prometheus-token", {"secret": {"secretName": "prometheus-reader"}}),
        ("--prometheus-ca-file", "prometheus-ca", {"configMap": {"name": "service-ca"}}),
    ):
        assert given[flag].startswith(mounts[name]["mountPath"] + "/")
        assert mounts[name]["readOnly"] is True
        assert volumes[name].items() >= source.items()
    assert given["--prometheus-token-file"].endswith("/bearer.token")
    assert given["--prometheus-ca-file"].endswith("/service-ca.crt")


def test_without_an_address_nothing_of_prometheus_is_there(render: Render, helm4: Path) -> None:
    assert not [flag for flag in arguments(render(helm4)) if "prometheus" in flag]
    assert [volume["name"] for volume in pod(render(helm4))["volumes"]] == ["tmp"]


def test_probes_metrics_and_service_meet_at_one_port(render: Render, helm4: Path) -> None:
    rendered = render(helm4, "monitoring")
    container = pod(rendered)["containers"][0]
    assert arguments(rendered)["--metrics-port"] == "9100"
    assert container["ports"] == [{"name": "metrics", "containerPort": 9100}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    service = rendered["Service", SYSTEM, "tidegate-operator-metrics"]["spec"]
    assert service["ports"] == [{"name": "metrics", "port": 9100, "targetPort": "metrics"}]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Service", ("spec", "selector")),
        ("PodDisruptionBudget", ("spec", "selector", "matchLabels")),
        ("PodMonitor", ("spec", "selector", "matchLabels")),
        ("NetworkPolicy", ("spec", "podSelector", "matchLabels")),
        ("Deployment", ("spec", "selector", "matchLabels")),
    ],
)
def test_every_selector_selects_the_operators_pods(
    render: Render, helm4: Path, kind: str, path: tuple[str, ...]
) -> None:
    rendered = render(helm4, "monitoring")
    labels = rendered[DEPLOYMENT]["spec"]["template"]["metadata"]["labels"]
    (selector,) = (item for (found, _, _), item in rendered.items() if found == kind)
    for key in path:
        selector = selector[key]
    assert selector
    assert selector.items() <= labels.items()


def test_the_service_monitor_selects_the_metrics_service(render: Render, helm4: Path) -> None:
    rendered = render(helm4, "monitoring")
    monitor = rendered["ServiceMonitor", SYSTEM, "tidegate-operator"]
    service = rendered["Service", SYSTEM, "tidegate-operator-metrics"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_labels_of_users_never_replace_those_that_selectors_need(render: Render, helm4: Path) -> None:
    labels = render(helm4, "scheduling")[DEPLOYMENT]["spec"]["template"]["metadata"]["labels"]
    assert labels["team"] == "platform"
    assert labels["app.kubernetes.io/component"] == "operator"


def test_scheduling_values_reach_the_pod(render: Render, helm4: Path) -> None:
    rendered = render(helm4, "scheduling")
    spec, values = pod(rendered), yaml.safe_load((generate.CHART / "ci" / "scheduling-values.yaml").read_text())
    for key in (
        "imagePullSecrets", "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints",
        "priorityClassName", "terminationGracePeriodSeconds",
    ):  # fmt: skip
        assert spec[key] == values[key], key
    assert spec["serviceAccountName"] == "custom"
    assert values["extraEnv"][0] in spec["containers"][0]["env"]
    assert rendered[DEPLOYMENT]["spec"]["replicas"] == 3
    assert rendered["ServiceAccount", SYSTEM, "custom"]["metadata"]["annotations"] == {"example.com/role": "operator"}
    assert rendered["PodDisruptionBudget", SYSTEM, "tidegate-operator"]["spec"]["maxUnavailable"] == "50%"


def test_a_digest_wins_over_a_tag(render: Render, helm4: Path) -> None:
    rendered = render(helm4, "images")
    flags = arguments(rendered)
    registry = "registry.example.com:5000/ml"
    assert pod(rendered)["containers"][0]["image"] == f"{registry}/operator@sha256:{'1' * 64}"
    assert flags["--packager-image"] == f"{registry}/packager:2.0"
    assert flags["--observer-image"] == f"{registry}/observer:2.0"
    assert flags["--router-image"] == f"{registry}/envoy@sha256:{'2' * 64}"
    assert yaml.safe_load(flags["--router-resources"])["limits"] == {"memory": "512Mi"}


def test_watching_some_namespaces_needs_no_cluster_role(render: Render, helm: Path) -> None:
    rendered = render(helm, "namespaced")
    assert not [identity for identity in rendered if identity[0].startswith("ClusterRole")]
    for namespace in ("vision", "speech"):
        assert ("Role", namespace, "tidegate-operator") in rendered
        binding = rendered["RoleBinding", namespace, "tidegate-operator"]
        assert binding["subjects"][0]["namespace"] == SYSTEM
    assert arguments(rendered)["--watch-namespace"] == "vision,speech"


def test_the_crd_is_kept_on_uninstall_unless_asked_otherwise(render: Render, helm: Path) -> None:
    assert render(helm)[CRD]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in render(helm, "namespaced")[CRD]["metadata"]
    assert CRD not in render(helm, "external-rbac")


def test_what_is_managed_elsewhere_is_left_out(render: Render, helm: Path) -> None:
    rendered = render(helm, "external-rbac")
    assert set(rendered) == {("Deployment", SYSTEM, "models-operator")}
    assert pod(rendered, "models-operator")["serviceAccountName"] == "existing"


def test_every_object_bears_the_recommended_labels(render: Render, helm4: Path) -> None:
    wanted = {"name", "instance", "version", "managed-by"}
    for feature in FEATURES:
        for identity, item in render(helm4, feature).items():
            missing = wanted - {key.removeprefix("app.kubernetes.io/") for key in item["metadata"]["labels"]}
            assert not missing, (feature, identity, missing)


def test_the_longest_release_name_gives_names_that_kubernetes_takes(helm4: Path) -> None:
    command = run(helm4, "template", "r" * 53, str(generate.CHART), "--namespace", "n" * 63)
    assert command.returncode == 0, command.stderr
    for item in yaml.load_all(command.stdout, Loader=yaml.CSafeLoader):
        if item["kind"] != "CustomResourceDefinition":
            assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", item["metadata"]["name"])


@pytest.mark.parametrize(
    ("setting", "promise"),
    [
        ("crds.keep=true", "kubectl delete crd modeldeployments.tidegate.dev"),
        ("crds.keep=false", "`helm uninstall tidegate` deletes the CRD"),
        ("crds.install=false", "does not install the CRD"),
        ("watchNamespaces={vision}", "watches: vision."),
    ],
)
def test_the_notes_say_what_uninstall_will_do(helm4: Path, setting: str, promise: str) -> None:
    # Helm 3 asks for a cluster even for this.
    chart = str(generate.CHART)
    command = run(helm4, "install", "tidegate", chart, "--namespace", SYSTEM, "--dry-run=client", "--set", setting)
    assert command.returncode == 0, command.stderr
    notes = command.stdout.partition("NOTES:")[2]
    assert promise in notes
    assert "kubectl get md" in notes
