"""Promises about every pod that the operator makes: what it may do, how it starts and how it leaves."""

from dataclasses import replace
from typing import Any

import pytest
from resources_examples import (
    BASE,
    CPU,
    CPU_SERVER,
    GPU,
    GPU_SERVER,
    LETTERS,
    OWNERS,
    PLAN,
    PUBLIC_KEY,
    RESOLVE,
    ROUTE,
    SETTINGS,
    SIGNED,
    SUBJECT,
    containers,
    observed,
    pod_specs,
    stored,
)

from tidegate.api.v1alpha1 import Model, SecretReference, TemplatePodSpec
from tidegate.domain.labels import COMPONENT, DIGEST, MODEL, REVISION
from tidegate.domain.plan import Plan
from tidegate.domain.revision import Pins
from tidegate.domain.routing import Table
from tidegate.resources import router
from tidegate.resources.build import own_objects, router_objects
from tidegate.resources.jobs import resolve_job
from tidegate.resources.packager import CREDENTIAL_KEYS
from tidegate.resources.triton import pod_template

COMPARING = Plan(resolve=replace(RESOLVE, base=BASE, attempt=7))
OBJECTS = [
    *own_objects(observed(), PLAN, SETTINGS),
    *own_objects(observed(), COMPARING, SETTINGS),
    *router_objects(observed(), PLAN, SETTINGS),
]
PODS = dict(pod_specs(OBJECTS))
EVERY_POD = pytest.mark.parametrize("spec", PODS.values(), ids=PODS.keys())


def server(template: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = template["spec"]["containers"][0]
    return found


def test_these_are_all_kinds_of_pods() -> None:
    assert {place.split("/")[0] for place in PODS} == {"Deployment", "Job"}
    assert len(PODS) == 6


@EVERY_POD
def test_no_pod_runs_as_root_or_without_a_seccomp_profile(spec: dict[str, Any]) -> None:
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] >= 1000
    assert security["runAsGroup"] >= 1000
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


@EVERY_POD
def test_no_container_can_gain_a_privilege_or_write_into_its_image(spec: dict[str, Any]) -> None:
    for container in containers(spec):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]


@EVERY_POD
def test_no_pod_holds_a_token_or_sees_other_services_or_shares_the_node(spec: dict[str, Any]) -> None:
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert {kind for volume in spec["volumes"] for kind in volume} <= {"name", "emptyDir", "configMap"}


@EVERY_POD
def test_every_volume_that_is_mounted_is_there(spec: dict[str, Any]) -> None:
    there = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for c in containers(spec) for mount in c["volumeMounts"]} == there


@pytest.mark.parametrize("server_wire", [GPU_SERVER, CPU_SERVER])
def test_only_the_packager_gets_the_stores_credentials_and_only_the_known_keys(server_wire: dict[str, Any]) -> None:
    with_secret = stored(server_wire, credentials=SecretReference(name="models-read"))
    spec = pod_template(SUBJECT, with_secret)["spec"]
    (fetch,) = spec["initContainers"]
    assert [entry["name"] for entry in fetch["env"]] == list(CREDENTIAL_KEYS["s3"])
    for entry in fetch["env"]:
        wanted = {"name": "models-read", "key": entry["name"], "optional": True}
        assert entry["valueFrom"] == {"secretKeyRef": wanted}
    assert all("valueFrom" not in entry for entry in spec["containers"][0]["env"])
    assert all("envFrom" not in container for container in containers(spec))


@pytest.mark.parametrize(
    ("uri", "variables"),
    [
        ("s3://models/digits:3", list(CREDENTIAL_KEYS["s3"])),
        ("gs://models/digits:3", ["GOOGLE_SERVICE_ACCOUNT_KEY"]),
        ("az://models/digits:3", list(CREDENTIAL_KEYS["az"])),
        (
            "oci://registry.example/digits:3",
            ["OCI_USERNAME", "OCI_PASSWORD", "OCI_DOCKER_CONFIG_JSON", "MODEL_PACKAGER_PLAIN_HTTP"],
        ),
    ],
)
def test_each_kind_of_store_gets_its_own_credentials_in_the_job_and_in_the_pods(uri: str, variables: list[str]) -> None:
    secret = SecretReference(name="models-read")
    job = resolve_job(SUBJECT, replace(RESOLVE, uri=uri, credentials=secret), SETTINGS)
    (resolve,) = job["spec"]["template"]["spec"]["containers"]
    (fetch,) = pod_template(SUBJECT, stored(uri=uri, credentials=secret))["spec"]["initContainers"]
    assert resolve["env"] == fetch["env"]
    assert [entry["name"] for entry in fetch["env"]] == variables
    keys = [entry["valueFrom"]["secretKeyRef"]["key"] for entry in fetch["env"]]
    assert keys == list(CREDENTIAL_KEYS[uri.partition(":")[0]])


