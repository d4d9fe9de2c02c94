"""A bundle in a registry is an image that Kubernetes mounts as a volume, without a copy by anyone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from e2e_models import Bundle
from e2e_signing import packager
from e2e_world import Space, World
from registry_server import running_registry


def _let_the_node_pull_from(world: World, address: str) -> None:
    """Tell the node's container runtime that this registry speaks plain HTTP; it looks before each pull."""
    folder = world.platform.cluster.kubeconfig.parent / "config" / "registries" / address
    folder.mkdir(parents=True)
    capabilities = 'capabilities = ["pull", "resolve"]'
    (folder / "hosts.toml").write_text(f'server = "http://{address}"\n[host."http://{address}"]\n{capabilities}\n')


def _reader(image: str, packager_image: str) -> dict[str, Any]:
    """A pod that verifies the mounted bundle: every file, and that there is no other."""
    container = {
        "name": "verify",
        "image": packager_image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["verify", "/bundle", "--output", "json"],
        "volumeMounts": [{"name": "bundle", "mountPath": "/bundle"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes = [{"name": "bundle", "image": {"reference": image}}, {"name": "tmp", "emptyDir": {}}]
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reader"}, "spec": spec}


def test_a_pod_mounts_a_bundle_from_a_registry_as_an_image_volume(
    world: World, bundles: dict[str, Bundle], make_space: Callable[[str], Space], tmp_path: Path
) -> None:
    space = make_space("image-volume")
    bundle = bundles["adder:1"]
    with running_registry(tmp_path, host=world.host_address()) as registry:
        root = f"oci://{registry.address}/models"
        said = packager("push", bundle.folder, root, "--output", "json", MODEL_PACKAGER_PLAIN_HTTP=registry.address)
        _let_the_node_pull_from(world, registry.address)
        image = f"tidegate/packager:{world.platform.tag('packager')}"
        space.apply(_reader(json.loads(said)["image"], image))

        def phase() -> str:
            (pod,) = space.objects("pods")
            return str(pod.get("status", {}).get("phase"))

        space.until(lambda: phase() in ("Succeeded", "Failed"), "the pod has looked at the bundle", seconds=60)
        seen = space.kubectl("logs", "reader")
    assert phase() == "Succeeded", seen
    assert json.loads(seen)["digest"] == bundle.digest
