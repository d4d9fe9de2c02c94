"""Every field of spec does something, and taking a change back takes everything back that it did."""

from collections.abc import Iterator
from typing import Any

import pytest
from cluster_stage import SETTINGS, Stage, plain
from domain_objects import digest, make_spec, uri
from domain_world import World
from sizing_cases import SIZING

from tidegate.api.crd import crd
from tidegate.domain.checks.windows import Agreement
from tidegate.domain.compute import compute
from tidegate.resources.build import own_objects
from tidegate.resources.router import config_map

Raw = dict[str, Any]
POD: dict[str, Raw] = {
    "server.image": {"image": "tritonserver:other"},
    "server.accelerator": {"accelerator": "CPU"},
    "server.resources.requests": {"resources": {"requests": {"cpu": "2"}}},
    "server.resources.limits": {"resources": {"limits": {"memory": "4Gi"}}},
    "server.args": {"args": ["--log-verbose=1"]},
    "server.template.metadata.labels": {"template": {"metadata": {"labels": {"team": "vision"}}}},
    "server.template.metadata.annotations": {"template": {"metadata": {"annotations": {"example.com/a": "b"}}}},
    "server.template.spec.nodeSelector": {"template": {"spec": {"nodeSelector": {"gpu": "l4"}}}},
    "server.template.spec.tolerations": {"template": {"spec": {"tolerations": [{"operator": "Exists"}]}}},
    "server.template.spec.affinity": {"template": {"spec": {"affinity": {"podAntiAffinity": {}}}}},
    "server.template.spec.topologySpreadConstraints": {
        "template": {"spec": {"topologySpreadConstraints": [{"maxSkew": 1}]}}
    },
    "server.template.spec.serviceAccountName": {"template": {"spec": {"serviceAccountName": "reader"}}},
    "server.template.spec.imagePullSecrets[].name": {"template": {"spec": {"imagePullSecrets": [{"name": "pull"}]}}},
    "server.template.spec.priorityClassName": {"template": {"spec": {"priorityClassName": "high"}}},
    "server.template.spec.runtimeClassName": {"template": {"spec": {"runtimeClassName": "nvidia"}}},
    "server.template.spec.schedulerName": {"template": {"spec": {"schedulerName": "gang"}}},
}
SECRET = {"model": {"uri": uri(1), "credentialsSecretRef": {"name": "models-read"}}}
SIGNED = {"verification": {"signature": {"publicKeySecretRef": {"name": "signing", "key": "public.pem"}}}}
SERVING: dict[str, Raw] = {
    "model.uri": {"model": {"uri": uri(2)}},
    "model.credentialsSecretRef.name": SECRET,
    "verification.signature.publicKeySecretRef.name": SIGNED,
    "verification.signature.publicKeySecretRef.key": SIGNED,
    "replicas": {"replicas": 3},
    "traffic.timeout": {"traffic": {"timeout": "7s"}},
    "traffic.affinity": {"traffic": {"affinity": "ClientAddress"}},
    "traffic.affinityHeader": {"traffic": {"affinity": "Header", "affinityHeader": "x-user"}},
    "suspend": {"suspend": True},
} | {field: {"server": change} for field, change in POD.items()}
"""Fields whose change shows while one version serves, with another value than the default."""
STEP = {"weight": 50, "hold": "5s"}


def _checks(*checks: Raw) -> Raw:
    return {"steps": [{"weight": 50, "hold": "1h"}], "analysis": {"minRequests": 20, "checks": list(checks)}}


def _steps(*steps: Raw) -> Raw:
    return {"steps": list(steps)}


def _query(**query: Any) -> Raw:
    return _checks({"name": "business", "prometheus": {"query": "x", "max": 1.0, **query}})


