"""What a person or a script sees: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_packager.errors import PackagerError


class OutputFormat(StrEnum):
    """Form of the result."""

    text = "text"
    json = "json"


class Reporter:
    """Where a command reports to. In JSON form the result is one object and standard output holds nothing else."""

    def __init__(self, output: OutputFormat) -> None:
        self.output = output

    def say(self, line: str) -> None:
        """One line of progress."""
        print(line, file=sys.stderr, flush=True)

    @contextmanager
    def working(self) -> Iterator[Callable[[str], None]]:
        """Tell the stages of long work: one line a stage, on a terminal with a spinner and the seconds it took."""
        if not sys.stderr.isatty():
            yield self.say
            return
        from rich.console import Console
        from rich.markup import escape

        console = Console(stderr=True, highlight=False)
        current: list[tuple[str, float]] = []

        def done() -> None:
            for line, started in current:
                console.print(f"{line} ({time.monotonic() - started:.1f} s)", markup=False)
            current.clear()

        with console.status("") as status:

            def say(line: str) -> None:
                done()
                status.update(escape(line))
                current.append((line, time.monotonic()))

            yield say
            done()

    @contextmanager
    def transferring(self, what: str, sizes: Mapping[str, int]) -> Iterator[Callable[[str, int], None]]:
        """A Progress for files of these sizes, shown only on a terminal: logs need no line a chunk."""
        if not sys.stderr.isatty():
            yield lambda path, size: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(what, total=sum(sizes.values()))
            # No bytes: the file needed no transfer.
            yield lambda path, size: bars.advance(task, size or sizes.get(path, 0))

    def result(self, fields: dict[str, Any], text: str) -> None:
        """The result in the form that was asked for."""
        if self.output is OutputFormat.json:
            print(json.dumps(fields, indent=2, ensure_ascii=False))
        else:
            print(text)

    @staticmethod
    def fail(error: PackagerError) -> int:
        """Print a failure in one line and return its exit code. Foreign text in it cannot move the cursor."""
        sentence = "".join(char if char.isprintable() else " " for char in str(error))
        print(f"error: {error.reason}: {sentence}", file=sys.stderr, flush=True)
        return error.exit_code
