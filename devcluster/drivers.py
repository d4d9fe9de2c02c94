"""Choose the driver of a cluster and open clusters by name."""

from __future__ import annotations

import json
import os

from devcluster.driver import Cluster
from devcluster.errors import DevclusterError
from devcluster.existing import ExistingCluster
from devcluster.host.driver import HostCluster
from devcluster.kind import KindCluster, docker_answers
from devcluster.paths import state_folder
from devcluster.progress import Progress

DRIVERS = ("auto", "kind", "existing", "host")


def recorded_driver(name: str) -> str | None:
    """Driver that made the cluster ``name``, or None where there is none."""
    path = state_folder(name) / "cluster.json"
    try:
        return str(json.loads(path.read_text())["driver"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def choose_driver(asked: str, *, context: str | None, recorded: str | None, docker: bool) -> str:
    """Return ``kind``, ``existing`` or ``host``.

    What is asked for wins; ``auto`` keeps to the driver that made the cluster, takes a named context, prefers Docker.
    """
    if asked not in DRIVERS:
        raise DevclusterError(f"unknown driver '{asked}': use one of {', '.join(DRIVERS)}")
    if asked == "existing" and not context:
        raise DevclusterError("--driver existing needs --context NAME: the kubeconfig context of your cluster")
    if context and asked not in ("auto", "existing"):
        raise DevclusterError(f"--context belongs to --driver existing, not to --driver {asked}")
    driver = asked
    if asked == "auto":
        driver = "existing" if context else recorded or ("kind" if docker else "host")
    if recorded and driver != recorded:
        raise DevclusterError(f"this name belongs to a cluster of the driver '{recorded}': take it down first")
    return driver


def up(
    name: str = "demo",
    *,
    driver: str = "auto",
    context: str | None = None,
    control_plane_only: bool = False,
    progress: Progress | None = None,
) -> Cluster:
    """Make or find the cluster ``name`` and return it ready for use.

    A control plane only (no node, no image) always comes from the host driver unless a context is named: it needs
    neither root nor Docker.
    """
    progress = progress or Progress()
    recorded = recorded_driver(name)
    docker = driver == "auto" and not (context or recorded or control_plane_only) and docker_answers()
    chosen = choose_driver(driver, context=context, recorded=recorded, docker=docker)
    if chosen == "existing" and context:
        existing = ExistingCluster(name)
        existing.up(context)
        return existing
    if chosen == "existing":
        return ExistingCluster(name)
    if chosen == "kind":
        kind = KindCluster(name, progress)
        kind.up()
        return kind
    if not control_plane_only and os.geteuid() != 0:
        raise DevclusterError(
            "the host driver needs root for a node: run as root, start Docker for --driver kind, or use "
            "--driver existing --context NAME"
        )
    host = HostCluster(name, progress)
    host.up(control_plane_only=control_plane_only)
    return host


def find(name: str = "demo", progress: Progress | None = None) -> Cluster:
    """Return the handle of the cluster ``name`` without starting anything."""
    progress = progress or Progress()
    driver = recorded_driver(name)
    if driver == "kind":
        return KindCluster(name, progress)
    if driver == "existing":
        return ExistingCluster(name)
    return HostCluster(name, progress)  # also where only remains of a killed run are left
