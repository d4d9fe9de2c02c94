"""An outlook in plain words."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tidegate.planning import steps
from tidegate.planning.differences import FieldChange
from tidegate.planning.outlook import Outlook, PodsOutlook, RevisionOutlook, RolloutOutlook, WriteOutlook

SIGNS = {"create": "+", "change": "~", "delete": "-"}


def text(outlook: Outlook) -> str:
    """Everything there is to say about one ModelDeployment, as lines of text."""
    return "\n".join(_lines(outlook)) + "\n"


def _lines(outlook: Outlook) -> Iterator[str]:
    title = f"ModelDeployment {outlook.namespace}/{outlook.name}"
    if outlook.refused:
        yield f"{title}: refused."
        yield from (f"  {sentence}" for sentence in outlook.refused)
        return
    if outlook.outcome == "Unchanged":
        yield f"{title}: nothing would change."
    elif outlook.exists and not outlook.changes:
        yield f"{title}: the operator would go on by itself."
    elif outlook.exists:
        yield f"{title}: this would change."
    else:
        yield f"{title} does not exist yet: it would be its first rollout."
    yield from _section("Spec", map(_change, outlook.changes))
    if outlook.revision and outlook.rollout:
        yield from _section("Revision", _revision(outlook.revision, outlook.rollout))
        yield from _section("Rollout", _rollout(outlook.revision, outlook.rollout))
    if outlook.outcome != "Unchanged":
        yield from _section("Pods", _pods(outlook.pods))
    yield from _section("Written at once", _writes(outlook.writes, "AtOnce"))
    yield from _section("Written once the address is resolved", _writes(outlook.writes, "Resolved"))
    yield from _section("Events", iter(outlook.events))
    waiting = "Not ready, because" if outlook.outcome == "Unchanged" else "Not ready at first, because"
    yield from _section(waiting, iter(outlook.waits))
    yield from _section("Note", iter(outlook.notes))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in found)


def _value(value: Any) -> str:
    if value is None:
        return "(absent)"
    return value if isinstance(value, str) else json.dumps(value)


def _change(change: FieldChange) -> str:
    return f"{change.field}: {_value(change.before)} -> {_value(change.after)}"


def _revision(revision: RevisionOutlook, rollout: RolloutOutlook) -> Iterator[str]:
    name = revision.revision
    match revision.kind:
        case "First":
            yield f"The first one, {name}."
        case "Same":
            yield f"No new one: {name} serves and stays, so no pod is replaced."
        case "Known" if rollout.course == "Continues":
            yield f"{name}, which is taking over from {revision.serving}."
        case "Known":
            yield f"{name}, which was made before; {revision.serving} serves now."
        case "New":
            yield f"A new one, {name}; {revision.serving} serves now."
    if not revision.digest_known:
        yield "Its name follows from the digest, which a Job reads first."
        if [change.field for change in revision.differs] == ["bundle"]:
            yield "Should the address stand for the bundle that serves already, nothing is rolled out."
    if revision.gated:
        yield "Its contract is compared with the serving one first: what breaks clients is refused."
    if revision.differs:
        yield "They differ in:"
        yield from (f"  {_change(change)}" for change in revision.differs)


def _rollout(revision: RevisionOutlook, rollout: RolloutOutlook) -> Iterator[str]:
    if rollout.supersedes:
        yield f"The rollout of {rollout.supersedes}, which is under way, is given up."
    match rollout.course:
        case "None":
            yield "None."
        case "Ends":
            yield f"All requests go back to {revision.serving} at once."
        case "AtOnce":
            yield "No pod serves that it could be compared with, so it takes effect at once, without steps."
        case "Starts" | "Continues":
            yield from _way(revision, rollout)


def _way(revision: RevisionOutlook, rollout: RolloutOutlook) -> Iterator[str]:
    status = rollout.status or {}
    if revision.kind == "First":
        yield "It has nothing to be compared with, and gets all requests as soon as it is ready."
    elif status.get("knownGood"):
        yield "It had all requests before, and gets them again as soon as it is ready, without steps."
    else:
        yield from (f"{number}. {steps.told(step)}" for number, step in enumerate(rollout.steps, start=1))
        yield f"{len(rollout.steps) + 1}. all requests"
    yield steps.in_words(rollout.steps, rollout.deadline)
    if rollout.bake:
        yield f"Afterwards {revision.serving} stays warm: {steps.fields(rollout.bake)}."
    if budget := status.get("plan"):
        yield f"Pods: {budget.get('mode', '')}. {budget.get('message', '')}".strip()
    if rollout.course == "Continues":
        yield f"It is under way: {status.get('message', '')}"


def _pods(pods: Sequence[PodsOutlook]) -> Iterator[str]:
    if not pods:
        return
    width = max(len("revision"), *(len(p.revision) for p in pods))
    yield f"{'revision':{width}}  {'ready':>5}  {'now':>5}  {'first':>5}  {'end':>5}"
    yield from (f"{p.revision:{width}}  {p.ready:5}  {p.now:5}  {p.first:5}  {p.end:5}" for p in pods)


def _writes(writes: Sequence[WriteOutlook], when: str) -> Iterator[str]:
    return (f"{SIGNS[w.action]} {w.kind} {w.name}" for w in writes if w.when == when)
