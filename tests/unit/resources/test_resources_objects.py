"""Promises about every object that the operator makes: whose it is, what it is called, and in which order it comes."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from resources_examples import (
    BASE,
    GPU,
    OTHER_SETTINGS,
    OWNERS,
    PLAN,
    REPLAY,
    RESOLVE,
    ROUTE,
    SETTINGS,
    TABLE,
    observed,
    stored,
)

from tidegate.domain import names
from tidegate.domain.labels import ATTEMPT, COMPONENT, DIGEST, KEY, MODEL, REVISION, ROLE, SHARD
from tidegate.domain.names import ROUTER
from tidegate.domain.observed import TABLE_KEY, Subject
from tidegate.domain.plan import Plan, Workload
from tidegate.domain.routing import MODELS_PER_ROUTER, Backend, Route, Table
from tidegate.resources import envoy, router
from tidegate.resources.build import own_objects, router_objects

OWN = own_objects(observed(), PLAN, SETTINGS)
SHARED = router_objects(observed(), PLAN, SETTINGS)
LONGEST = "m" * 63


def name(item: dict[str, Any]) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


@pytest.mark.parametrize("item", OWN, ids=name)
def test_an_object_of_a_model_goes_with_the_model(item: dict[str, Any]) -> None:
    (owner,) = item["metadata"]["ownerReferences"]
    wanted = {"kind": "ModelDeployment", "name": "digits", "uid": "u-1", "controller": True, "blockOwnerDeletion": True}
    assert owner == wanted | {"apiVersion": "tidegate.dev/v1alpha1"}


@pytest.mark.parametrize("item", SHARED, ids=name)
def test_an_object_of_the_router_goes_with_the_last_model_of_the_namespace(item: dict[str, Any]) -> None:
    owners = item["metadata"]["ownerReferences"]
    assert [(o["name"], o["uid"]) for o in owners] == [(o.name, o.uid) for o in OWNERS]
    assert not any("controller" in o for o in owners), "an object can have one controller only"


@pytest.mark.parametrize("item", [*OWN, *SHARED], ids=name)
def test_every_object_is_complete_and_in_the_namespace_of_the_model(item: dict[str, Any]) -> None:
    assert item["metadata"]["namespace"] == "vision"
    assert item["apiVersion"]
    assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tidegate"
    json.dumps(item, allow_nan=False)


@pytest.mark.parametrize("item", OWN, ids=name)
def test_an_object_of_a_model_is_found_by_the_models_label(item: dict[str, Any]) -> None:
    labels = item["metadata"]["labels"]
    assert labels[MODEL] == "digits"
    assert labels[COMPONENT] in ("server", "resolve", "parity", "front")
    if item["kind"] in ("Deployment", "ControllerRevision"):
        assert labels[REVISION] == item["metadata"]["name"]


@pytest.mark.parametrize("item", SHARED, ids=name)
def test_an_object_of_the_router_is_found_by_the_routers_label(item: dict[str, Any]) -> None:
    assert item["metadata"]["labels"][COMPONENT] == "router"
    assert MODEL not in item["metadata"]["labels"]
    assert item["metadata"]["name"] == ROUTER


def test_every_name_and_label_of_the_longest_model_fits() -> None:
    subject = Subject(name=LONGEST, namespace="n" * 63, uid="u", generation=1)
    revision = stored().model_copy(update={"name": names.revision(LONGEST, "0123abcd")})
    plan = replace(
        PLAN,
        revisions=(revision,),
        workloads=(Workload(revision, 1, "stable"),),
        resolve=replace(RESOLVE, attempt=99),
        replay=replace(REPLAY, revision=revision.name, attempt=99),
    )
    for item in own_objects(replace(observed(), subject=subject), plan, SETTINGS):
        values = [item["metadata"]["name"], *item["metadata"]["labels"].values()]
        template = item["spec"].get("template", {}) if "spec" in item else {}
        values += template.get("metadata", {}).get("labels", {}).values()
        assert max(map(len, values)) <= 63, (name(item), values)


def test_memory_comes_first_and_the_address_of_the_model_last() -> None:
    assert [name(item) for item in OWN] == [
        "ControllerRevision/digits-aaaaaaaa",
        "ControllerRevision/digits-bbbbbbbb",
        "Job/" + names.resolve_job("digits", RESOLVE.key, RESOLVE.attempt),
        "NetworkPolicy/digits",
        "PodDisruptionBudget/digits",
        "Service/digits-aaaaaaaa",
        "Deployment/digits-aaaaaaaa",
        "Service/digits-bbbbbbbb",
        "Deployment/digits-bbbbbbbb",
        "Job/" + names.parity_job("digits", REPLAY.revision, REPLAY.attempt),
        "Service/digits",
    ]


def test_the_routers_table_is_written_before_the_pods_that_read_it() -> None:
    kinds = [item["kind"] for item in SHARED]
    assert kinds.index("ConfigMap") < kinds.index("Deployment")
    assert kinds.index("NetworkPolicy") < kinds.index("Deployment")


@pytest.mark.parametrize("build", [own_objects, router_objects])
def test_a_refused_model_gets_no_object_at_all(build: Callable[..., list[dict[str, Any]]]) -> None:
    assert build(observed(), Plan(), SETTINGS) == []


def test_a_model_without_pods_needs_no_policy_for_them() -> None:
    kinds = {item["kind"] for item in own_objects(observed(), Plan(resolve=RESOLVE, table=TABLE), SETTINGS)}
    assert kinds == {"Job"}


def test_a_table_that_changed_since_it_was_read_is_not_overwritten() -> None:
    def table(version: str | None) -> dict[str, Any]:
        objects = router_objects(observed(table_version=version), PLAN, SETTINGS)
        return next(o for o in objects if o["kind"] == "ConfigMap")

    assert table("17")["metadata"]["resourceVersion"] == "17"
    assert "resourceVersion" not in table(None)["metadata"]
    assert not any("resourceVersion" in o["metadata"] for o in [*OWN, *SHARED])


def test_the_table_can_be_read_back_from_what_is_written() -> None:
    data = next(o for o in SHARED if o["kind"] == "ConfigMap")["data"]
    assert Table.model_validate_json(data[TABLE_KEY]) == TABLE
    assert set(data) == {TABLE_KEY, "lds.json", "cds.json", "rds-digits.json", "rds-letters.json"}


def test_a_full_router_fits_into_its_config_map_though_all_its_models_are_in_a_rollout_and_sampled() -> None:
    models = [f"{'m' * 60}{number:03}" for number in range(MODELS_PER_ROUTER)]
    digest = "sha256:" + "a" * 64

    def route(model: str, port: int) -> Route:
        split = [
            Backend(revision=names.revision(model, f"{mark:08x}"), weight=33, digest=digest, role=role)
            for mark, role in enumerate(("stable", "canary", ""))
        ]
        more = {"affinity": "Header", "affinity_header": "h" * 128, "sample_percent": 10}
        return Route(model=model, port=port, timeout_seconds=3600, backends=tuple(split), **more)

    table = Table(routes={model: route(model, 20000 + index) for index, model in enumerate(models)})
    data = router.config_map("n" * 63, 12, (), table, SETTINGS, None)["data"]
    assert sum(len(key) + len(text.encode()) for key, text in data.items()) <= 1024 * 1024


def in_shard(shard: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Own and shared objects of a model whose Service leads to a router that has its route alone."""
    table = Table(routes={"digits": ROUTE})
    meta = {"name": "digits", "labels": {SHARD: str(shard)}, "ownerReferences": [{"uid": "u-1"}]}
    seen = replace(observed(), service={"kind": "Service", "metadata": meta})
    plan = replace(PLAN, table=table)
    return own_objects(seen, plan, SETTINGS), router_objects(seen, plan, SETTINGS)


