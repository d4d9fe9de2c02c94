"""The plain manifests are the chart's output, and the samples are what the API takes."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from charts import generate
from tidegate.api.v1alpha1 import API_VERSION, KIND, ModelDeploymentSpec

Object = dict[str, Any]
Rendered = dict[tuple[str, str, str], Object]
Render = Callable[..., Rendered]

SAMPLES = generate.ROOT / "manifests" / "samples"
CRD_NAME = "modeldeployments.tidegate.dev"


def plain(rendered: Rendered) -> Rendered:
    """The objects without what only Helm reads: its version label, its name as manager, its policy to keep."""
    result = copy.deepcopy(rendered)
    for item in result.values():
        labels, annotations = item["metadata"].get("labels", {}), item["metadata"].get("annotations", {})
        labels.pop("helm.sh/chart", None)
        labels.pop("app.kubernetes.io/managed-by", None)
        annotations.pop("helm.sh/resource-policy", None)
        if not annotations:
            item["metadata"].pop("annotations", None)
    return result


def test_generated_files_are_current(helm4: Path) -> None:
    stale = generate.stale(generate.chart_files()) + generate.stale(generate.manifest_files(helm4))
    assert stale == [], "run `python -m charts.generate`"


def test_the_charts_crd_is_the_one_in_crds(render: Render, helm4: Path) -> None:
    text = (generate.ROOT / "crds" / f"{CRD_NAME}.yaml").read_text()
    source = yaml.load(text, Loader=yaml.CSafeLoader)
    installed = render(helm4)["CustomResourceDefinition", "", CRD_NAME]
    assert installed["spec"] == source["spec"]


def test_braces_in_a_description_reach_the_cluster_unchanged(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: K\nmetadata: {name: n}\nspec: {description: 'use {{ .Values.x }}'}\n"
    (tmp_path / "crd.yaml").write_text(text)
    assert """use {{ "{{" }} .Values.x }}""" in generate.crd_template(tmp_path / "crd.yaml")


def test_the_base_is_the_charts_default_output_in_a_namespace_of_its_own(
    render: Render, kustomize: Render, helm4: Path
) -> None:
    base = dict(kustomize(generate.BASE))
    namespace = base.pop(("Namespace", "", generate.NAMESPACE))
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert base == plain(render(helm4))


def test_the_namespaced_overlay_is_the_chart_with_one_watched_namespace(
    render: Render, kustomize: Render, helm4: Path
) -> None:
    overlay = dict(kustomize(generate.NAMESPACED))
    del overlay["Namespace", "", generate.NAMESPACE]
    assert overlay == plain(render(helm4, "", "--set", "watchNamespaces={models}"))


def test_the_sample_model_is_valid(kustomize: Render) -> None:
    sample = kustomize(SAMPLES)[KIND, "demo", "digits"]
    assert sample["apiVersion"] == API_VERSION
    spec = ModelDeploymentSpec.model_validate(sample["spec"])
    assert spec.to_wire()["rollout"]["steps"] == sample["spec"]["rollout"]["steps"]


def test_the_charts_example_for_artifact_hub_is_valid() -> None:
    annotations = yaml.safe_load((generate.CHART / "Chart.yaml").read_text())["annotations"]
    (example,) = yaml.safe_load(annotations["artifacthub.io/crdsExamples"])
    ModelDeploymentSpec.model_validate(example["spec"])


def test_artifact_hub_lists_the_images_that_the_chart_runs(render: Render, helm4: Path) -> None:
    annotations = yaml.safe_load((generate.CHART / "Chart.yaml").read_text())["annotations"]
    listed = {entry["image"] for entry in yaml.safe_load(annotations["artifacthub.io/images"])}
    deployment = render(helm4)["Deployment", generate.NAMESPACE, "tidegate-operator"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    flags = dict(argument.partition("=")[::2] for argument in container["args"])
    assert listed == {container["image"], flags["--packager-image"], flags["--observer-image"], flags["--router-image"]}


def test_the_sample_store_is_where_the_samples_credentials_point(kustomize: Render) -> None:
    objects = kustomize(SAMPLES)
    secret = objects["Secret", "demo", objects[KIND, "demo", "digits"]["spec"]["model"]["credentialsSecretRef"]["name"]]
    service = objects["Service", "demo", "store"]
    pod = objects["Deployment", "demo", "store"]["spec"]["template"]
    assert secret["stringData"]["AWS_ENDPOINT_URL"] == f"http://store.demo.svc:{service['spec']['ports'][0]['port']}"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    buckets, *credentials = pod["spec"]["containers"][0]["env"]
    assert objects[KIND, "demo", "digits"]["spec"]["model"]["uri"].startswith(f"s3://{buckets['value']}/")
    for variable in credentials:
        reference = variable["valueFrom"]["secretKeyRef"]
        assert reference["name"] == secret["metadata"]["name"]
        assert reference["key"] in secret["stringData"]


def test_kustomize_sets_the_image_of_a_model(kustomize: Render, tmp_path: Path) -> None:
    folder = shutil.copytree(SAMPLES, tmp_path / "samples")
    with (folder / "kustomization.yaml").open("a") as file:
        file.write("images: [{name: tidegate/triton-cpu, newTag: dev-1}, {name: tidegate/store, newTag: dev-2}]\n")
    objects = kustomize(folder)
    assert objects[KIND, "demo", "digits"]["spec"]["server"]["image"] == "tidegate/triton-cpu:dev-1"
    (container,) = objects["Deployment", "demo", "store"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "tidegate/store:dev-2"