def test_every_kind_of_address_that_the_api_accepts_has_its_keys_and_every_key_is_explained() -> None:
    explained = Model.model_fields["credentials_secret_ref"].description or ""
    for scheme, keys in CREDENTIAL_KEYS.items():
        assert Model(uri=f"{scheme}://models/digits:3").uri.startswith(scheme)
        assert [key for key in keys if key not in explained] == []


def test_the_public_key_reaches_the_job_and_every_pod_and_must_be_there() -> None:
    job = resolve_job(SUBJECT, replace(RESOLVE, public_key=PUBLIC_KEY), SETTINGS)
    (resolve,) = job["spec"]["template"]["spec"]["containers"]
    spec = pod_template(SUBJECT, SIGNED)["spec"]
    for container in (resolve, spec["initContainers"][0]):
        # Without "optional": a Secret that is missing must not be a check that is missing.
        wanted = {"secretKeyRef": {"name": "signing", "key": "cosign.pub"}}
        assert container["env"][-1] == {"name": "MODEL_PACKAGER_PUBLIC_KEY", "valueFrom": wanted}
    assert "MODEL_PACKAGER_PUBLIC_KEY" not in str(spec["containers"])


def test_without_a_secret_no_credentials_are_asked_for() -> None:
    assert pod_template(SUBJECT, CPU)["spec"]["initContainers"][0]["env"] == []


def test_the_resolve_job_runs_as_the_workload_not_as_the_operator() -> None:
    spec = next(spec for place, spec in PODS.items() if place.startswith("Job/"))
    assert spec["serviceAccountName"] == "models-read"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["restartPolicy"] == "Never"


def test_pods_fetch_by_digest_whatever_happens_to_the_version() -> None:
    args = pod_template(SUBJECT, GPU)["spec"]["initContainers"][0]["args"]
    digest = GPU.revision.digest
    assert args[:6] == ["pull", f"s3://models/digits@{digest}", "--digest", digest, "--to", "/bundle"]


@pytest.mark.parametrize("drain", [1, 40, 600])
@pytest.mark.parametrize("longest", [1, 30, 300, 3600])
def test_a_pod_has_time_to_drain_and_then_to_finish_what_it_is_doing(drain: int, longest: int) -> None:
    pinned = stored(pins=Pins(packager_image="tidegate/packager:1.0", drain_seconds=drain), longest=longest)
    spec = pod_template(SUBJECT, pinned)["spec"]
    assert spec["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": drain}}}
    (flag,) = (a for a in spec["containers"][0]["args"] if a.startswith("--exit-timeout-secs="))
    exit_seconds = int(flag.partition("=")[2])
    assert exit_seconds >= max(10, longest - 20), "the last request comes 20 s after the pod was told to go"
    assert spec["terminationGracePeriodSeconds"] > drain + exit_seconds


def test_a_model_on_a_busy_node_stays_in_its_service_and_a_revision_keeps_the_patience_it_was_made_with() -> None:
    patient = server(pod_template(SUBJECT, stored(pins=SETTINGS.pins)))["readinessProbe"]
    assert patient["timeoutSeconds"] * patient["failureThreshold"] >= 15, "answers take seconds there"
    assert patient["periodSeconds"] * patient["failureThreshold"] <= 3, "a server that refuses is left at once"
    before = Pins.model_validate({"packagerImage": "tidegate/packager:1.0", "drainSeconds": 40})
    assert server(pod_template(SUBJECT, stored(pins=before)))["readinessProbe"]["timeoutSeconds"] == 2


def test_a_router_asks_clients_to_leave_and_has_time_for_it() -> None:
    spec = PODS["Deployment/tidegate-router"]
    shell = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert shell[:2] == ["/bin/bash", "-c"]
    assert "POST /healthcheck/fail" in shell[2]
    seconds = int(shell[-1])
    assert seconds >= 10
    assert spec["terminationGracePeriodSeconds"] > seconds + 300 + 10, "a request may take minutes"


@pytest.mark.parametrize(("longest", "waits"), [(1, 300), (300, 300), (301, 301), (3600, 3600)])
def test_a_router_waits_for_the_longest_request_of_its_models(longest: int, waits: int) -> None:
    table = Table(routes={"digits": ROUTE, "letters": LETTERS.model_copy(update={"timeout_seconds": longest})})
    found = router.deployment("vision", 0, OWNERS, table, SETTINGS)["spec"]["template"]["spec"]
    assert found["terminationGracePeriodSeconds"] == waits + 12 + 15, "it restarts for another time"