def test_a_model_of_a_further_router_leads_to_it_and_to_no_other() -> None:
    own, shared = in_shard(3)
    pods = {COMPONENT: "router", SHARD: "3"}
    by_name = {name(item): item for item in (*own, *shared)}
    assert by_name["Service/digits"]["spec"]["selector"] == pods
    assert by_name["Service/digits"]["metadata"]["labels"][SHARD] == "3", "it remembers its router"
    policy = by_name["NetworkPolicy/digits"]["spec"]["ingress"][0]["from"]
    assert policy == [{"podSelector": {"matchLabels": found}} for found in (pods, {COMPONENT: "observer"})]
    for item in shared:
        assert item["metadata"]["name"] == "tidegate-router-3"
        assert item["metadata"]["labels"][SHARD] == "3"
    spec = by_name["Deployment/tidegate-router-3"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"] == pods
    assert {"name": "config", "configMap": {"name": "tidegate-router-3"}} in spec["template"]["spec"]["volumes"]
    for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        selector = by_name[f"{kind}/tidegate-router-3"]["spec"][field]
        assert selector == {"matchLabels": pods}


def test_a_router_goes_with_the_last_model_that_it_has_a_route_of() -> None:
    _, shared = in_shard(1)
    for item in shared:
        assert [owner["name"] for owner in item["metadata"]["ownerReferences"]] == ["digits"]


def test_no_two_routers_have_a_name_in_common() -> None:
    found = [names.router(shard) for shard in range(100)]
    assert found[:3] == ["tidegate-router", "tidegate-router-1", "tidegate-router-2"]
    assert len(set(found)) == 100


def test_both_ports_of_the_models_address_lead_to_its_own_listener() -> None:
    service = OWN[-1]
    assert service["spec"]["selector"] == {COMPONENT: "router", SHARD: "0"}
    ports = {p["name"]: (p["port"], p["targetPort"]) for p in service["spec"]["ports"]}
    assert ports == {"http": (8000, ROUTE.port), "grpc": (8001, ROUTE.port)}


def test_a_revisions_name_finds_exactly_its_own_pods() -> None:
    by_name = {name(item): item for item in OWN}
    for revision in ("digits-aaaaaaaa", "digits-bbbbbbbb"):
        service, deployment = by_name[f"Service/{revision}"], by_name[f"Deployment/{revision}"]
        assert service["spec"]["clusterIP"] == "None"
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert service["spec"]["selector"][REVISION] == revision
        assert ROLE not in labels, "promotion changes the role, and must not change a pod"


def test_a_deployment_says_which_role_and_bundle_it_has_and_loses_no_pod_in_a_change() -> None:
    stable, canary = (item for item in OWN if item["kind"] == "Deployment")
    assert (stable["metadata"]["labels"][ROLE], canary["metadata"]["labels"][ROLE]) == ("stable", "canary")
    assert stable["metadata"]["annotations"][DIGEST] == GPU.revision.digest
    assert (stable["spec"]["replicas"], canary["spec"]["replicas"]) == (3, 1)
    for item in (stable, canary, *(o for o in SHARED if o["kind"] == "Deployment")):
        assert item["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_drain_always_gets_on_and_takes_one_pod_at_a_time() -> None:
    budgets = [item for item in [*OWN, *SHARED] if item["kind"] == "PodDisruptionBudget"]
    assert [b["spec"]["maxUnavailable"] for b in budgets] == [1, 1]


def test_triton_takes_requests_from_routers_the_observer_and_the_check_of_its_own_model_only() -> None:
    policy = next(item for item in OWN if item["kind"] == "NetworkPolicy")
    found = [(p["port"], who) for rule in policy["spec"]["ingress"] for p in rule["ports"] for who in rule["from"]]
    routers = {"podSelector": {"matchLabels": {COMPONENT: "router", SHARD: "0"}}}
    watcher = {"podSelector": {"matchLabels": {COMPONENT: "observer"}}}
    parity = {"podSelector": {"matchLabels": {MODEL: "digits", COMPONENT: "parity"}}}
    both = [(port, who) for port in (8000, 8001) for who in (routers, watcher)]
    assert found == [*both, (8000, parity), (8002, {"namespaceSelector": {}})]
    assert policy["spec"]["podSelector"]["matchLabels"] == {MODEL: "digits", COMPONENT: "server"}


def test_a_routers_state_is_read_from_the_operators_namespace_only() -> None:
    policy = next(o for o in router_objects(observed(), PLAN, OTHER_SETTINGS) if o["kind"] == "NetworkPolicy")
    views = [rule for rule in policy["spec"]["ingress"] if {"port": 9902, "protocol": "TCP"} in rule["ports"]]
    wanted = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}
    assert [rule["from"] for rule in views] == [[wanted]]
    assert not any(
        port["port"] <= 9901 <= port.get("endPort", port["port"])
        for rule in policy["spec"]["ingress"]
        for port in rule["ports"]
    )


def test_a_retry_of_the_resolve_job_is_another_job_and_says_which() -> None:
    def job(attempt: int) -> dict[str, Any]:
        plan = replace(PLAN, resolve=replace(RESOLVE, attempt=attempt))
        return next(o for o in own_objects(observed(), plan, SETTINGS) if o["kind"] == "Job")

    first, second = job(0), job(1)
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert second["metadata"]["labels"].items() >= {KEY: RESOLVE.key, ATTEMPT: "1"}.items()
    assert second["spec"]["backoffLimit"] == 0
    assert 0 < second["spec"]["activeDeadlineSeconds"] <= 600


def job_of(plan: Plan, component: str) -> dict[str, Any]:
    """The one Job of this kind."""
    jobs = [o for o in own_objects(observed(), plan, SETTINGS) if o["kind"] == "Job"]
    (found,) = [job for job in jobs if job["metadata"]["labels"][COMPONENT] == component]
    return found


def test_a_retry_of_the_replay_is_another_job_and_says_which() -> None:
    first, second = (job_of(replace(PLAN, replay=replace(REPLAY, attempt=n)), "parity") for n in (0, 1))
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert second["metadata"]["labels"].items() >= {REVISION: REPLAY.revision, ATTEMPT: "1"}.items()
    assert second["spec"]["backoffLimit"] == 0
    assert 0 < second["spec"]["activeDeadlineSeconds"] <= 600


def test_the_pod_of_a_replay_counts_for_no_revision_and_is_let_through_to_triton() -> None:
    template = job_of(PLAN, "parity")["spec"]["template"]
    assert REVISION not in template["metadata"]["labels"]
    policy = next(item for item in OWN if item["kind"] == "NetworkPolicy")
    allowed = [rule["from"][0]["podSelector"]["matchLabels"] for rule in policy["spec"]["ingress"][:2]]
    assert [wanted.items() <= template["metadata"]["labels"].items() for wanted in allowed] == [False, True]
    services = [item["spec"]["selector"] for item in OWN if item["kind"] == "Service"]
    assert not any(selector.items() <= template["metadata"]["labels"].items() for selector in services)


def test_a_replay_asks_every_pod_at_tritons_port_for_the_bundle_of_the_revision() -> None:
    (container,) = job_of(PLAN, "parity")["spec"]["template"]["spec"]["containers"]
    verb, uri, *options = container["args"]
    assert (verb, uri) == ("parity", REPLAY.uri)
    given = list(zip(options[::2], options[1::2], strict=True))
    assert ("--digest", REPLAY.digest) in given
    endpoints = [value for option, value in given if option == "--endpoint"]
    assert endpoints == ["10.0.0.7:8000", "[fd00::7]:8000"]
    seconds = int(dict(given)["--timeout"])
    assert seconds < job_of(PLAN, "parity")["spec"]["activeDeadlineSeconds"]


def test_two_bundles_are_read_one_after_the_other_each_with_its_own_credentials() -> None:
    pod = job_of(replace(PLAN, resolve=replace(RESOLVE, base=BASE)), "resolve")["spec"]["template"]["spec"]
    (reader,), (comparer,) = pod["initContainers"], pod["containers"]
    kept = reader["args"][reader["args"].index("--keep") + 1]
    assert reader["args"][:4] == ["resolve", RESOLVE.uri, "--digest", RESOLVE.digest]
    assert comparer["args"][:4] == ["contract", BASE.uri, "--digest", BASE.digest]
    assert comparer["args"][4:6] == ["--successor", kept]
    secrets = [{e["valueFrom"]["secretKeyRef"]["name"] for e in c["env"]} for c in (reader, comparer)]
    assert secrets == [{"models-read"}, {"registry-read"}]
    shared = [mount["name"] for mount in comparer["volumeMounts"] if kept.startswith(mount["mountPath"] + "/")]
    assert shared == ["tmp"]


def test_without_a_bundle_to_compare_with_one_container_does_all() -> None:
    pod = job_of(PLAN, "resolve")["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    assert "--keep" not in pod["containers"][0]["args"]


def test_what_the_installation_sets_reaches_every_part_of_the_router() -> None:
    by_kind = {o["kind"]: o for o in router_objects(observed(), PLAN, OTHER_SETTINGS)}
    assert by_kind["Deployment"]["spec"]["replicas"] == 5
    (container,) = by_kind["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "other/envoy:2.0"
    assert container["imagePullPolicy"] == "Always"
    assert container["resources"] == {"requests": {"cpu": "2"}, "limits": {"memory": "2Gi"}}
    assert '"digits-aaaaaaaa.vision.svc.example.org."' in by_kind["ConfigMap"]["data"]["cds.json"]
    job = next(o for o in own_objects(observed(), PLAN, OTHER_SETTINGS) if o["kind"] == "Job")
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "other/packager:2.0"


def test_no_listener_of_the_router_can_have_the_name_of_a_model() -> None:
    reserved = [listener["name"] for listener in envoy.bootstrap()["static_resources"]["listeners"]]
    reserved += [listener["name"] for listener in envoy.listeners(Table())["resources"]]
    assert len(reserved) == 2
    assert all(found.startswith(ROUTER) for found in reserved)


def test_a_router_without_any_model_keeps_its_listener_for_readiness() -> None:
    (only,) = envoy.listeners(Table())["resources"]
    assert only["address"]["socket_address"]["port_value"] == envoy.READY_PORT
