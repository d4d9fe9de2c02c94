"""Snapshots of simulated worlds, as they would be taken of a cluster, for tests of plans."""

from dataclasses import replace
from typing import Any

from domain_world import World

from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain.observed import Observed
from tidegate.domain.snapshot import Snapshot


def seen(world: World) -> Observed:
    """What is seen of a world, with the version that the API server gives every object."""
    observed = world.observe()
    versioned: tuple[dict[str, Any], ...] = tuple(
        {**item, "metadata": {"resourceVersion": "7", **item["metadata"]}} for item in observed.router
    )
    return replace(observed, router=versioned)


def snapshot(world: World, proposed: ModelDeploymentSpec | None = None, *, exists: bool = True) -> Snapshot:
    """A world at this moment, and what somebody would like to apply."""
    return Snapshot(
        spec=world.spec if exists else None,
        status=world.status,
        observed=seen(world),
        now=world.cluster.now,
        proposed=proposed,
    )