LATENCY, ERRORS = {"name": "a", "percentile": 95}, {"name": "a", "maxPercent": 1}
CHECK = "rollout.analysis.checks[]"
ROLLING: dict[str, tuple[Raw, Raw]] = {
    "rollout.strategy": (
        {"strategy": "BlueGreen", "steps": [{"pause": {}}]},
        {"strategy": "Recreate", "steps": [{"pause": {}}]},
    ),
    "rollout.steps[].weight": (_steps({"weight": 50, "hold": "1h"}), _steps({"weight": 33, "hold": "1h"})),
    "rollout.steps[].hold": (_steps(STEP, {"pause": {}}), _steps(STEP | {"hold": "1h"}, {"pause": {}})),
    "rollout.steps[].pause.duration": (_steps({"pause": {}}), _steps({"pause": {"duration": "5s"}})),
    "rollout.steps[].shadow.percent": (
        _steps({"shadow": {"percent": 5, "hold": "1h"}}),
        _steps({"shadow": {"percent": 50, "hold": "1h"}}),
    ),
    "rollout.steps[].shadow.hold": (
        _steps({"shadow": {"hold": "5s"}}, {"pause": {}}),
        _steps({"shadow": {"hold": "1h"}}, {"pause": {}}),
    ),
    "rollout.analysis.interval": (_steps(STEP), _steps(STEP) | {"analysis": {"interval": "1h", "minRequests": 20}}),
    "rollout.analysis.minRequests": (_steps(STEP), _steps(STEP) | {"analysis": {"minRequests": 100_000}}),
    f"{CHECK}.name": (_checks(ERRORS), _checks(ERRORS | {"name": "b"})),
    f"{CHECK}.percentile": (_checks(LATENCY), _checks(LATENCY | {"percentile": 50})),
    f"{CHECK}.maxMilliseconds": (_checks(LATENCY), _checks(LATENCY | {"maxMilliseconds": 30})),
    f"{CHECK}.maxIncreasePercent": (_checks(LATENCY), _checks(LATENCY | {"maxIncreasePercent": 50})),
    f"{CHECK}.maxPercent": (_checks(ERRORS), _checks(ERRORS | {"maxPercent": 2})),
    f"{CHECK}.maxIncreasePoints": (_checks(ERRORS), _checks(ERRORS | {"maxIncreasePoints": 5})),
    f"{CHECK}.minAgreementPercent": (
        _steps({"shadow": {"hold": "1h"}}) | {"analysis": {"checks": [{"name": "a", "minAgreementPercent": 98}]}},
        _steps({"shadow": {"hold": "1h"}}) | {"analysis": {"checks": [{"name": "a", "minAgreementPercent": 90}]}},
    ),
    f"{CHECK}.prometheus.max": (_query(), _query(max=0.2)),
    f"{CHECK}.prometheus.min": (_query(), _query(min=0.7)),
    f"{CHECK}.prometheus.sustained": (_query(max=0.2), _query(max=0.2, sustained="1h")),
    "rollout.budget.maxExtraReplicas": (
        _steps({"pause": {}}),
        _steps({"pause": {}}) | {"budget": {"maxExtraReplicas": 1}},
    ),
    "rollout.budget.onShortage": (
        _steps({"pause": {}}) | {"budget": {"maxExtraReplicas": 1}, "strategy": "BlueGreen"},
        _steps({"pause": {}}) | {"budget": {"maxExtraReplicas": 1, "onShortage": "InPlace"}, "strategy": "BlueGreen"},
    ),
    "rollout.bake.duration": (_steps(), _steps() | {"bake": {"duration": "1h"}}),
    "rollout.bake.keepReplicas": (
        _steps() | {"bake": {"duration": "1h"}},
        _steps() | {"bake": {"duration": "1h", "keepReplicas": 2}},
    ),
}
"""Two rollouts that differ in one field, which shows while they are under way."""
OWN_TEST = {
    "model.allowBreaking",
    f"{CHECK}.prometheus.query",
    "model.digest",
    "paused",
    "rollout.progressDeadline",
    "revisionHistoryLimit",
}
BY_A_GATEWAY = {"traffic.router"} | {
    f"traffic.gateway.{field}"
    for field in ("name", "namespace", "hostname", "grpcHostname", "sectionName", "grpcSectionName")
}
"""Fields that nobody can edit while a model serves, and that lead to other objects: see test_reconcile_gateway and
test_reconcile_service.
"""


def leaves(place: str, schema: Raw) -> Iterator[str]:
    """Every field of a schema that has no fields of its own."""
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from leaves(f"{place}.{name}".lstrip("."), inner)
    elif "properties" in schema.get("items", {}):
        yield from leaves(f"{place}[]", schema["items"])
    else:
        yield place


def rendered(world: World) -> Raw:
    """Every object as it would be written now, and the status."""
    observed = world.observe()
    plan, status = compute(world.spec, world.status, observed, world.cluster.now)
    assert plan.table is not None
    objects = own_objects(observed, plan, SETTINGS)
    objects.append(config_map("vision", observed.shard, observed.owners, plan.table, SETTINGS, None))
    return dict(plain({f"{o['kind']}/{o['metadata']['name']}": o for o in objects} | {"status": status.to_wire()}))


