"""A signed bundle in a private registry is served like one in a bucket."""

from collections.abc import Callable
from pathlib import Path

from e2e_signing import asking_for, packager, signer
from e2e_world import Space, World, ask
from registry_server import running_registry


def test_a_signed_bundle_in_a_registry_with_a_password_is_served(
    world: World, make_space: Callable[[str], Space], tmp_path: Path
) -> None:
    space, bundle, key = make_space("registry"), world.bundles["adder:2"], signer(tmp_path, "trusted")
    with running_registry(tmp_path, locked=True, host=world.host_address()) as registry:
        registry.log_in(tmp_path, registry.password)
        log_in = {"DOCKER_CONFIG": str(tmp_path), "MODEL_PACKAGER_PLAIN_HTTP": registry.address}
        uri = f"oci://{registry.address}/team/{bundle.name}:{bundle.version}"
        packager("push", bundle.folder, uri.rpartition("/")[0], **log_in)
        packager("sign", uri, "--key", key.private, **log_in)
        credentials = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "registry"},
            "stringData": {
                ".dockerconfigjson": (tmp_path / "config.json").read_text(),
                "MODEL_PACKAGER_PLAIN_HTTP": registry.address,
            },
        }
        model = {"uri": uri, "credentialsSecretRef": {"name": "registry"}}
        wanted = space.manifest("adder", bundle, model=model, verification=asking_for("signing", "trusted.pub"))
        space.apply(credentials, key.secret("signing", "trusted.pub"), wanted)
        space.wait_ready("adder", seconds=240)
        assert ask(space.address("adder"), "adder", 0.0)[0] == bundle.offset
    artifact = space.status("adder")["artifact"]
    assert artifact["digest"] == bundle.digest
    assert artifact["verifiedBy"] == "signing/trusted.pub"
