"""``tidegate simulate rollout``: what the checks would have said of recorded metrics."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.domain.checks.analysis import DEFAULT_CHECKS, Analysis
from tidegate.domain.checks.verdict import Finding, Verdict
from tidegate.simulation.checks import parse
from tidegate.simulation.recording import read
from tidegate.simulation.replay import Replay, Turn, replay

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 3, Verdict.INCONCLUSIVE: 4, Verdict.NO_DATA: 4}
EPILOG = (
    "Exit codes: 0 the last verdict is Pass, 3 it is Fail, 4 it is Inconclusive or NoData; 1 the recording cannot be "
    "read; 2 wrong usage."
)
CHECK_HELP = (
    "A check, once for each: errors, latency, predictions or query. Its value and fields follow, as in errors=1 or "
    "latency=95,maxMilliseconds=80 or query=NAME,max=0.1. Default: errors and latency."
)


class ReplayOutput(StrEnum):
    """How the replay is written."""

    TEXT = "text"
    JSON = "json"


@app.command(epilog=EPILOG)
def rollout(
    recording: Annotated[
        Path, typer.Argument(help="JSON lines, one window a line (docs/analysis.md); - is standard input.")
    ],
    check: Annotated[list[str] | None, typer.Option(help=CHECK_HELP)] = None,
    min_requests: Annotated[int, typer.Option(min=0, help="The canary's in a step, without which no Pass.")] = 100,
    alpha: Annotated[
        float, typer.Option(min=1e-9, max=0.5, help="Highest chance of rolling back an equal canary.")
    ] = 0.01,
    output: Annotated[ReplayOutput, typer.Option("--output", "-o", help="Form of the result.")] = ReplayOutput.TEXT,
) -> None:
    """Replay recorded metrics through the checks of a rollout, window by window.

    Prints each change of the verdict with its time and evidence, and the last verdict. It ends with a Fail, as the
    rollout would.
    """
    try:
        checks = tuple(map(parse, check)) if check else DEFAULT_CHECKS
        analysis = Analysis(checks=checks, min_requests=min_requests, alpha=alpha)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--check") from error
    place = "standard input" if str(recording) == "-" else str(recording)
    try:
        if str(recording) == "-":
            found = replay(analysis, read(sys.stdin))
        else:
            with recording.open(encoding="utf-8") as lines:
                found = replay(analysis, read(lines))
    except OSError as error:
        typer.echo(f"tidegate: {place} cannot be read: {error.strerror}", err=True)
        raise typer.Exit(1) from error
    except ValueError as error:
        typer.echo(f"tidegate: {place} is no recording: {error}", err=True)
        raise typer.Exit(1) from error
    sys.stdout.write(_json(found) if output is ReplayOutput.JSON else _text(found))
    raise typer.Exit(EXIT_CODES[found.last.verdict])


def _text(found: Replay) -> str:
    lines = []
    for turn in found.turns:
        reasons = [finding.message for finding in turn.decisive] or ["there is no check"]
        lines += [f"{turn.seconds:8g} s  {turn.verdict:<12}  {reason}" for reason in reasons]
    last = found.last
    if last != found.turns[-1]:
        lines += [f"{last.seconds:8g} s  {'still ' + last.verdict:<12}  {finding.message}" for finding in last.decisive]
    lines.append(f"{last.verdict} after {last.seconds:g} s and {last.windows} windows.")
    return "\n".join(lines) + "\n"


def _json(found: Replay) -> str:
    last = found.last
    wire = {"verdict": last.verdict, "turns": [_turn(turn) for turn in found.turns], "last": _turn(last)}
    return json.dumps(wire, indent=2) + "\n"


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "seconds": turn.seconds,
        "windows": turn.windows,
        "step": turn.step,
        "verdict": turn.verdict,
        "findings": [_finding(finding) for finding in turn.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {name: value for name, value in vars(finding).items() if value is not None}
