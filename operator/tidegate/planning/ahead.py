"""From a snapshot with a proposed spec to what the change would do.

The operator's decision is made twice over the same snapshot, for the spec that is there and for the proposed one. What
follows from both is not the change's doing. Where a Job must read a digest first, a third decision assumes it was read.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tidegate.api.status import Artifact, Comparison, ModelDeploymentStatus
from tidegate.api.types import parse_duration
from tidegate.api.v1alpha1 import ModelDeploymentSpec
from tidegate.domain import names
from tidegate.domain.observed import Observed
from tidegate.domain.revision import Revision, revision_of
from tidegate.domain.snapshot import Snapshot
from tidegate.planning import steps
from tidegate.planning.differences import PLACEHOLDER, changes, identity_changes
from tidegate.planning.outlook import Outlook, PodsOutlook, RevisionOutlook, RolloutOutlook, WriteOutlook
from tidegate.planning.rehearsal import Rehearsal, Write, rehearse

NEW = "(new)"
"""Stands for the end of a revision's name that follows from a digest that is not known yet."""


def look_ahead(snapshot: Snapshot) -> Outlook:
    """What applying the proposed spec would do; without one, what the operator does next by itself."""
    subject, current = snapshot.observed.subject, snapshot.spec
    wanted = snapshot.proposed or current
    if wanted is None:
        raise ValueError("the snapshot holds neither a spec nor a proposed one: there is nothing to decide")
    observed = snapshot.observed
    baseline = None
    if snapshot.proposed is not None and current is not None:
        baseline = rehearse(current, snapshot.status, observed, snapshot.now)
        if current != wanted:
            observed = replace(observed, subject=replace(subject, generation=subject.generation + 1))
    proposal = rehearse(wanted, snapshot.status, observed, snapshot.now)
    differing = tuple(changes(current.to_wire(), wanted.to_wire(), "spec")) if current else ()
    written = _writes(snapshot, baseline, proposal)
    refused = _refused(baseline, proposal)
    changed = bool(differing or current is None or (snapshot.proposed is None and written))
    common = Outlook(
        namespace=subject.namespace,
        name=subject.name,
        exists=current is not None,
        outcome="Refused" if refused else "Changes" if changed else "Unchanged",
        refused=tuple(refused),
        changes=differing,
        writes=tuple(written),
        events=tuple(f"{e.reason}: {e.message}" for e in proposal.plan.events if _is_news(baseline, e)),
        waits=tuple(_waits(proposal.status)),
    )
    return (
        common
        if refused
        else _with_revision(common, wanted, snapshot.model_copy(update={"observed": observed}), baseline, proposal)
    )


def _is_news(baseline: Rehearsal | None, event: object) -> bool:
    return baseline is None or event not in baseline.plan.events


def _with_revision(
    common: Outlook, spec: ModelDeploymentSpec, snapshot: Snapshot, baseline: Rehearsal | None, proposal: Rehearsal
) -> Outlook:
    """The outlook with what depends on the revision that spec asks for."""
    target, later = _target(spec, snapshot, proposal)
    revision = _revision(snapshot, target, gated=bool(proposal.plan.resolve and proposal.plan.resolve.base))
    told = {w.model_copy(update={"when": "Resolved"}) for w in common.writes}
    following = [w for w in _writes(snapshot, baseline, later, "Resolved") if w not in told]
    whole = common.model_copy(
        update={
            "revision": revision,
            "rollout": _rollout(spec, snapshot, revision, later),
            "pods": tuple(_pods(spec, snapshot.observed, revision, later)),
            "writes": (*common.writes, *following),
            "waits": tuple(dict.fromkeys([*common.waits, *_waits(later.status)])),
        }
    )
    if revision.digest_known:
        return whole
    # The assumed digest gives a name that nobody will ever see.
    assumed, shown = revision.revision, f"{snapshot.observed.subject.name}-{NEW}"
    return Outlook.model_validate_json(whole.model_dump_json(by_alias=True).replace(assumed, shown))


def _writes(
    snapshot: Snapshot, baseline: Rehearsal | None, proposal: Rehearsal, when: str = "AtOnce"
) -> list[WriteOutlook]:
    """Writes that the change brings about.

    With no decision to compare with, the router's objects count only where the routes change: what else is in them
    depends on how the operator is installed.
    """
    usual: set[Write] = set(baseline.writes) if baseline else set()
    fresh = [w for w in proposal.writes if w not in usual]
    if baseline is None and snapshot.spec is not None:
        moved = proposal.plan.table not in (None, snapshot.observed.table())
        fresh = [w for w in fresh if w.name != names.ROUTER or (w.kind == "ConfigMap" and moved)]
    wire = ({"action": w.action, "kind": w.kind, "name": w.name, "when": when} for w in fresh)
    return [WriteOutlook.model_validate(w) for w in wire]


def _stalled(rehearsal: Rehearsal | None) -> tuple[str, str] | None:
    conditions = rehearsal.status.conditions if rehearsal else []
    return next(((c.reason, c.message) for c in conditions if c.type == "Stalled" and c.status == "True"), None)