def test_a_pod_is_ready_when_its_model_is_and_is_killed_only_when_triton_is_dead() -> None:
    triton = server(pod_template(SUBJECT, CPU))
    assert triton["readinessProbe"]["httpGet"] == {"path": "/v2/models/digits/versions/1/ready", "port": 8000}
    assert triton["livenessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": 8000}
    startup = triton["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600, "a large model loads for minutes"
    assert startup["periodSeconds"] == 1, "a small one is not kept waiting"


def test_a_router_is_ready_by_what_its_configuration_brings_and_alive_by_its_own_answer() -> None:
    envoy = PODS["Deployment/tidegate-router"]["containers"][0]
    ready = envoy["readinessProbe"]
    assert ready["httpGet"]["port"] == 9903
    assert ready["timeoutSeconds"] * ready["failureThreshold"] >= 30, "a busy node does not take every router out"
    assert envoy["livenessProbe"]["httpGet"] == {"path": "/server_info", "port": 9902}


@pytest.mark.parametrize(
    ("accelerator", "limits", "wanted"),
    [
        ("GPU", {}, {"nvidia.com/gpu": "1"}),
        ("GPU", {"memory": "8Gi"}, {"memory": "8Gi", "nvidia.com/gpu": "1"}),
        ("GPU", {"nvidia.com/gpu": 2}, {"nvidia.com/gpu": "2"}),
        ("GPU", {"nvidia.com/mig-1g.10gb": 1}, {"nvidia.com/mig-1g.10gb": "1"}),
        ("GPU", {"amd.com/gpu": 1}, {"amd.com/gpu": "1"}),
        ("CPU", {}, {}),
        ("CPU", {"memory": "1Gi"}, {"memory": "1Gi"}),
    ],
)
def test_a_gpu_model_gets_one_gpu_unless_its_resources_name_a_device(
    accelerator: str, limits: dict[str, Any], wanted: dict[str, str]
) -> None:
    made = stored({"accelerator": accelerator, "resources": {"limits": limits}})
    assert server(pod_template(SUBJECT, made))["resources"]["limits"] == wanted


def test_triton_runs_the_configuration_of_its_accelerator_and_fails_when_the_model_does() -> None:
    gpu, cpu = server(pod_template(SUBJECT, GPU)), server(pod_template(SUBJECT, CPU))
    assert "--model-config-name=gpu" in gpu["args"]
    assert "--model-config-name=cpu" in cpu["args"]
    assert cpu["env"] == [{"name": "TRITON_SERVER_CPU_ONLY", "value": "1"}]
    for made in (gpu, cpu):
        assert {"--model-control-mode=none", "--exit-on-error=true", "--strict-readiness=true"} <= set(made["args"])
        assert not any("explicit" in flag for flag in made["args"])


def test_flags_of_the_user_come_after_those_of_the_operator() -> None:
    assert server(pod_template(SUBJECT, GPU))["args"][-1] == "--log-verbose=1"


def test_shared_memory_is_larger_than_a_containers_default() -> None:
    spec = pod_template(SUBJECT, CPU)["spec"]
    shm = next(volume for volume in spec["volumes"] if volume["name"] == "shm")
    assert shm["emptyDir"]["medium"] == "Memory"
    assert {"name": "shm", "mountPath": "/dev/shm"} in server({"spec": spec})["volumeMounts"]


def test_labels_and_annotations_of_the_user_are_added_and_never_replace_the_operators() -> None:
    overlay = {
        "labels": {"team": "vision", MODEL: "stolen", REVISION: "stolen", COMPONENT: "router"},
        "annotations": {"example.com/a": "b", DIGEST: "stolen"},
    }
    # The API refuses these keys: a revision that was stored before it did must not get through either.
    broken = CPU.revision.server.model_copy(
        update={
            "template": CPU.revision.server.template.model_copy(
                update={"metadata": CPU.revision.server.template.metadata.model_copy(update=overlay)}
            )
        }
    )
    made = CPU.model_copy(update={"revision": CPU.revision.model_copy(update={"server": broken})})
    found = pod_template(SUBJECT, made)["metadata"]
    assert found["labels"].items() >= {"team": "vision", MODEL: "digits", COMPONENT: "server"}.items()
    assert found["labels"][REVISION] == CPU.name
    assert found["annotations"] == {"example.com/a": "b", DIGEST: CPU.revision.digest}


def test_users_choose_where_pods_run_and_nothing_that_the_operator_owns() -> None:
    owned = set(pod_template(SUBJECT, CPU)["spec"])
    choosable = {field.alias for field in TemplatePodSpec.model_fields.values()}
    assert not owned & choosable
    placed = pod_template(SUBJECT, GPU)["spec"]
    assert placed["nodeSelector"] == {"gpu": "l4"}
    assert placed["serviceAccountName"] == "models-read"
    assert placed["automountServiceAccountToken"] is False