def rolling(rollout: Raw) -> World:
    """A world that rolls out version 2, which is a little slower and fails a few requests."""
    world = World(make_spec(1, replicas=3, rollout=rollout))
    world.settle()
    judged = "checks" in rollout.get("analysis", {})
    world.cluster.wrong[digest(2)], world.cluster.slow[digest(2)] = 0.02 if judged else 0.003, 1.02
    world.values, world.agreement = {"business": 0.5}, Agreement(100, 95 if judged else 100)
    world.move_to(2)
    world.run(30)
    return world


def test_every_field_of_spec_is_in_one_of_these_tables() -> None:
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert set(leaves("", schema)) == {*SERVING, *ROLLING, *OWN_TEST, *BY_A_GATEWAY, *SIZING}


@pytest.mark.parametrize("field", SERVING)
def test_a_change_of_a_field_shows_and_goes_without_a_trace(field: str) -> None:
    world = World(make_spec(1))
    world.cluster.signed_by = {"signing/public.pem"}
    world.settle()
    before, spec = rendered(world), world.spec.to_wire()
    world.edit(**SERVING[field])
    world.settle()
    assert rendered(world) != before
    world.edit(**{name: spec.get(name) for name in SERVING[field]})
    world.settle()
    assert _without_memory(rendered(world)) == _without_memory(before)


def _without_memory(objects: Raw) -> Raw:
    """Without what is remembered on purpose: former revisions, and the details of a bundle, such as who signed it."""
    kept = {name: o for name, o in objects.items() if not name.startswith("ControllerRevision/")}
    told = [c for c in kept["status"]["conditions"] if c["type"] != "ArtifactVerified"]
    return kept | {"status": kept["status"] | {"revisions": [], "artifact": None, "conditions": told}}


@pytest.mark.parametrize("field", ROLLING)
def test_a_change_of_a_field_shows_in_a_rollout(field: str) -> None:
    one, other = (rendered(rolling(rollout)) for rollout in ROLLING[field])
    assert one != other


def test_a_pause_shows_in_a_rollout() -> None:
    one, other = (rolling(_steps(STEP, {"pause": {}})) for _ in range(2))
    other.edit(paused=True)
    for world in (one, other):
        world.run(10)
    assert rendered(one) != rendered(other)


def test_allowing_a_breaking_contract_shows_where_there_is_one() -> None:
    one, other = World(make_spec(1)), World(make_spec(1))
    for world, allowed in ((one, False), (other, True)):
        world.cluster.contracts[digest(2)] = "Breaking"
        world.settle()
        world.edit(model={"uri": uri(2), "allowBreaking": allowed})
        world.run(30)
    assert rendered(one) != rendered(other)


def test_a_change_of_the_digest_shows_in_what_is_asked_of_the_store() -> None:
    plain, pinned = (World(make_spec(1, model={"uri": uri(1)} | more)) for more in ({}, {"digest": digest(1)}))
    assert rendered(plain) != rendered(pinned)


def test_a_change_of_the_deadline_shows_in_a_rollout_that_stands_still() -> None:
    said = []
    for deadline in ("30s", "1h"):
        world = World(make_spec(1, rollout={"progressDeadline": deadline}))
        world.settle()
        world.cluster.sick.add(digest(2))
        world.move_to(2)
        world.run(60)
        said.append(world.condition("Stalled").status)
    assert said == ["True", "False"]


def test_a_change_of_the_history_limit_shows_in_what_is_remembered() -> None:
    world = World(make_spec(1))
    world.settle()
    world.move_to(2)
    world.settle()
    before = rendered(world)
    world.edit(revisionHistoryLimit=0)
    world.settle()
    assert rendered(world) != before
    assert len(world.cluster.revisions) == 1


def test_the_api_server_gives_everything_back_that_was_taken_back(stage: Stage) -> None:
    stage.create(replicas=1)
    stage.settle()
    before, spec = stage.snapshot(), stage.objects("ModelDeployment")[0]["spec"]
    change = {"server": {"image": "tritonserver:other", "args": ["--log-verbose=1"]}, "traffic": {"timeout": "7s"}}
    stage.edit(**change, model={"uri": uri(2)}, replicas=2, rollout={"steps": []})
    stage.settle()
    assert stage.weights() == {"2": 100}
    back = [{"op": "replace", "path": "/spec", "value": spec}]
    path = stage.path("ModelDeployment", "digits")
    stage.api.request("PATCH", path, content_type="application/json-patch+json", body=back)
    stage.settle()
    after = stage.snapshot()
    for snapshot in (before, after):
        status = snapshot["ModelDeployment/digits"]["status"]
        status.update(revisions=[], artifact=None)
    extra = list(after.keys() - before.keys())
    assert [name.partition("/")[0] for name in extra] == ["ControllerRevision"]
    assert {name: o for name, o in after.items() if name not in extra} == before