def _refused(baseline: Rehearsal | None, proposal: Rehearsal) -> list[str]:
    """What no waiting would cure, unless it stands in the way already."""
    now, then = _stalled(baseline), _stalled(proposal)
    new = then is not None and (now is None or now[0] != then[0])
    return [f"{then[0]}: {then[1]}"] if then and new else []


def _waits(status: ModelDeploymentStatus) -> list[str]:
    """Why the model is not ready as soon as the change is acted on."""
    return [f"{c.reason}: {c.message}" for c in status.conditions if c.type == "Ready" and c.status != "True"]


def _assumed(spec: ModelDeploymentSpec) -> Artifact:
    """The bundle as the resolve Job will find it, with a digest that stands for one that is not known."""
    name, mark, version = spec.model.uri.rpartition("/")[2].partition("@")
    if not mark:
        name, _, version = name.partition(":")
    known = spec.model.digest or (version if mark else PLACEHOLDER)
    key = str(spec.public_key) if spec.public_key else None
    version = "" if mark else version
    return Artifact(uri=spec.model.uri, digest=known, name=name, version=version, verified_by=key)


def _target(spec: ModelDeploymentSpec, snapshot: Snapshot, proposal: Rehearsal) -> tuple[Revision, Rehearsal]:
    """The revision that spec asks for, and the decision once its bundle is known and found to break no client."""
    artifact = proposal.status.artifact or _assumed(spec)
    if proposal.plan.resolve:
        stable = snapshot.status.stable
        good = Comparison(stable=stable.digest, verdict="Compatible") if stable else None
        assumed = artifact.model_copy(update={"compared": good})
        status = snapshot.status.model_copy(update={"artifact": assumed})
        proposal = rehearse(spec, status, snapshot.observed, snapshot.now)
    pins = snapshot.observed.pins
    target = revision_of(spec, artifact, pins)
    return target, proposal


def _revision(snapshot: Snapshot, target: Revision, *, gated: bool) -> RevisionOutlook:
    observed, stable = snapshot.observed, snapshot.status.stable
    name = names.revision(observed.subject.name, target.id)
    stored = observed.revisions()
    serving = stored.get(stable.revision) if stable else None
    if stable is None:
        kind = "First"
    elif stable.revision == name:
        kind = "Same"
    else:
        kind = "Known" if name in stored else "New"
    return RevisionOutlook.model_validate(
        {
            "kind": kind,
            "revision": name,
            "serving": stable.revision if stable else None,
            "gated": gated,
            "digestKnown": target.digest != PLACEHOLDER,
            "differs": [c.to_wire() for c in identity_changes(serving.revision, target)] if serving else [],
        }
    )


def _rollout(
    spec: ModelDeploymentSpec, snapshot: Snapshot, revision: RevisionOutlook, later: Rehearsal
) -> RolloutOutlook:
    before, after = snapshot.status.rollout, later.status.rollout
    other = before.revision if before and before.revision != revision.revision else None
    if after is None or after.revision != revision.revision:
        serves = later.status.stable is not None and later.status.stable.revision == revision.revision
        if revision.kind == "Same" or not serves:
            return RolloutOutlook(course="Ends" if other else "None", supersedes=other)
        return RolloutOutlook(course="AtOnce", supersedes=other)
    rollout = spec.rollout.to_wire()
    deadline, first = rollout.get("progressDeadline"), revision.kind == "First"
    wire = [] if first or after.known_good else steps.steps_of(spec)
    return RolloutOutlook(
        course="Starts" if before is None or other else "Continues",
        steps=tuple(wire),
        deadline=deadline,
        shortest_seconds=int(steps.shortest(wire).total_seconds()),
        longest_seconds=_seconds(wire, deadline),
        supersedes=other,
        bake=None if first else rollout.get("bake"),
        status=after.to_wire(),
    )


def _seconds(wire: list[dict[str, Any]], deadline: str | None) -> int | None:
    """The longest duration; None where it depends on people, or on what is measured."""
    if deadline is None or steps.waits_for_people(wire):
        return None
    return int(steps.longest(wire, parse_duration(deadline)).total_seconds())


def _pods(
    spec: ModelDeploymentSpec, observed: Observed, revision: RevisionOutlook, later: Rehearsal
) -> list[PodsOutlook]:
    first: Mapping[str, int] = {w.revision.name: w.replicas for w in later.plan.workloads}
    deployments = {o["metadata"]["name"]: o["spec"].get("replicas", 0) for o in observed.kind("Deployment")}
    untouched = set(deployments) if later.plan.route is None else later.plan.unread
    found = []
    for name in dict.fromkeys([*sorted(deployments), *first, revision.revision]):
        wanted = spec.replicas if name == revision.revision and not spec.suspend else 0
        found.append(
            PodsOutlook(
                revision=name,
                ready=sum(pod.ready for pod in observed.pods(name)),
                now=deployments.get(name, 0),
                first=deployments.get(name, 0) if name in untouched else first.get(name, 0),
                end=wanted,
            )
        )
    return found
