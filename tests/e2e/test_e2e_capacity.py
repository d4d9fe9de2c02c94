"""Rollouts on the last GPUs: the real scheduler places pods on simulated nodes that have so many devices."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from e2e_world import Raw, Space, World

from devcluster.driver import SimulatedNodes

MODEL = "adder"
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
        """A word for namespaces and nodes."""
        return f"{self.replicas}-{self.free}-{self.shortage.lower()}"


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
    manifest = space.manifest(MODEL, space.world.bundles["adder:1"], replicas=case.replicas)
    manifest["spec"]["server"] |= {"accelerator": "GPU", "template": template, "resources": {"limits": {GPU: 1}}}
    manifest["spec"]["rollout"] |= {"steps": [], "budget": {"maxExtraReplicas": 1, "onShortage": case.shortage}}
    space.apply(manifest)
    space.wait_ready(MODEL)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_rollout_on_the_last_gpus_ends_or_says_that_it_waits(make_space: Callable[[str], Space], case: Case) -> None:
    space = make_space(f"gpu-{case.name}")
    deploy(space, case)
    space.point_to(MODEL, space.world.bundles["adder:2"])

    def plan() -> Raw:
        return dict(space.status(MODEL).get("rollout", {}).get("plan", {}))

    space.until(lambda: plan() or space.condition(MODEL).get("status") == "True", "a plan", seconds=60)
    planned = [message for reason, message in space.events(MODEL) if reason == "Planned"]
    space.say(f"{case.mode}: {planned}")
    if case.mode == "Wait":
        space.until(lambda: plan().get("mode") == "Wait", "it waits", seconds=30)
        assert space.condition(MODEL, "CapacityAvailable")["status"] == "False"
        assert space.status(MODEL)["stable"]["version"] == "1"
        assert len(space.ready_servers(MODEL, space.status(MODEL)["stable"]["revision"])) == case.replicas
        make_room(space.world, case)
    space.wait_ready(MODEL, seconds=180)
    assert space.status(MODEL)["stable"]["version"] == "2"
    assert len(planned) >= 1
    if case.mode != "Wait":
        words = {"Surge": "Starts", "InPlace": "one pod at a time", "Recreate": "interrupts requests"}
        assert words[case.mode] in planned[-1]


def make_room(world: World, case: Case) -> None:
    """One more device on the node."""
    room = (
        f'{{"status":{{"allocatable":{{"{GPU}":"{case.replicas + 1}"}},"capacity":{{"{GPU}":"{case.replicas + 1}"}}}}}}'
    )
    world.kubectl("patch", "node", f"gpu-{case.name}-0", "--subresource=status", "--type=merge", "-p", room)
