"""Rollouts on the last GPUs: the real scheduler places pods on simulated nodes that have so many devices."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from e2e_world import Raw, Space, World

from devcluster.driver import SimulatedNodes

GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class Case:
    """``replicas`` pods serve, ``free`` devices are left, and this is what a rollout does then."""

    replicas: int
    free: int
    shortage: str
    mode: str

    @property
    def name(self) -> str:
        """A word for it."""
        return f"{self.replicas}-{self.free}-{self.shortage.lower()}"

    @property
    def model(self) -> str:
        """Name of the ModelDeployment."""
        return f"adder-{self.name}"


WORDS = {
    "Wait": "Waits:",
    "Surge": "Starts",
    "InPlace": "one pod at a time",
    "Recreate": "interrupts requests",
}
CASES = (
    Case(1, 0, "Wait", "Wait"),
    Case(1, 0, "Recreate", "Recreate"),
    Case(2, 0, "InPlace", "InPlace"),
    Case(1, 1, "Wait", "Surge"),
    Case(2, 2, "Wait", "Surge"),
)


def deploy(space: Space, case: Case) -> None:
    """Version 1 with all its pods on one simulated node. No pod of it ever answers; no request is sent."""
    nodes = SimulatedNodes(
        count=1,
        prefix=f"gpu-{case.name}",
        allocatable={"cpu": "32", "memory": "64Gi", "pods": "110", GPU: str(case.replicas + case.free)},
    )
    space.world.platform.cluster.add_simulated_nodes(nodes)
    template: Raw = {
        "spec": {
            "nodeSelector": {"tidegate.dev/simulated": nodes.prefix},
            "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        }
    }
    manifest = space.manifest(case.model, space.world.bundles["adder:1"], replicas=case.replicas)
    manifest["spec"]["server"] |= {"accelerator": "GPU", "template": template, "resources": {"limits": {GPU: 1}}}
    manifest["spec"]["rollout"] |= {"steps": [], "budget": {"maxExtraReplicas": 1, "onShortage": case.shortage}}
    space.apply(manifest)


@pytest.fixture(scope="module")
def space(make_space: Callable[[str], Space]) -> Iterator[Space]:
    """Every case is a model of its own, and all of them roll out at once."""
    space = make_space("gpus")
    for case in CASES:
        deploy(space, case)
    space.wait_ready(*(case.model for case in CASES), seconds=240)
    for case in CASES:
        space.point_to(case.model, space.world.bundles["adder:2"])
    yield space
    for case in CASES:
        space.world.kubectl("delete", "node", f"gpu-{case.name}-0", "--wait=false")


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_rollout_on_the_last_gpus_ends_or_says_that_it_waits(space: Space, case: Case) -> None:
    def planned() -> list[str]:
        return [message for reason, message in space.events(case.model) if reason == "Planned"]

    space.until(planned, "a plan", seconds=90)
    space.say(f"{case.name}: {planned()[-1]}")
    assert WORDS[case.mode] in planned()[-1]
    if case.mode == "Wait":
        space.until(
            lambda: space.condition(case.model, "CapacityAvailable").get("status") == "False", "it waits", seconds=30
        )
        status = space.status(case.model)
        assert status["stable"]["version"] == "1"
        assert len(space.ready_servers(case.model, status["stable"]["revision"])) == case.replicas
        make_room(space.world, case)
    space.wait_ready(case.model, seconds=240)
    assert space.status(case.model)["stable"]["version"] == "2"


def make_room(world: World, case: Case) -> None:
    """One more device on the node."""
    devices = {GPU: str(case.replicas + 1)}
    patch = json.dumps({"status": {"allocatable": devices, "capacity": devices}})
    world.kubectl("patch", "node", f"gpu-{case.name}-0", "--subresource=status", "--type=merge", "-p", patch)
