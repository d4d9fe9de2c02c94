"""From a plan to writes: what is not yet as it should be is applied, and what should not be any more is deleted."""

from typing import Any

from tidegate.adapters.drift import holds
from tidegate.domain.labels import REVISION
from tidegate.domain.observed import ROUTE_KINDS, Observed, Raw
from tidegate.domain.plan import Plan
from tidegate.ports import Writes
from tidegate.resources.build import observer_objects, own_objects, router_objects
from tidegate.resources.settings import Settings

PRUNED = frozenset(
    {"ControllerRevision", "Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "Service", *ROUTE_KINDS}
)
"""Kinds of which the operator removes what the plan does not name. Pods belong to their Deployments and Jobs."""
WRITTEN_ONCE = frozenset({"ControllerRevision", "Job"})
"""Kinds whose content the API server lets nobody change: an upgrade that would write it otherwise leaves it."""


def carry_out(writes: Writes, observed: Observed, plan: Plan, settings: Settings) -> None:
    """Write what a plan asks for, in an order in which any prefix is safe. Raises what ``writes`` raises."""
    wanted = own_objects(observed, plan, settings)
    existing = {key(o): o for o in observed.objects}
    if observed.service is not None and not observed.name_taken():
        existing[key(observed.service)] = observed.service
    for manifest in wanted:
        ensure(writes, manifest, existing.get(key(manifest)))
    watching = {key(o): o for o in observed.observer}
    watchers = observer_objects(observed, plan, settings)
    for manifest in watchers:
        ensure(writes, manifest, watching.get(key(manifest)))
    shared = {key(o): o for o in observed.router}
    for manifest in router_objects(observed, plan, settings):
        ensure(writes, manifest, shared.get(key(manifest)))
    for poke in plan.pokes:
        writes.poke(observed.subject.namespace, poke)
    if plan.route is not None:
        _prune(writes, existing, {key(o) for o in wanted}, plan.unread)
    if plan.watching is not None and not watchers:
        # Nothing is compared any more: the routers, which come first, hand nothing over either.
        for item in observed.observer:
            if item["kind"] != "Pod" and "deletionTimestamp" not in item["metadata"]:
                writes.delete(item)


def ensure(writes: Writes, manifest: dict[str, Any], existing: Raw | None) -> None:
    """Apply what is not as it should be.

    Only what is known to be ours is overwritten: an unseen object of the same name is somebody else's.
    """
    content = {name: value for name, value in manifest.items() if name != "metadata"}
    if existing is not None and manifest["kind"] in WRITTEN_ONCE and not holds(content, existing):
        return
    if existing is None or not holds(manifest, existing):
        writes.apply(manifest, force=existing is not None)


def _prune(
    writes: Writes, existing: dict[tuple[str, str], Raw], wanted: set[tuple[str, str]], unread: frozenset[str]
) -> None:
    for identity, item in existing.items():
        meta = item["metadata"]
        kept = "deletionTimestamp" in meta or meta.get("labels", {}).get(REVISION) in unread
        if identity not in wanted and identity[0] in PRUNED and not kept:
            writes.delete(item)


def key(item: Raw) -> tuple[str, str]:
    """Kind and name: what makes an object one within its namespace."""
    return str(item["kind"]), str(item["metadata"]["name"])
