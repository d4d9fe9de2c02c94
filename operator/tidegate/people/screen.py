"""Where a command shows things: tables and facts on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tidegate.people.model import Model
from tidegate.people.report import report_of
from tidegate.people.text import change_line, marks_for, status_lines
from tidegate.people.wire import wire


def say(line: str) -> None:
    """One line for a person on standard error."""
    print(line, file=sys.stderr, flush=True)


def show_json(value: object) -> None:
    """Facts as one JSON document."""
    print(json.dumps(wire(value), indent=2, ensure_ascii=False), flush=True)


def show_lines(lines: Iterator[Text] | Iterator[str]) -> None:
    """Lines as they are: a terminal breaks long ones itself, and a log keeps them whole."""
    console = Console(highlight=False)
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def show_status(model: Model, now: datetime) -> None:
    """Where a rollout is, once."""
    show_lines(status_lines(report_of(model, now), now, marks_for(sys.stdout.encoding or "")))


@contextmanager
def following(*, as_json: bool) -> Iterator[Callable[[Model, datetime], None]]:
    """Something to show every look with: a picture that is redrawn on a terminal, else one line a change."""
    if not as_json and sys.stdout.isatty():
        with Live(console=Console(highlight=False), auto_refresh=False, vertical_overflow="visible") as live:
            marks = marks_for(sys.stdout.encoding or "")
            yield lambda model, now: live.update(Group(*status_lines(report_of(model, now), now, marks)), refresh=True)
        return
    last: list[str] = []

    def show(model: Model, now: datetime) -> None:
        report = report_of(model, now)
        line = change_line(report)
        if last != [line]:
            last[:] = [line]
            print(json.dumps(wire(report), ensure_ascii=False) if as_json else f"{now:%H:%M:%S} {line}", flush=True)

    yield show
