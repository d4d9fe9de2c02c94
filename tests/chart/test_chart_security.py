"""Least privilege: what the operator may do, and as what it and the samples run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charts import generate
from tidegate.adapters.kube import GATEWAY_PATHS, PATHS

Object = dict[str, Any]
Rendered = dict[tuple[str, str, str], Object]
Render = Callable[..., Rendered]

SYSTEM = generate.NAMESPACE
SAMPLES = generate.ROOT / "manifests" / "samples"
FEATURES = ["", *sorted(p.name.removesuffix("-values.yaml") for p in (generate.CHART / "ci").glob("*-values.yaml"))]
ROLE_NAME = "tidegate-operator"
READ = {"get", "list", "watch"}
WATCHED = {"list", "watch", "create", "patch", "delete"}
NAMED = {"get", "list", "create", "patch", "delete"}
# Everything the operator may do with the objects it watches and makes.
ALLOWED = {
    "tidegate.dev/modeldeployments": READ,
    "tidegate.dev/modeldeployments/status": {"patch"},
    "tidegate.dev/modeldeployments/finalizers": {"update"},
    "apps/deployments": WATCHED,
    "apps/controllerrevisions": NAMED - {"get"},
    "/services": WATCHED | NAMED,
    "/configmaps": WATCHED,
    "/pods": {"list", "watch", "patch"},
    "/pods/log": {"get"},
    "batch/jobs": WATCHED,
    "policy/poddisruptionbudgets": NAMED,
    "networking.k8s.io/networkpolicies": NAMED,
    "discovery.k8s.io/endpointslices": {"list"},
    "/resourcequotas": {"list"},
    "/events": {"create"},
}
# What a model that a Gateway routes needs, where that is asked for.
GATEWAY = {f"gateway.networking.k8s.io/{routes}": NAMED for routes in ("httproutes", "grpcroutes")}
# Nodes belong to no namespace: only a ClusterRole can give this.
CLUSTER_WIDE = {"/nodes": {"list"}}


def permissions(role: Object) -> dict[str, set[str]]:
    """Verbs by group and resource."""
    found: dict[str, set[str]] = {}
    for rule in role["rules"]:
        assert set(rule) - {"resourceNames"} == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault(f"{group}/{resource}", set()).update(rule["verbs"])
    return found


def roles(rendered: Rendered) -> list[Object]:
    return [item for (kind, _, _), item in rendered.items() if kind in {"Role", "ClusterRole"}]


def pods(rendered: Rendered) -> list[Object]:
    return [item["spec"]["template"]["spec"] for (kind, _, _), item in rendered.items() if kind == "Deployment"]


def assert_confined(pod: Object) -> None:
    """The pod passes the restricted pod security standard, and writes only to its volumes."""
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] >= 10000
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all("hostPath" not in volume for volume in pod["volumes"])
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("feature", FEATURES)
def test_no_role_holds_a_wildcard_or_reads_secrets(render: Render, helm4: Path, feature: str) -> None:
    for role in roles(render(helm4, feature)):
        for resource, verbs in permissions(role).items():
            assert "*" not in resource
            assert "*" not in verbs
            assert "secrets" not in resource
            assert not verbs & {"escalate", "bind", "impersonate"}


@pytest.mark.parametrize(
    ("feature", "identity"),
    [
        ("", ("ClusterRole", "", "tidegate-operator")),
        ("namespaced", ("Role", "vision", "tidegate-operator")),
        ("namespaced", ("Role", "speech", "tidegate-operator")),
    ],
)
def test_the_operator_may_do_this_and_no_more(
    render: Render, helm4: Path, feature: str, identity: tuple[str, str, str]
) -> None:
    more = CLUSTER_WIDE if identity[0] == "ClusterRole" else {}
    assert permissions(render(helm4, feature)[identity]) == ALLOWED | more


def test_routes_of_the_gateway_api_are_granted_only_where_asked_for(render: Render, helm4: Path) -> None:
    identity = ("ClusterRole", "", "tidegate-operator")
    assert permissions(render(helm4, "gateway")[identity]) == ALLOWED | CLUSTER_WIDE | GATEWAY


def test_every_kind_that_the_operator_works_with_is_in_its_role() -> None:
    for kind, (prefix, plural) in (PATHS | GATEWAY_PATHS).items():
        group = prefix.removeprefix("/apis/").rpartition("/")[0] if prefix.startswith("/apis/") else ""
        assert f"{group}/{plural}" in ALLOWED | GATEWAY, f"the chart's role does not know {kind}"


@pytest.mark.parametrize("feature", ["", "namespaced"])
def test_leases_are_written_in_the_operators_own_namespace_only(render: Render, helm4: Path, feature: str) -> None:
    holders = [role for role in roles(render(helm4, feature)) if any("leases" in name for name in permissions(role))]
    (role,) = holders
    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", SYSTEM)
    assert permissions(role) == {"coordination.k8s.io/leases": {"get", "create", "update"}}
    named = {verb for rule in role["rules"] if rule.get("resourceNames") == [ROLE_NAME] for verb in rule["verbs"]}
    assert named == {"get", "update"}


@pytest.mark.parametrize("feature", ["", "namespaced", "scheduling"])
def test_every_binding_gives_an_existing_role_to_the_operators_account(
    render: Render, helm4: Path, feature: str
) -> None:
    rendered = render(helm4, feature)
    (account,) = (identity for identity in rendered if identity[0] == "ServiceAccount")
    spec = rendered["Deployment", SYSTEM, "tidegate-operator"]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == account[2]
    bindings = [item for (kind, _, _), item in rendered.items() if kind.endswith("RoleBinding")]
    assert len(bindings) >= 2
    for binding in bindings:
        reference = binding["roleRef"]
        assert (reference["kind"], binding["metadata"].get("namespace", ""), reference["name"]) in rendered
        assert [(s["kind"], s["namespace"], s["name"]) for s in binding["subjects"]] == [account]


def test_viewers_only_read_and_editors_cannot_write_status(render: Render, helm4: Path) -> None:
    rendered = render(helm4)
    viewer, editor = (rendered["ClusterRole", "", f"tidegate-{name}"] for name in ("viewer", "editor"))
    assert set().union(*permissions(viewer).values()) <= READ
    assert permissions(editor)["tidegate.dev/modeldeployments"] >= WATCHED | NAMED | {"update"}
    assert permissions(editor)["tidegate.dev/modeldeployments/status"] == {"get"}
    aggregated = {
        item["metadata"]["name"]: {
            key.removeprefix("rbac.authorization.k8s.io/aggregate-to-")
            for key in item["metadata"]["labels"]
            if key.startswith("rbac.authorization.k8s.io/aggregate-to-")
        }
        for item in (viewer, editor)
    }
    assert aggregated == {"tidegate-viewer": {"view", "edit", "admin"}, "tidegate-editor": {"edit", "admin"}}


@pytest.mark.parametrize("feature", FEATURES)
def test_the_operator_runs_confined(render: Render, helm4: Path, feature: str) -> None:
    (pod,) = pods(render(helm4, feature))
    assert_confined(pod)


def test_the_samples_run_confined_and_without_an_account(kustomize: Render) -> None:
    (pod,) = pods(kustomize(SAMPLES))
    assert_confined(pod)
    assert pod["automountServiceAccountToken"] is False


def test_the_network_policy_lets_in_only_metrics_from_whom_it_names(render: Render, helm4: Path) -> None:
    spec = render(helm4, "monitoring")["NetworkPolicy", SYSTEM, "tidegate-operator"]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"port": "metrics"}]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_a_network_policy_without_egress_rules_leaves_egress_open(render: Render, helm4: Path) -> None:
    rendered = render(helm4, "", "--set", "networkPolicy.enabled=true")
    spec = rendered["NetworkPolicy", SYSTEM, "tidegate-operator"]["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert "egress" not in spec
