"""Facts as lines for a terminal or a log."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.text import Text

from tidegate.people.report import Report, RevisionView, RolloutView
from tidegate.people.rows import ModelRow, RevisionRow
from tidegate.people.words import moment, short, since, span

COLOURS = {"Ready": "green", "Failed": "red", "UnderWay": "yellow"}
NOT_LOOKED = "the operator has not looked at it yet"
VERDICTS = {"Pass": "green", "Fail": "red", "Inconclusive": "yellow", "NoData": "dim"}


@dataclass(frozen=True)
class Marks:
    """One character for each thing that a step can be."""

    done: str
    current: str
    coming: str
    failed: str


UNICODE = Marks(done="\u2713", current="\u25b6", coming="\u00b7", failed="\u2717")
ASCII = Marks(done="+", current=">", coming="-", failed="x")
STYLES = {"done": "green", "current": "bold yellow", "coming": "dim", "failed": "red"}


def marks_for(encoding: str) -> Marks:
    """Marks that a terminal of this encoding can show."""
    return UNICODE if encoding.lower().replace("-", "") in ("utf8", "utf16") else ASCII


def status_lines(report: Report, now: datetime, marks: Marks = UNICODE) -> Iterator[Text]:
    """Everything that ``status`` shows."""
    head = Text(f"{report.name} in {report.namespace}: ", style="bold")
    yield head.append(report.phase, style=COLOURS[report.state])
    if not report.current:
        what = "spec was edited: the operator has not looked at it since" if report.looked_at else NOT_LOOKED
        yield Text(f"  {what}", style="yellow")
    digest = f" ({short(report.digest)})" if report.digest else ""
    yield _field("Model", report.uri + digest)
    if report.url:
        yield _field("Address", report.url)
    first = not any(found.role == "stable" for found in report.revisions)
    for found in report.revisions:
        yield _field("First" if first else found.role.capitalize(), _pods(found))
    if report.override:
        yield _field("Instead", f"{report.override.revision}, since {since(report.override.time, now)}", "yellow")
    if report.bake_left_seconds is not None:
        yield _field("Bake", f"the former revision stays warm for another {_left(report.bake_left_seconds)}")
    if report.rollout:
        yield from _rollout(report.rollout, now, marks)
    if report.budget:
        yield _field("Plan", ": ".join(part for part in report.budget if part))
    yield from _checks(report)
    yield from _amiss(report, now)


def _field(name: str, value: str, style: str = "") -> Text:
    return Text(f"  {name:<9}  ").append(value, style=style)


def _left(seconds: int) -> str:
    return span(timedelta(seconds=seconds))


def _pods(found: RevisionView) -> str:
    parts = [found.revision]
    parts += [f"version {found.version}"] if found.version else []
    parts += [short(found.digest)] if found.digest else []
    parts += [f"{found.weight} % of requests"] if found.weight is not None else []
    parts += [f"{found.ready}/{found.wanted} pods ready"] if found.wanted is not None else []
    return "  ".join(parts)


def _rollout(rollout: RolloutView, now: datetime, marks: Marks) -> Iterator[Text]:
    begun = since(rollout.started_at, now)
    if rollout.aborted:
        yield _field("Rollout", f"of {rollout.revision}, given up: {rollout.aborted}; started {begun}", "red")
    else:
        yield _field("Rollout", f"of {rollout.revision}, {rollout.weight} % of requests, started {begun}")
    for step in rollout.step_views:
        left = f", {_left(step.left_seconds)} left" if step.left_seconds is not None else ""
        yield Text(f"    {getattr(marks, step.mark)} {step.text}{left}", style=STYLES[step.mark])
    if rollout.message and not rollout.aborted:
        yield Text(f"    {rollout.message}")


def _checks(report: Report) -> Iterator[Text]:
    width = max((len(check.check) for check in report.checks), default=0)
    for index, check in enumerate(report.checks):
        line = Text(f"  {'Checks' if index == 0 else '':<9}  {check.check:<{width}}  ")
        yield line.append(f"{check.verdict:<12}", style=VERDICTS.get(check.verdict, "")).append(f"  {check.message}")


def _amiss(report: Report, now: datetime) -> Iterator[Text]:
    """Conditions, and the last failure; no sentence twice."""
    told = {report.rollout.message} if report.rollout and not report.rollout.aborted else set()
    for condition in report.conditions:
        lead = f"{', '.join(condition.types)}: {condition.reason}, since {since(condition.since, now)}"
        yield _field("Amiss", lead, "yellow")
        if condition.message and condition.message not in told:
            yield Text(f"             {condition.message}")
            told.add(condition.message)
    failure = report.last_failure
    if failure is None:
        return
    of = f" of {failure.revision}" if failure.revision else ""
    yield _field("Failure", f"the last one{of}: {failure.reason}, first seen {since(failure.time, now)}", "dim")
    if failure.message not in told:
        yield Text(f"             {failure.message}", style="dim")


def change_line(report: Report) -> str:
    """Where it is, in one line that is the same as long as nothing worth a line has changed."""
    if not report.looked_at:
        return NOT_LOOKED
    parts = [report.phase if report.current else f"{report.phase} (of the spec before)"]
    rollout = report.rollout
    if rollout:
        last = rollout.step >= rollout.steps
        where = "promotion" if last else f"step {rollout.step + 1}/{rollout.steps}"
        parts.append(f"{where} at {rollout.weight} %")
    for found in report.revisions:
        pods = f" {found.ready}/{found.wanted} ready" if found.wanted is not None else ""
        parts.append(f"{found.role} {found.revision}{pods}")
    if report.checks:
        parts.append(", ".join(f"{check.check} {check.verdict}" for check in report.checks))
    why = next((c for c in report.conditions if "Ready" in c.types), None)
    message = why.message if why else ""
    parts += [f"{why.reason}: {message}" if message else why.reason] if why else []
    return "; ".join(parts)


def model_table(rows: Sequence[ModelRow], now: datetime, *, namespaces: bool) -> list[list[str]]:
    """The table of ``get``, with its head."""
    head = ["NAME", "MODEL", "PHASE", "READY", "WEIGHT", "REVISION", "REASON", "AGE"]
    lines = [
        [r.name, r.model, r.phase, r.ready, _or_none(r.weight), r.revision, r.reason, span(now - r.created_at)]
        for r in rows
    ]
    table = [head, *lines]
    if namespaces:
        table = [["NAMESPACE", *head], *([r.namespace, *line] for r, line in zip(rows, lines, strict=True))]
    return table


def revision_table(rows: Sequence[RevisionRow], now: datetime) -> list[list[str]]:
    """The table of ``history``, with its head."""
    head = ["REVISION", "ROLE", "DIGEST", "URI", "PROMOTED"]
    return [
        head,
        *(
            [r.revision, r.role, short(r.digest), r.uri, moment(r.promoted_at, now) if r.promoted_at else ""]
            for r in rows
        ),
    ]


def columns(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table as lines, like kubectl's: three spaces between columns, ``-`` where there is nothing."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        cells = [f"{cell or '-':<{width}}" for cell, width in zip(line, widths, strict=True)]
        yield "   ".join(cells).rstrip()


def _or_none(value: int | None) -> str:
    return "" if value is None else str(value)
