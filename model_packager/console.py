"""What a person or a script sees: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
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

    def transferred(self, path: str, size: int) -> None:
        """A Progress for transfers, shown only on a terminal: logs need no line a chunk."""
        if sys.stderr.isatty():
            print(f"  {path}: {size} bytes", file=sys.stderr, flush=True)

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
